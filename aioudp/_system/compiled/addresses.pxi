"""Addresses: from the kernel's form to the callers' form, and back.

Each address is converted once. Tables cache the results, by bytes in one direction and
by tuple in the other. The tables are bounded.
"""

cdef Py_ssize_t _max_known = 4 * MAX_KNOWN
# Tables shared by all sockets; a full one is emptied.
cdef dict _sources = {}      # sockaddr bytes -> address in the callers' form
cdef dict _raw_sources = {}  # the same, IPv4 peers of an IPv6 socket as the kernel says
cdef dict _packed = {}       # address -> sockaddr bytes


cdef object _unpack(const char *name, socklen_t length, bint unmap):
    """Return an address in the callers' form, from the kernel's form."""
    cdef char text[64]
    cdef sockaddr_in *v4 = <sockaddr_in *> name
    cdef sockaddr_in6 *v6 = <sockaddr_in6 *> name
    cdef unsigned short family = (<sockaddr *> name).sa_family
    if length >= sizeof(sockaddr_in) and family == AF_INET:
        inet_ntop(AF_INET, &v4.sin_addr, text, sizeof(text))
        return text.decode("ascii"), ntohs(v4.sin_port)
    if length >= sizeof(sockaddr_in6) and family == AF_INET6:
        if unmap and memcmp(&v6.sin6_addr, b"\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0:
            inet_ntop(AF_INET, (<char *> &v6.sin6_addr) + 12, text, sizeof(text))
            return text.decode("ascii"), ntohs(v6.sin6_port)
        inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof(text))
        return (
            text.decode("ascii"),
            ntohs(v6.sin6_port),
            ntohl(v6.sin6_flowinfo),
            v6.sin6_scope_id,
        )
    raise OSError(EINVAL, f"the kernel reported a sender of unknown family {family}")


cdef bytes _pack(object addr, int family):
    """Return the kernel's form of an address that was checked for this family."""
    cdef sockaddr_in v4
    cdef sockaddr_in6 v6
    cdef bytes host = addr[0].encode("ascii")
    if family == AF_INET:
        memset(&v4, 0, sizeof(v4))
        v4.sin_family = AF_INET
        v4.sin_port = htons(addr[1])
        if inet_pton(AF_INET, host, &v4.sin_addr) != 1:
            raise ValueError(f"{addr!r} is not a numeric address")
        return PyBytes_FromStringAndSize(<char *> &v4, sizeof(v4))
    memset(&v6, 0, sizeof(v6))
    v6.sin6_family = AF_INET6
    v6.sin6_port = htons(addr[1])
    if len(addr) == 4:
        v6.sin6_flowinfo = htonl(addr[2])
        v6.sin6_scope_id = addr[3]
    if inet_pton(AF_INET6, host, &v6.sin6_addr) != 1:
        raise ValueError(f"{addr!r} is not a numeric address")
    return PyBytes_FromStringAndSize(<char *> &v6, sizeof(v6))
