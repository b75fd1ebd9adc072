/* What the two programs share that speak first: the peer, and the start signal. */
#ifndef TALKER_H
#define TALKER_H

#include "common.h"

static int open_connected(const char *host, int port)
{
	struct sockaddr_in peer = address(host, port);
	int fd = open_socket();
	if (connect(fd, (struct sockaddr *)&peer, sizeof peer) < 0)
		die("connect");
	return fd;
}

static void wait_for_go(void)
{
	printf("{\"ready\": true}\n");
	fflush(stdout);
	if (getchar() == EOF)
		exit(1);
}

#endif
