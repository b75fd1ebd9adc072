# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Batch I/O, compiled: the twin of ``batchio``, on recvmmsg(2) and sendmmsg(2).

The same class, arguments, results and exceptions; ``batchio`` is the text to read
first, and a change to one is a change to both. What differs is below the surface:

* One recvmmsg takes up to 16 messages, each a datagram or a whole train, and one
  sendmmsg gives up to 64. Datagrams are cut out and wrapped without running Python.
* Addresses cross the border once: what the kernel reports is looked up by its bytes,
  what it is given by its tuple. Both tables are bounded.
* The buffers belong to the thread, 2 MiB of which little is ever touched, not to the
  endpoint.
* Datagrams of some length are not copied: once a train has shown of what size they
  come, the kernel is given the insides of as many new ``bytes`` objects to write to
  (recvmsg(2) scatters). Only what does not come as foreseen is put together from the
  pieces.
* The GIL is released where many datagrams move at once. A single send takes about as
  long as giving the GIL up and getting it back, so it keeps it.

Control data is believed no further than its lengths allow: a message of another level,
shorter than it has to be, or cut off, is not read.

For UDP sockets on Linux.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_Check,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from cpython.exc cimport PyErr_CheckSignals
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyTuple_SET_ITEM
from libc.errno cimport EAGAIN, EINTR, EINVAL, EIO, EMSGSIZE, errno
from libc.stdint cimport int64_t, uint16_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

import logging
import os
import socket
from threading import local

from . import control_data
from .addresses import MAX_KNOWN
from .send_options import Steered
from .batchio import check_payload, prepare_steered, remember_last
from .segments import MAX_TRAIN_BYTES
from .._types import Datagram, Message

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

cdef extern from "Python.h":
    void Py_CLEAR(PyObject *)
    PyObject *PyBytes_FromStringAndSize_ "PyBytes_FromStringAndSize" (
        const char *, Py_ssize_t
    )
    char *PyBytes_AS_STRING_ "PyBytes_AS_STRING" (PyObject *)
    object PyType_GenericAlloc(PyTypeObject *, Py_ssize_t)
    object PyFloat_FromDouble(double)
    void PyObject_GC_UnTrack(void *)

MAX_READS = 64
MAX_TRAINS = 16

logger = logging.getLogger("aioudp")

cdef enum:
    IN_MESSAGES = 32        # of one recvmmsg
    IN_TRAINS = 4           # the same, where they are trains: stays in the cache
    MAX_BYTES = 512 * 1024  # of one receive: the same there
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

cdef int64_t MAX_SECONDS = 1 << 33  # so that nanoseconds fit

cdef PyTypeObject *_datagram_type = <PyTypeObject *> Datagram
cdef PyTypeObject *_message_type = <PyTypeObject *> Message
cdef object _ipv4_place = control_data.ipv4_place
cdef object _ipv6_place = control_data.ipv6_place
cdef Py_ssize_t _max_train_bytes = MAX_TRAIN_BYTES
cdef Py_ssize_t _max_known = 4 * MAX_KNOWN
# Tables shared by all sockets; a full one is emptied.
cdef dict _sources = {}      # sockaddr bytes -> address that callers read
cdef dict _raw_sources = {}  # the same, IPv4 peers of an IPv6 socket as the kernel says
cdef dict _packed = {}       # address -> sockaddr bytes
_thread = local()


cdef class _Buffers:
    """What one thread reads into and sends from."""

    cdef mmsghdr incoming[IN_MESSAGES]
    cdef iovec in_pieces[IN_MESSAGES]
    cdef char in_names[IN_MESSAGES][NAME_SPACE]
    cdef char in_controls[IN_MESSAGES][CONTROL_SPACE]
    cdef char *in_data
    # What is scattered to: the insides of these, then the buffer of the message.
    cdef PyObject *scattered[IN_TRAINS * SCATTER_PIECES]
    cdef Py_ssize_t scattered_size
    cdef iovec scattered_pieces[IN_TRAINS][SCATTER_PIECES + 1]
    cdef bint busy
    cdef mmsghdr outgoing[OUT_MESSAGES]
    cdef iovec out_pieces[OUT_PIECES]
    cdef char out_names[OUT_MESSAGES][NAME_SPACE]
    cdef char out_controls[OUT_MESSAGES][CONTROL_SPACE]
    cdef Py_ssize_t out_datagrams[OUT_MESSAGES]
    cdef Py_ssize_t out_segments[OUT_MESSAGES]

    def __cinit__(self):
        cdef int i
        self.in_data = <char *> malloc(IN_MESSAGES * MAX_READ)
        if self.in_data is NULL:
            raise MemoryError
        memset(self.incoming, 0, sizeof(self.incoming))
        memset(self.outgoing, 0, sizeof(self.outgoing))
        memset(self.scattered, 0, sizeof(self.scattered))
        memset(self.in_controls, 0, sizeof(self.in_controls))
        memset(self.out_controls, 0, sizeof(self.out_controls))
        for i in range(IN_MESSAGES):
            self.in_pieces[i].iov_base = self.in_data + i * MAX_READ
            self.in_pieces[i].iov_len = MAX_READ
            self.incoming[i].msg_hdr.msg_name = self.in_names[i]
            self.incoming[i].msg_hdr.msg_control = self.in_controls[i]

    def __dealloc__(self):
        self.forget_scattered()
        free(self.in_data)

    cdef void forget_scattered(self):
        cdef int i
        for i in range(IN_TRAINS * SCATTER_PIECES):
            Py_CLEAR(self.scattered[i])

    cdef int gather_whole(self, int index) except -1:
        """Have message *index* written to its buffer, in one piece."""
        self.incoming[index].msg_hdr.msg_iov = &self.in_pieces[index]
        self.incoming[index].msg_hdr.msg_iovlen = 1
        return 0

    cdef int scatter(self, int index, Py_ssize_t size, int pieces) except -1:
        """Have message *index* written to bytes objects of *size*, then its buffer."""
        cdef iovec *piece = self.scattered_pieces[index]
        cdef PyObject **objects = self.scattered + index * SCATTER_PIECES
        cdef int i
        if size != self.scattered_size:
            self.forget_scattered()
            self.scattered_size = size
        for i in range(pieces):
            if objects[i] is NULL:
                objects[i] = PyBytes_FromStringAndSize_(NULL, size)
                if objects[i] is NULL:
                    raise MemoryError
            piece[i].iov_base = PyBytes_AS_STRING_(objects[i])
            piece[i].iov_len = size
        piece[pieces] = self.in_pieces[index]
        self.incoming[index].msg_hdr.msg_iov = piece
        self.incoming[index].msg_hdr.msg_iovlen = pieces + 1
        return 0

    cdef bytes gathered(self, int index, Py_ssize_t length):
        """Return what was written to the pieces of message *index*, as one."""
        cdef bytes whole = PyBytes_FromStringAndSize(NULL, length)
        cdef char *end = PyBytes_AS_STRING(whole)
        cdef msghdr *message = &self.incoming[index].msg_hdr
        cdef size_t i
        cdef Py_ssize_t taken
        for i in range(message.msg_iovlen):
            taken = min(length, <Py_ssize_t> message.msg_iov[i].iov_len)
            memcpy(end, message.msg_iov[i].iov_base, taken)
            end += taken
            length -= taken
        return whole


cdef _Buffers _borrow():
    """Return the thread's buffers; to be given back.

    A signal handler or a finalizer that runs in between, and sends or receives too,
    gets others.
    """
    cdef _Buffers buffers
    try:
        buffers = <_Buffers> _thread.buffers
    except AttributeError:
        buffers = _thread.buffers = _Buffers()
    if buffers.busy:
        buffers = _Buffers()
    buffers.busy = True
    return buffers


cdef object _error(int number):
    return OSError(number, os.strerror(number))


cdef inline object _datagram(object payload, object addr, tuple info):
    """Return a datagram; with *info* it is a message."""
    cdef object datagram
    cdef Py_ssize_t i
    cdef PyObject *field
    if info is None:
        datagram = PyType_GenericAlloc(_datagram_type, 2)
    else:
        datagram = PyType_GenericAlloc(_message_type, 2 + INFO)
        for i in range(INFO):
            field = PyTuple_GET_ITEM(info, i)
            Py_INCREF(<object> field)
            PyTuple_SET_ITEM(datagram, 2 + i, <object> field)
    Py_INCREF(payload)
    PyTuple_SET_ITEM(datagram, 0, payload)
    Py_INCREF(addr)
    PyTuple_SET_ITEM(datagram, 1, addr)
    # No part can refer back to it: the garbage collector need not look.
    PyObject_GC_UnTrack(<PyObject *> datagram)
    return datagram


cdef int _add(
    list datagrams,
    const char *data,
    Py_ssize_t length,
    Py_ssize_t size,
    object addr,
    tuple info,
) except -1:
    """Add the datagrams of a message in one piece, of *size* bytes but the last."""
    cdef Py_ssize_t start = 0
    while True:
        datagrams.append(
            _datagram(
                PyBytes_FromStringAndSize(data + start, min(size, length - start)),
                addr,
                info,
            )
        )
        start += size
        if start >= length:
            return 0


cdef int _add_scattered(
    list datagrams,
    _Buffers buffers,
    int index,
    Py_ssize_t length,
    int pieces,
    object addr,
    tuple info,
) except -1:
    """Add the datagrams of a message that was scattered to pieces of their size."""
    cdef PyObject **objects = buffers.scattered + index * SCATTER_PIECES
    cdef Py_ssize_t size = buffers.scattered_size
    cdef object payload
    cdef int i = 0
    while i < pieces and length >= size:
        payload = <object> objects[i]
        Py_CLEAR(objects[i])  # it is the datagram's from now on
        datagrams.append(_datagram(payload, addr, info))
        length -= size
        i += 1
    if length == 0:
        return 0
    if i < pieces:  # the last one, which is shorter
        payload = PyBytes_FromStringAndSize(PyBytes_AS_STRING_(objects[i]), length)
        datagrams.append(_datagram(payload, addr, info))
        return 0
    return _add(
        datagrams, <char *> buffers.in_pieces[index].iov_base, length, size, addr, info
    )


cdef inline tuple _pair(list datagrams, Py_ssize_t index):
    """Return a pair that is certainly one: nothing below looks again."""
    cdef tuple pair = <tuple?> <object> PyList_GET_ITEM(datagrams, index)
    if PyTuple_GET_SIZE(pair) != 2 or not PyBytes_Check(pair[0]):
        raise TypeError(f"a tuple of bytes and address is required, not {pair!r}")
    return pair


cdef object _unpack(const char *name, socklen_t length, bint unmap):
    """Return the address that callers read, from the kernel's form."""
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


cdef bint _next_control(
    msghdr *message, size_t *position, cmsghdr *header, const char **value
) noexcept:
    """Step to the next control message; return whether there is one, and whole."""
    # By hand, and not with CMSG_NXTHDR: glibc's takes the lengths in the data on trust
    # up to its last check, and a kernel's bug must not become a read beyond the buffer.
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
            self._last = self._read(
                PyBytes_FromStringAndSize(value, length), self._port
            )
            memcpy(self._last_value, value, length)
            self._last_length = length
        return self._last


cdef tuple _info(msghdr *message, _Places ipv4, _Places ipv6):
    """Return what control data says beside the segments; see ``control_data.parse``."""
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

    The bytes are those that recvmsg(2) would leave behind, the flags its own. Here
    for the tests that feed it what no kernel would write.
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


cdef class BatchSocket:
    """The reading and writing of one non-blocking UDP socket; see ``batchio``."""

    implementation = "compiled"

    cdef readonly object _sock
    cdef bint _unmap
    cdef dict _sources
    cdef int _fd
    cdef int _family
    cdef object _pending
    cdef object _last_source
    cdef char _last_name[NAME_SPACE]
    cdef socklen_t _last_length
    cdef object _last_addr
    cdef bytes _last_packed
    # What the last trains were like, to guess the next ones by: how many datagrams
    # were in one, and bytes in each.
    cdef Py_ssize_t _train, _segment
    cdef public Py_ssize_t gso_segments
    cdef public bint gro
    cdef readonly bint packet_info
    cdef _Places _ipv4_places, _ipv6_places
    cdef public long long received, received_bytes, sent, sent_bytes, truncated

    def __init__(
        self,
        sock,
        *,
        Py_ssize_t gso_segments,
        bint gro,
        bint unmap=True,
        bint packet_info=False,
    ):
        self._sock = sock
        self.packet_info = packet_info
        if packet_info:
            port = sock.getsockname()[1]
            self._ipv4_places = _Places(port, _ipv4_place)
            self._ipv6_places = _Places(port, _ipv6_place)
        self._unmap = unmap
        self._sources = _sources if unmap else _raw_sources
        self._fd = sock.fileno()
        self._family = sock.family
        self.gso_segments = gso_segments
        self.gro = gro
        self._train = 1
        self._segment = 0

    # -- reading

    def receive(self, Py_ssize_t max_datagrams, *, bint thorough=False):
        """Return the datagrams that are there; see ``batchio``.

        It is always *thorough*: recvmmsg(2) tells without another call that there
        are no more.
        """
        cdef list datagrams = []
        cdef _Buffers buffers
        if self._pending is not None:
            error, self._pending = self._pending, None
            raise error
        buffers = _borrow()
        try:
            self._receive(datagrams, max_datagrams, buffers)
        finally:
            buffers.busy = False
        if self._pending is not None and not datagrams:
            error, self._pending = self._pending, None
            raise error
        self.received += PyList_GET_SIZE(datagrams)
        return datagrams

    cdef int _receive(
        self, list datagrams, Py_ssize_t max_datagrams, _Buffers buffers
    ) except -1:
        cdef int i, taken, wanted, pieces, failure
        cdef int read = 0
        cdef Py_ssize_t room, before, size
        cdef mmsghdr *messages = buffers.incoming
        cdef long long enough = self.received_bytes + MAX_BYTES
        while (
            read < READS
            and PyList_GET_SIZE(datagrams) < max_datagrams
            and self.received_bytes < enough
        ):
            room = max_datagrams - PyList_GET_SIZE(datagrams)
            if self.gro:  # so many trains that only the last can be more than wanted
                room = max(1, room // MAX_SEGMENTS)
            wanted = <int> min(IN_MESSAGES if self._train == 1 else IN_TRAINS, room)
            read += wanted
            size = self._segment
            pieces = <int> min(self._train, SCATTER_PIECES)
            if pieces == 1 or size < SCATTER_FROM:
                pieces = 0
            for i in range(wanted):
                if pieces:
                    buffers.scatter(i, size, pieces)
                else:
                    buffers.gather_whole(i)
                messages[i].msg_hdr.msg_namelen = NAME_SPACE
                messages[i].msg_hdr.msg_controllen = (
                    CONTROL_SPACE if self.gro or self.packet_info else 0
                )
                messages[i].msg_hdr.msg_flags = 0
            with nogil:
                taken = recvmmsg(self._fd, messages, wanted, MSG_DONTWAIT, NULL)
                failure = errno
            if taken < 0:
                if failure == EINTR:
                    PyErr_CheckSignals()
                    continue
                if failure != EAGAIN:
                    self._pending = _error(failure)
                break
            self._train = 1
            for i in range(taken):
                before = PyList_GET_SIZE(datagrams)
                self._take(datagrams, buffers, i, size, pieces)
                self._train = max(self._train, PyList_GET_SIZE(datagrams) - before)
            if taken < wanted:
                break
        return 0

    cdef int _take(
        self,
        list datagrams,
        _Buffers buffers,
        int index,
        Py_ssize_t scattered_size,
        int pieces,
    ) except -1:
        """Add what one message holds: a datagram, or those of a train."""
        cdef mmsghdr *message = &buffers.incoming[index]
        cdef const char *data = buffers.in_data + <Py_ssize_t> index * MAX_READ
        cdef Py_ssize_t length = message.msg_len
        cdef Py_ssize_t size = 0
        cdef object addr
        cdef bytes whole
        cdef tuple info = None
        if message.msg_hdr.msg_flags & MSG_TRUNC:
            self._refuse(f"datagram cut off after {length} bytes")
            return 0
        if self.gro:
            size = _segment_size(&message.msg_hdr)
            if size < 0:
                self._refuse(
                    f"control data cut off: {length} bytes may be several datagrams"
                )
                return 0
        addr = self._source(buffers.in_names[index], message.msg_hdr.msg_namelen)
        if self.packet_info:
            info = _info(&message.msg_hdr, self._ipv4_places, self._ipv6_places)
        self.received_bytes += length
        if size == 0 or size >= length:
            size = length
        else:
            self._segment = size
        if pieces == 0:
            return _add(datagrams, data, length, size, addr, info)
        if size == scattered_size:
            return _add_scattered(datagrams, buffers, index, length, pieces, addr, info)
        whole = buffers.gathered(index, length)
        return _add(datagrams, PyBytes_AS_STRING(whole), length, size, addr, info)

    cdef object _refuse(self, str reason):
        self.truncated += 1
        if self._pending is None:
            self._pending = OSError(EMSGSIZE, reason)

    cdef object _source(self, const char *name, socklen_t length):
        cdef bytes key
        if length == self._last_length and memcmp(name, self._last_name, length) == 0:
            return self._last_source
        key = PyBytes_FromStringAndSize(name, length)
        addr = self._sources.get(key)
        if addr is None:
            addr = _unpack(name, length, self._unmap)
            if len(self._sources) >= _max_known:
                self._sources.clear()
            self._sources[key] = addr
        if length <= NAME_SPACE:
            memcpy(self._last_name, name, length)
            self._last_length = length
            self._last_source = addr
        return addr

    # -- writing

    cdef bytes _destination(self, object addr):
        """Return the kernel's form of an address, remembered."""
        cdef object packed
        if addr is self._last_addr:
            return self._last_packed
        packed = _packed.get(addr)
        if packed is None or (<bytes> packed)[0] != self._family:
            packed = _pack(addr, self._family)
            if len(_packed) >= _max_known:
                _packed.clear()
            _packed[addr] = packed
        self._last_addr = addr
        self._last_packed = packed
        return <bytes> packed

    def send(self, data, addr=None):
        """Send one datagram; see ``batchio``."""
        cdef Py_buffer view
        cdef bytes packed = None
        cdef ssize_t sent
        if addr is not None:
            packed = self._destination(addr)
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            sent = self._sendto(<const char *> view.buf, view.len, packed)
        finally:
            PyBuffer_Release(&view)
        self.sent_bytes += sent
        self.sent += 1

    cdef ssize_t _sendto(self, const char *data, Py_ssize_t size, bytes packed) except -1:
        cdef ssize_t sent
        cdef const sockaddr *name = NULL
        cdef socklen_t length = 0
        if packed is not None:
            name = <const sockaddr *> PyBytes_AS_STRING(packed)
            length = <socklen_t> PyBytes_GET_SIZE(packed)
        while True:
            sent = sendto(self._fd, data, size, MSG_DONTWAIT, name, length)
            if sent >= 0:
                return sent
            if errno != EINTR:
                raise _error(errno)
            PyErr_CheckSignals()

    def send_segments(self, data, Py_ssize_t segment_size, addr=None):
        """Send one buffer as many datagrams; see ``batchio``."""
        cdef Py_buffer view
        if segment_size < 1:
            raise ValueError(f"segment_size must be at least 1, got {segment_size}")
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            return self._send_segments(<char *> view.buf, view.len, segment_size, addr)
        finally:
            PyBuffer_Release(&view)

    cdef Py_ssize_t _train_length(self, Py_ssize_t segment_size):
        cdef Py_ssize_t segments = min(self.gso_segments, _max_train_bytes // segment_size)
        return segment_size * max(1, segments)

    cdef Py_ssize_t _send_segments(
        self, char *data, Py_ssize_t size, Py_ssize_t segment_size, object addr
    ) except -1:
        cdef _Buffers buffers = _borrow()
        cdef Py_ssize_t length = self._train_length(segment_size)
        cdef Py_ssize_t offset = 0
        cdef int limit = TRAINS if length > segment_size else OUT_MESSAGES
        cdef int count = 0
        try:
            while True:  # once at least: no bytes are one empty datagram
                buffers.out_pieces[count].iov_base = data + offset
                buffers.out_pieces[count].iov_len = min(length, size - offset)
                self._compose(buffers, count, count, 1, segment_size, addr)
                offset += length
                count += 1
                if offset >= size or count == limit:
                    break
            return min(size, segment_size * self._transmit(buffers, count))
        finally:
            buffers.busy = False

    @staticmethod
    def prepare(datagrams, translate, steer):
        """Check and copy datagrams for ``send_batch``; see ``batchio``."""
        cdef list prepared = []
        cdef object item, data, addr, last = None, target = None
        cdef bint pair
        steer = remember_last(steer)
        for item in datagrams:
            pair = type(item) is tuple and PyTuple_GET_SIZE(item) == 2
            if pair:
                data = (<tuple> item)[0]
                addr = (<tuple> item)[1]
            elif type(item) is tuple and PyTuple_GET_SIZE(item) == 3:
                prepared.append(prepare_steered(item, steer))
                continue
            else:
                try:
                    data, addr = item
                except (TypeError, ValueError):
                    prepared.append(prepare_steered(item, steer))
                    continue
            if type(data) is not bytes:
                check_payload(data)
                data = bytes(data)
                pair = False
            if addr is not last:  # one peer many times over is looked up once
                last = None
                target = None if addr is None else translate(addr)
                last = addr
            if pair and target is addr:
                prepared.append(item)
            else:
                prepared.append((data, target))
        return prepared

    def send_batch(self, list datagrams, Py_ssize_t start=0):
        """Send datagrams in order until one is refused; see ``batchio``."""
        cdef _Buffers buffers = _borrow()
        try:
            return self._send_batch(datagrams, start, buffers)
        finally:
            buffers.busy = False

    cdef Py_ssize_t _send_batch(
        self, list datagrams, Py_ssize_t start, _Buffers buffers
    ) except -1:
        cdef Py_ssize_t total = PyList_GET_SIZE(datagrams)
        cdef Py_ssize_t position = start
        cdef Py_ssize_t composed, taken
        cdef int count
        while position < total:
            composed = self._compose_batch(buffers, datagrams, position, &count)
            try:
                taken = self._transmit(buffers, count)
            except OSError:
                if position == start:
                    raise
                break
            position += taken
            if taken < composed:
                break
        return position - start

    cdef Py_ssize_t _compose_batch(
        self, _Buffers buffers, list datagrams, Py_ssize_t start, int *count
    ) except -1:
        """Lay out as many messages as fit, from *start* on; return the datagrams."""
        cdef Py_ssize_t total = PyList_GET_SIZE(datagrams)
        cdef Py_ssize_t position = start
        cdef Py_ssize_t size, length, limit, first
        cdef int pieces = 0
        cdef int messages = 0
        cdef tuple pair
        cdef bytes data
        cdef object addr
        while position < total and messages < OUT_MESSAGES and pieces < OUT_PIECES:
            pair = _pair(datagrams, position)
            addr = pair[1]
            size = PyBytes_GET_SIZE(pair[0])
            limit = self._train_length(size) // size if size else 1
            limit = min(limit, OUT_PIECES - pieces)
            first = pieces
            while True:
                data = pair[0]
                length = PyBytes_GET_SIZE(data)
                buffers.out_pieces[pieces].iov_base = PyBytes_AS_STRING(data)
                buffers.out_pieces[pieces].iov_len = length
                pieces += 1
                position += 1
                if length < size or pieces - first == limit or position == total:
                    break
                pair = _pair(datagrams, position)
                length = PyBytes_GET_SIZE(pair[0])
                if length > size or length == 0:
                    break
                if pair[1] is not addr and pair[1] != addr:
                    break
            self._compose(buffers, messages, first, pieces - first, size, addr)
            messages += 1
        count[0] = messages
        return position - start

    cdef int _compose(
        self,
        _Buffers buffers,
        int index,
        Py_ssize_t first,
        Py_ssize_t pieces,
        Py_ssize_t segment_size,
        object addr,
    ) except -1:
        """Make message *index* of some pieces: one datagram, or a train of them."""
        cdef msghdr *message = &buffers.outgoing[index].msg_hdr
        cdef Py_ssize_t size = 0
        cdef Py_ssize_t i
        cdef bytes packed, value
        cdef uint16_t segment
        cdef object control = None
        for i in range(first, first + pieces):
            size += buffers.out_pieces[i].iov_len
        message.msg_iov = &buffers.out_pieces[first]
        message.msg_iovlen = pieces
        message.msg_name = NULL
        message.msg_namelen = 0
        message.msg_control = NULL
        message.msg_controllen = 0
        if type(addr) is Steered:
            addr, control, _ = addr
            for level, kind, value in control:
                _append_control(
                    buffers.out_controls[index], message, level, kind,
                    PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value),
                )
        if addr is not None:
            packed = self._destination(addr)
            # Copied: the table that holds it may be emptied before it is used.
            memcpy(
                buffers.out_names[index],
                PyBytes_AS_STRING(packed),
                PyBytes_GET_SIZE(packed),
            )
            message.msg_name = buffers.out_names[index]
            message.msg_namelen = <socklen_t> PyBytes_GET_SIZE(packed)
        buffers.out_segments[index] = segment_size
        buffers.out_datagrams[index] = 1
        if size > segment_size:
            buffers.out_datagrams[index] = (size + segment_size - 1) // segment_size
            segment = <uint16_t> segment_size
            _append_control(
                buffers.out_controls[index], message, SOL_UDP, UDP_SEGMENT,
                <char *> &segment, sizeof(segment),
            )
        return 0

    cdef Py_ssize_t _transmit(self, _Buffers buffers, int count) except -1:
        """Send the composed messages and return how many datagrams went out.

        Raises if the first message was refused, and only then.
        """
        cdef int accepted, failure, i
        cdef Py_ssize_t datagrams = 0
        while True:
            if count > 1 or buffers.out_datagrams[0] > 1:
                with nogil:
                    accepted = sendmmsg(self._fd, buffers.outgoing, count, MSG_DONTWAIT)
                    failure = errno
            else:
                accepted = sendmmsg(self._fd, buffers.outgoing, count, MSG_DONTWAIT)
                failure = errno
            if accepted >= 0:
                break
            if failure == EINTR:
                PyErr_CheckSignals()
                continue
            if buffers.out_datagrams[0] > 1 and (
                failure == EINVAL or failure == EIO or failure == EMSGSIZE
            ):
                return self._send_singly(buffers, failure)
            raise _error(failure)
        for i in range(accepted):
            datagrams += buffers.out_datagrams[i]
            self.sent_bytes += buffers.outgoing[i].msg_len
        self.sent += datagrams
        return datagrams

    cdef Py_ssize_t _send_singly(self, _Buffers buffers, int refusal) except -1:
        """Send the datagrams of a refused train one by one; then judge the refusal."""
        cdef msghdr *message = &buffers.outgoing[0].msg_hdr
        cdef Py_ssize_t segment_size = buffers.out_segments[0]
        cdef Py_ssize_t total = buffers.out_datagrams[0]
        cdef Py_ssize_t sent = 0
        cdef Py_ssize_t offset, length
        cdef size_t i
        cdef msghdr single = message[0]
        cdef iovec piece
        single.msg_iov = &piece
        single.msg_iovlen = 1
        single.msg_controllen -= CMSG_SPACE(sizeof(uint16_t))  # the last: of the train
        try:
            for i in range(message.msg_iovlen):
                offset = 0
                length = <Py_ssize_t> message.msg_iov[i].iov_len
                while offset < length:
                    piece.iov_base = <char *> message.msg_iov[i].iov_base + offset
                    piece.iov_len = min(segment_size, length - offset)
                    self.sent_bytes += self._sendmsg(&single)
                    self.sent += 1
                    sent += 1
                    offset += piece.iov_len
        except OSError:
            if sent == 0:
                raise
        self._reduce_gso(total, refusal)
        return sent

    cdef ssize_t _sendmsg(self, msghdr *message) except -1:
        cdef ssize_t sent
        while True:
            sent = sendmsg(self._fd, message, MSG_DONTWAIT)
            if sent >= 0:
                return sent
            if errno != EINTR:
                raise _error(errno)
            PyErr_CheckSignals()

    cdef int _reduce_gso(self, Py_ssize_t segments, int refusal) except -1:
        """Send shorter trains, or none, after one whose datagrams were taken singly."""
        if refusal == EMSGSIZE:
            return 0  # a segment longer than this route's MTU says nothing of the next
        if segments > OLD_GSO_SEGMENTS:
            self.gso_segments = OLD_GSO_SEGMENTS
            return 0
        self.gso_segments = 1
        logger.info(
            "segmentation offload is off for fd %d: %s", self._fd, os.strerror(refusal)
        )
        return 0
