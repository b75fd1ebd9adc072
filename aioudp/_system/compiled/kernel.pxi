"""What the C library and the kernel's headers declare, and the sizes used here."""

from libc.errno cimport EAGAIN, EINTR, EINVAL, EIO, EMSGSIZE, errno


cdef extern from * nogil:
    """
    #include <arpa/inet.h>
    #include <netinet/in.h>
    #include <netinet/udp.h>
    #include <sys/socket.h>
    #ifndef UDP_SEGMENT
    #define UDP_SEGMENT 103  /* include/uapi/linux/udp.h, Linux 4.18 */
    #endif
    #ifndef UDP_GRO
    #define UDP_GRO 104      /* Linux 5.0 */
    #endif
    #ifndef SOL_UDP
    #define SOL_UDP 17
    #endif
    /* struct timespec as the kernel writes it: two longs */
    struct stamp { long seconds, nanoseconds; };
    """
    struct stamp:
        long seconds
        long nanoseconds
    ctypedef unsigned int socklen_t
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        void *msg_name
        socklen_t msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    struct sockaddr:
        unsigned short sa_family
    struct in_addr:
        pass
    struct in6_addr:
        pass
    struct sockaddr_in:
        unsigned short sin_family
        unsigned short sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        unsigned short sin6_family
        unsigned short sin6_port
        unsigned int sin6_flowinfo
        in6_addr sin6_addr
        unsigned int sin6_scope_id
    unsigned char *CMSG_DATA(cmsghdr *)
    size_t CMSG_LEN(size_t)
    size_t CMSG_SPACE(size_t)
    int recvmmsg(int, mmsghdr *, unsigned int, int, void *)
    int sendmmsg(int, mmsghdr *, unsigned int, int)
    ssize_t sendmsg(int, const msghdr *, int)
    ssize_t sendto(int, const void *, size_t, int, const sockaddr *, socklen_t)
    int inet_pton(int, const char *, void *)
    const char *inet_ntop(int, const void *, char *, socklen_t)
    unsigned short htons(unsigned short)
    unsigned short ntohs(unsigned short)
    unsigned int htonl(unsigned int)
    unsigned int ntohl(unsigned int)
    int AF_INET, AF_INET6, INET6_ADDRSTRLEN
    int MSG_DONTWAIT, MSG_TRUNC, MSG_CTRUNC, MSG_NOSIGNAL
    int IPPROTO_IP, IPPROTO_IPV6, SOL_SOCKET, SOL_UDP, UDP_SEGMENT, UDP_GRO


cdef enum:
    IN_MESSAGES = 32        # of one recvmmsg
    IN_TRAINS = 4           # the same, where they are trains: stays in the cache
    MAX_BYTES = 512 * 1024  # after which a receive reads no more: the same there
    READS = 64              # messages of one receive: MAX_READS
    SCATTER_FROM = 512      # bytes from which copying costs more than scattering
    SCATTER_PIECES = 128    # of one message: MAX_READ / SCATTER_FROM
    MAX_READ = 65536
    OUT_MESSAGES = 64       # of one sendmmsg
    TRAINS = 16             # of one send_segments: MAX_TRAINS
    OUT_PIECES = 1024       # iovecs of one sendmmsg; the kernel's limit for a message
    CONTROL_SPACE = 512     # holds 208 bytes of what sockets.py switches on
    PLACE_SPACE = 32        # holds a struct in6_pktinfo
    INFO = 9                # fields of a message beside payload and sender
    IP_TOS = 1              # include/uapi/linux/in.h
    IP_TTL = 2
    IP_PKTINFO = 8
    IPV6_PKTINFO = 50       # include/uapi/linux/in6.h
    IPV6_HOPLIMIT = 52
    IPV6_TCLASS = 67
    SO_TIMESTAMPNS = 35     # include/uapi/asm-generic/socket.h
    SO_TIMESTAMPING = 37
    NAME_SPACE = 32         # holds a sockaddr_in6, aligned
    MAX_SEGMENTS = 128      # UDP_MAX_SEGMENTS in include/linux/udp.h
    OLD_GSO_SEGMENTS = 64   # the same before Linux 6.9


cdef object _error(int number):
    return OSError(number, os.strerror(number))
