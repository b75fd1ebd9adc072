/* Flood a server with trains, and count its answers.
 *
 *     flood HOST PORT PAYLOAD SECONDS SOURCES
 *
 * The load of the servers and of the workers. SOURCES sockets take turns to send a train
 * with UDP_SEGMENT, and read the answers that have come, with UDP_GRO.
 */
#include "talker.h"

#define TRAIN 65000    /* bytes: with headers less than the 64 KiB of lo's gso_max_size */
#define MAX_SEGMENTS 128 /* UDP_MAX_SEGMENTS, include/linux/udp.h, since Linux 6.9 */
#define OLD_MAX_SEGMENTS 64
#define SLOTS 16       /* messages per read */
#define ROUND 64       /* trains between two looks at the clock */

static char train[TRAIN];
static char buffers[SLOTS][MAX_DATAGRAM + 1];
static struct iovec vectors[SLOTS];
static struct mmsghdr messages[SLOTS];

/* Read what has come; return how many datagrams of payload bytes it was. */
static long answers(int fd, int payload)
{
	long count = 0;
	for (;;) {
		int i, taken = recvmmsg(fd, messages, SLOTS, MSG_DONTWAIT, NULL);
		for (i = 0; i < taken; i++)
			count += (messages[i].msg_len + payload - 1) / payload;
		if (taken < SLOTS)
			return count;
	}
}

int main(int argc, char **argv)
{
	int payload, sources, i, one = 1, next = 0, segments;
	int *sockets;
	long sent = 0, received = 0;
	double start, cpu_start, deadline, end, cpu_end;

	if (argc != 6) {
		fprintf(stderr, "usage: %s HOST PORT PAYLOAD SECONDS SOURCES\n", argv[0]);
		return 2;
	}
	payload = atoi(argv[3]);
	sources = atoi(argv[5]);
	if (payload < 2 || payload > TRAIN || sources < 1) {
		fprintf(stderr, "payload must be 2 to %d bytes, sources 1 at least\n", TRAIN);
		return 2;
	}
	sockets = malloc(sizeof *sockets * (size_t)sources);
	if (!sockets)
		die("malloc");
	for (i = 0; i < sources; i++) {
		sockets[i] = open_connected(argv[1], atoi(argv[2]));
		if (setsockopt(sockets[i], IPPROTO_UDP, UDP_SEGMENT, &payload,
			       sizeof payload) < 0)
			die("UDP_SEGMENT");
		if (setsockopt(sockets[i], IPPROTO_UDP, UDP_GRO, &one, sizeof one) < 0)
			die("UDP_GRO");
	}
	for (i = 0; i < SLOTS; i++) {
		vectors[i].iov_base = buffers[i];
		vectors[i].iov_len = sizeof buffers[i];
		messages[i].msg_hdr.msg_iov = &vectors[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	memset(train, 'x', sizeof train);
	segments = TRAIN / payload;
	if (segments > MAX_SEGMENTS)
		segments = MAX_SEGMENTS;

	wait_for_go();
	cpu_start = cpu_time();
	start = now();
	deadline = start + atof(argv[4]);
	do {
		for (i = 0; i < ROUND; i++) {
			ssize_t size = send(sockets[next], train,
					    (size_t)payload * segments, 0);
			if (size >= 0)
				sent += segments;
			else if (errno == EINVAL && segments > OLD_MAX_SEGMENTS)
				segments = OLD_MAX_SEGMENTS;
			else if (errno != ECONNREFUSED)
				die("send");
			received += answers(sockets[next], payload);
			next = next + 1 < sources ? next + 1 : 0;
		}
	} while (now() < deadline);
	end = now();
	cpu_end = cpu_time();
	printf("{\"datagrams\": %ld, \"received\": %ld, \"seconds\": %.9f, "
	       "\"cpu_seconds\": %.6f}\n",
	       sent, received, end - start, cpu_end - cpu_start);
	return 0;
}
