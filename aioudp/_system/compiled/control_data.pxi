"""Control data: the compiled twin of ``control_data``'s reading, and the writing.

Nothing is trusted: a message of another level, one that is too short, or one that is
truncated isn't read.
"""

from libc.stdint cimport int64_t

cdef extern from "Python.h":
    object PyFloat_FromDouble(double)


cdef int64_t MAX_SECONDS = 1 << 33  # so that nanoseconds fit
cdef object _ipv4_place = control_data.ipv4_place
cdef object _ipv6_place = control_data.ipv6_place


cdef bint _next_control(
    msghdr *message, size_t *position, cmsghdr *header, const char **value
) noexcept:
    """Step to the next control message; return whether there is a complete one."""
    # Not with CMSG_NXTHDR: glibc's trusts the lengths in the data up to its last check,
    # and a bug in the kernel must not become a read beyond the buffer.
    cdef size_t left = message.msg_controllen - position[0]
    cdef const char *control = <const char *> message.msg_control + position[0]
    cdef size_t space
    if message.msg_controllen < position[0] or left < CMSG_LEN(0):
        return False
    memcpy(header, control, sizeof(header[0]))
    if header.cmsg_len < CMSG_LEN(0) or header.cmsg_len > left:
        return False
    value[0] = control + CMSG_LEN(0)
    header.cmsg_len -= CMSG_LEN(0)
    space = CMSG_SPACE(header.cmsg_len)
    position[0] += min(space, left)
    return True


cdef int _segment_size(msghdr *message) except -2:
    """Return the size of the segments of a train; 0 for none, -1 if it was cut off."""
    cdef size_t position = 0
    cdef cmsghdr header
    cdef const char *value
    cdef int size
    while _next_control(message, &position, &header, &value):
        if (
            header.cmsg_level == SOL_UDP
            and header.cmsg_type == UDP_GRO
            and header.cmsg_len >= sizeof(int)
        ):
            memcpy(&size, value, sizeof(size))
            return size if size > 0 else 0
    return -1 if message.msg_flags & MSG_CTRUNC else 0


cdef int _number(const char *value, size_t length, int otherwise) noexcept:
    """Return a number that the kernel writes as one byte or as an int."""
    cdef int number
    if length >= sizeof(int):
        memcpy(&number, value, sizeof(number))
        return number & 0xFF
    return <unsigned char> value[0] if length else otherwise


cdef class _Places:
    """What packet information says, for one port; see ``control_data.Place``."""

    cdef object _port
    cdef object _read
    cdef object _last
    cdef char _last_value[PLACE_SPACE]
    cdef size_t _last_length

    def __init__(self, port, read):
        self._port = port
        self._read = read

    cdef object look(self, const char *value, size_t length):
        if (
            self._last is None
            or length != self._last_length
            or memcmp(value, self._last_value, length) != 0
        ):
            if length > PLACE_SPACE:
                length = PLACE_SPACE
            found = self._read(PyBytes_FromStringAndSize(value, length), self._port)
            memcpy(self._last_value, value, length)
            self._last_length = length
            self._last = found
            return found
        return self._last


cdef tuple _info(msghdr *message, _Places ipv4, _Places ipv6):
    """Return the packet info in control data; see ``control_data.parse``."""
    cdef size_t position = 0
    cdef cmsghdr header
    cdef const char *value
    cdef int tos = -1
    cdef int hop_limit = -1
    cdef stamp time
    cdef int64_t nanoseconds = 0
    cdef object place = None
    cdef object found
    while _next_control(message, &position, &header, &value):
        if header.cmsg_level == IPPROTO_IP:
            if header.cmsg_type == IP_PKTINFO:
                found = ipv4.look(value, header.cmsg_len)
                place = place if found is None else found
            elif header.cmsg_type == IP_TOS:
                tos = _number(value, header.cmsg_len, tos)
            elif header.cmsg_type == IP_TTL:
                hop_limit = _number(value, header.cmsg_len, hop_limit)
        elif header.cmsg_level == IPPROTO_IPV6:
            if header.cmsg_type == IPV6_PKTINFO:
                if place is None:
                    place = ipv6.look(value, header.cmsg_len)
            elif header.cmsg_type == IPV6_TCLASS:
                tos = _number(value, header.cmsg_len, tos)
            elif header.cmsg_type == IPV6_HOPLIMIT:
                hop_limit = _number(value, header.cmsg_len, hop_limit)
        elif header.cmsg_level == SOL_SOCKET:
            if header.cmsg_type == SO_TIMESTAMPNS and header.cmsg_len >= sizeof(stamp):
                memcpy(&time, value, sizeof(stamp))
            elif (
                header.cmsg_type == SO_TIMESTAMPING
                and header.cmsg_len >= 3 * sizeof(stamp)
            ):
                memcpy(&time, value + 2 * sizeof(stamp), sizeof(stamp))
            else:
                continue
            if 0 < time.seconds < MAX_SECONDS and 0 <= time.nanoseconds < 1000000000:
                nanoseconds = time.seconds * <int64_t> 1000000000 + time.nanoseconds
    local_addr, interface, unicast = (None, None, None) if place is None else place
    return (
        local_addr,
        interface,
        None if tos < 0 else tos,
        None if hop_limit < 0 else hop_limit,
        PyFloat_FromDouble(nanoseconds / 1e9) if nanoseconds else None,
        False,
        nanoseconds if nanoseconds else None,
        None,
        unicast,
    )


def parse(bytes control not None, int flags, int port):
    """Return what control data says: the size of segments as -1, 0 or more, and the
    rest as ``control_data.parse``.

    The arguments are the bytes and flags that recvmsg(2) would return. Tests use it to
    parse what no kernel would write.
    """
    cdef msghdr message
    cdef char *copy = <char *> malloc(max(1, PyBytes_GET_SIZE(control)))
    if copy is NULL:
        raise MemoryError
    try:
        # A block of exactly this length, so that a sanitizer sees a read beyond it.
        memcpy(copy, PyBytes_AS_STRING(control), PyBytes_GET_SIZE(control))
        memset(&message, 0, sizeof(message))
        message.msg_control = copy
        message.msg_controllen = PyBytes_GET_SIZE(control)
        message.msg_flags = flags
        return _segment_size(&message), _info(
            &message, _Places(port, _ipv4_place), _Places(port, _ipv6_place)
        )
    finally:
        free(copy)


cdef int _append_control(
    char *space, msghdr *message, int level, int kind, const char *value, size_t length
) except -1:
    """Write one more control message of *message* to its space."""
    cdef cmsghdr *control = <cmsghdr *> (space + message.msg_controllen)
    if message.msg_controllen + CMSG_SPACE(length) > CONTROL_SPACE:
        raise ValueError("too many control messages")
    control.cmsg_level = level
    control.cmsg_type = kind
    control.cmsg_len = CMSG_LEN(length)
    memcpy(CMSG_DATA(control), value, length)
    message.msg_control = space
    message.msg_controllen += CMSG_SPACE(length)
    return 0
