/* Send datagrams of one size with sendmmsg(2) for some time.
 *
 *     send HOST PORT PAYLOAD SECONDS trains|singles
 *
 * trains: with UDP_SEGMENT, each message is cut into many datagrams by the kernel.
 * The load of the receive benchmarks, and what this machine allows in the send ones.
 */
#include "talker.h"

#define SLOTS 32       /* messages per call */
#define TRAIN 65000    /* bytes: with headers less than the 64 KiB of lo's gso_max_size */
#define MAX_SEGMENTS 128 /* UDP_MAX_SEGMENTS, include/linux/udp.h, since Linux 6.9 */
#define OLD_MAX_SEGMENTS 64

static char train[TRAIN];
static struct iovec vector = {.iov_base = train};
static struct mmsghdr messages[SLOTS];

int main(int argc, char **argv)
{
	int fd, payload, i, segments = 1;
	long sent = 0;
	double start, cpu_start, deadline, end, cpu_end;

	if (argc != 6) {
		fprintf(stderr, "usage: %s HOST PORT PAYLOAD SECONDS trains|singles\n",
			argv[0]);
		return 2;
	}
	fd = open_connected(argv[1], atoi(argv[2]));
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
	for (i = 0; i < SLOTS; i++) {
		messages[i].msg_hdr.msg_iov = &vector;
		messages[i].msg_hdr.msg_iovlen = 1;
	}

	wait_for_go();
	cpu_start = cpu_time();
	start = now();
	deadline = start + atof(argv[4]);
	do {
		int count = sendmmsg(fd, messages, SLOTS, 0);
		if (count >= 0) {
			sent += (long)count * segments;
		} else if (errno == EINVAL && segments > OLD_MAX_SEGMENTS) {
			segments = OLD_MAX_SEGMENTS;
			vector.iov_len = (size_t)payload * segments;
		} else {
			die("sendmmsg");
		}
		end = now();
	} while (end < deadline);
	cpu_end = cpu_time();
	printf("{\"datagrams\": %ld, \"seconds\": %.9f, \"cpu_seconds\": %.6f}\n", sent,
	       end - start, cpu_end - cpu_start);
	return 0;
}
