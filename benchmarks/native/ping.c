/* Send a datagram, wait for its echo, send the next: round trip times.
 *
 *     ping HOST PORT PAYLOAD SECONDS
 *
 * The client of the echo benchmarks. Each datagram starts with its number, so that an
 * echo that comes after its time was up is not taken for the next one's.
 */
#include "talker.h"

#define MAX_ROUND_TRIPS 4000000
#define PATIENCE 200000 /* microseconds; then the datagram is lost */

static char question[MAX_DATAGRAM], answer[MAX_DATAGRAM];
static double times[MAX_ROUND_TRIPS];

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	struct timeval patience = {.tv_usec = PATIENCE};
	int fd, payload;
	long sent = 0, received = 0;
	double start, cpu_start, deadline, sent_at, end, cpu_end;

	if (argc != 5) {
		fprintf(stderr, "usage: %s HOST PORT PAYLOAD SECONDS\n", argv[0]);
		return 2;
	}
	fd = open_connected(argv[1], atoi(argv[2]));
	payload = atoi(argv[3]);
	if (payload < (int)sizeof sent || payload > MAX_DATAGRAM) {
		fprintf(stderr, "payload must be %zu to %d bytes\n", sizeof sent,
			MAX_DATAGRAM);
		return 2;
	}
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0)
		die("SO_RCVTIMEO");

	wait_for_go();
	cpu_start = cpu_time();
	start = end = now();
	deadline = start + atof(argv[4]);
	while (end < deadline && received < MAX_ROUND_TRIPS) {
		sent++;
		memcpy(question, &sent, sizeof sent);
		sent_at = now();
		if (send(fd, question, payload, 0) < 0)
			die("send");
		for (;;) {
			ssize_t size = recv(fd, answer, sizeof answer, 0);
			end = now();
			if (size < 0 && errno != EAGAIN)
				die("recv");
			if (size < 0)
				break;
			if (size == payload && memcmp(answer, &sent, sizeof sent) == 0) {
				times[received++] = end - sent_at;
				break;
			}
		}
	}
	cpu_end = cpu_time();
	if (!received) {
		fprintf(stderr, "no echo came back\n");
		return 1;
	}
	qsort(times, received, sizeof times[0], ascending);
	printf("{\"datagrams\": %ld, \"received\": %ld, \"seconds\": %.9f, "
	       "\"cpu_seconds\": %.6f, \"p50_seconds\": %.9f, \"p99_seconds\": %.9f}\n",
	       sent, received, end - start, cpu_end - cpu_start,
	       times[received * 50 / 100], times[received * 99 / 100]);
	return 0;
}
