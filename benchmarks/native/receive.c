/* Count datagrams with recvmmsg(2), with or without UDP_GRO.
 *
 *     receive HOST gro|plain|relay
 *
 * As a relay it also sends on what it receives, train by train, to a socket of its own
 * that nobody reads.
 *
 * Drains the socket of the send benchmarks, and shows in the receive benchmarks what
 * this machine allows.
 */
#include "common.h"
#include <stdint.h>

#define SLOTS 32 /* messages per call; more gained nothing where this was written */

static char buffers[SLOTS][MAX_DATAGRAM + 1];
static char controls[SLOTS][CMSG_SPACE(sizeof(int))];
static struct iovec vectors[SLOTS];
static struct mmsghdr messages[SLOTS];
static char out_controls[SLOTS][CMSG_SPACE(sizeof(uint16_t))];
static struct iovec out_vectors[SLOTS];
static struct mmsghdr out[SLOTS];

static int segment_size(struct msghdr *header)
{
	struct cmsghdr *control;
	for (control = CMSG_FIRSTHDR(header); control;
	     control = CMSG_NXTHDR(header, control)) {
		if (control->cmsg_level == IPPROTO_UDP && control->cmsg_type == UDP_GRO) {
			int size;
			memcpy(&size, CMSG_DATA(control), sizeof size);
			return size;
		}
	}
	return 0;
}

/* Lay out a message of the size of its datagrams for the way out. */
static void compose(int i, int size, int segment, struct sockaddr_in *sink)
{
	struct msghdr *header = &out[i].msg_hdr;
	out_vectors[i].iov_base = buffers[i];
	out_vectors[i].iov_len = (size_t)size;
	memset(header, 0, sizeof *header);
	header->msg_name = sink;
	header->msg_namelen = sizeof *sink;
	header->msg_iov = &out_vectors[i];
	header->msg_iovlen = 1;
	if (segment && segment < size) {
		struct cmsghdr *control;
		uint16_t value = (uint16_t)segment;
		header->msg_control = out_controls[i];
		header->msg_controllen = sizeof out_controls[i];
		control = CMSG_FIRSTHDR(header);
		control->cmsg_level = IPPROTO_UDP;
		control->cmsg_type = UDP_SEGMENT;
		control->cmsg_len = CMSG_LEN(sizeof value);
		memcpy(CMSG_DATA(control), &value, sizeof value);
	}
}

static struct sockaddr_in open_sink(const char *host)
{
	struct sockaddr_in addr = address(host, 0);
	socklen_t length = sizeof addr;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &length) < 0)
		die("sink");
	return addr;
}

int main(int argc, char **argv)
{
	struct sockaddr_in sink;
	int relay, done;
	struct sockaddr_in addr;
	socklen_t length = sizeof addr;
	int fd, gro, i, marks = 0;
	long received = 0;
	double start = 0, cpu_start = 0, end, cpu_end;

	if (argc != 3) {
		fprintf(stderr, "usage: %s HOST gro|plain|relay\n", argv[0]);
		return 2;
	}
	relay = strcmp(argv[2], "relay") == 0;
	gro = relay || strcmp(argv[2], "gro") == 0;
	if (relay)
		sink = open_sink(argv[1]);
	addr = address(argv[1], 0);
	addr.sin_addr.s_addr = htonl(INADDR_ANY); /* whatever of 127/8 it is sent to */
	fd = open_socket();
	if (gro && setsockopt(fd, IPPROTO_UDP, UDP_GRO, &gro, sizeof gro) < 0)
		die("UDP_GRO");
	if (bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0)
		die("bind");
	if (getsockname(fd, (struct sockaddr *)&addr, &length) < 0)
		die("getsockname");
	printf("{\"port\": %d}\n", ntohs(addr.sin_port));
	fflush(stdout);

	for (i = 0; i < SLOTS; i++) {
		vectors[i].iov_base = buffers[i];
		vectors[i].iov_len = sizeof buffers[i];
		messages[i].msg_hdr.msg_iov = &vectors[i];
		messages[i].msg_hdr.msg_iovlen = 1;
		messages[i].msg_hdr.msg_control = gro ? controls[i] : NULL;
	}
	while (marks < 2) {
		int count;
		for (i = 0; i < SLOTS && gro; i++)
			messages[i].msg_hdr.msg_controllen = sizeof controls[i];
		count = recvmmsg(fd, messages, SLOTS, MSG_WAITFORONE, NULL);
		if (count < 0)
			die("recvmmsg");
		for (i = 0; i < count && marks < 2; i++) {
			int size = (int)messages[i].msg_len;
			int segment = gro ? segment_size(&messages[i].msg_hdr) : 0;
			if (size == 1) {
				if (marks++ == 0) {
					start = now();
					cpu_start = cpu_time();
				}
			} else {
				received += segment ? (size + segment - 1) / segment : 1;
			}
			if (relay)
				compose(i, size, segment, &sink);
		}
		for (done = 0; relay && done < i;) {
			int sent = sendmmsg(fd, out + done, (unsigned)(i - done), 0);
			if (sent < 0)
				die("sendmmsg");
			done += sent;
		}
	}
	end = now();
	cpu_end = cpu_time();
	printf("{\"datagrams\": %ld, \"seconds\": %.9f, \"cpu_seconds\": %.6f}\n",
	       received, end - start, cpu_end - cpu_start);
	return 0;
}
