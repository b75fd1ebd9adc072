/* Send datagrams of one size with sendmmsg(2) for some time.
 *
 *     send HOST PORT PAYLOAD SECONDS trains|singles|peers|SOURCES
 *
 * trains: with UDP_SEGMENT, each message is cut into many datagrams by the kernel.
 * peers: singles, each to the next of PEERS addresses from 127.0.0.1 on.
 * SOURCES, a number: from so many sockets, one datagram from each in turn.
 * The load of the receive benchmarks, and what this machine allows in the send ones.
 */
#include "talker.h"

#define SLOTS 32       /* messages per call */
#define TRAIN 65000    /* bytes: with headers less than the 64 KiB of lo's gso_max_size */
#define MAX_SEGMENTS 128 /* UDP_MAX_SEGMENTS, include/linux/udp.h, since Linux 6.9 */
#define OLD_MAX_SEGMENTS 64
#define PEERS 1000     /* as in benchmarks/worker.py */
#define BURST 64       /* datagrams between two looks at the clock */

static char train[TRAIN];
static struct iovec vector = {.iov_base = train};
static struct mmsghdr messages[PEERS];
static struct sockaddr_in peers[PEERS];

static void to_peers(int port)
{
	int i;
	for (i = 0; i < PEERS; i++) {
		peers[i] = address("127.0.0.1", port);
		peers[i].sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)i);
		messages[i].msg_hdr.msg_name = &peers[i];
		messages[i].msg_hdr.msg_namelen = sizeof peers[i];
	}
}

/* Send from many sockets, one datagram from each in turn; return how many went out. */
static long send_from(int *sockets, int count, double deadline)
{
	long sent = 0;
	int next = 0;
	do {
		int i;
		for (i = 0; i < BURST; i++) {
			if (send(sockets[next], train, vector.iov_len, 0) < 0)
				die("send");
			next = next + 1 < count ? next + 1 : 0;
		}
		sent += BURST;
	} while (now() < deadline);
	return sent;
}

static int *open_many(int count, const char *host, int port)
{
	struct rlimit limit;
	int i, *sockets = malloc(sizeof *sockets * (size_t)count);
	if (!sockets)
		die("malloc");
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	for (i = 0; i < count; i++)
		sockets[i] = open_connected(host, port);
	return sockets;
}

int main(int argc, char **argv)
{
	int fd, payload, i, segments = 1, slots = SLOTS;
	int sources = argc == 6 ? atoi(argv[5]) : 0;
	int *sockets = NULL;
	long sent = 0;
	double start, cpu_start, deadline, end, cpu_end;

	if (argc != 6) {
		fprintf(stderr, "usage: %s HOST PORT PAYLOAD SECONDS trains|singles|peers|SOURCES\n",
			argv[0]);
		return 2;
	}
	if (sources)
		sockets = open_many(sources, argv[1], atoi(argv[2]));
	if (strcmp(argv[5], "peers") == 0) {
		fd = open_socket();
		to_peers(atoi(argv[2]));
		slots = PEERS;
	} else {
		fd = sources ? sockets[0] : open_connected(argv[1], atoi(argv[2]));
	}
	payload = atoi(argv[3]);
	if (payload < 2 || payload > TRAIN) {
		fprintf(stderr, "payload must be 2 to %d bytes\n", TRAIN);
		return 2;
	}
	memset(train, 'x', sizeof train);
	if (strcmp(argv[5], "trains") == 0) {
		if (setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &payload, sizeof payload) < 0)
			die("UDP_SEGMENT");
		segments = TRAIN / payload;
		if (segments > MAX_SEGMENTS)
			segments = MAX_SEGMENTS;
	}
	vector.iov_len = (size_t)payload * segments;
	for (i = 0; i < slots; i++) {
		messages[i].msg_hdr.msg_iov = &vector;
		messages[i].msg_hdr.msg_iovlen = 1;
	}

	wait_for_go();
	cpu_start = cpu_time();
	start = now();
	deadline = start + atof(argv[4]);
	if (sources)
		sent = send_from(sockets, sources, deadline);
	else do {
		int count = sendmmsg(fd, messages, (unsigned)slots, 0);
		if (count >= 0) {
			sent += (long)count * segments;
		} else if (errno == EINVAL && segments > OLD_MAX_SEGMENTS) {
			segments = OLD_MAX_SEGMENTS;
			vector.iov_len = (size_t)payload * segments;
		} else {
			die("sendmmsg");
		}
	} while (now() < deadline);
	end = now();
	cpu_end = cpu_time();
	printf("{\"datagrams\": %ld, \"seconds\": %.9f, \"cpu_seconds\": %.6f}\n", sent,
	       end - start, cpu_end - cpu_start);
	return 0;
}
