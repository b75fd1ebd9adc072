"""Receiving: many messages of one recvmmsg(2), cut into datagrams.

Longer datagrams aren't copied. Once a train has shown their size, the kernel writes
directly into new ``bytes`` objects of that size (recvmsg(2) scatters). Only a message
with another layout than expected is assembled from the pieces.
"""

cdef extern from "Python.h":
    """
    /* From CPython 3.14 on a tuple keeps its hash, and -1 says that there is none yet.
       PyTuple_New writes that, PyType_GenericAlloc leaves a 0. */
    static inline PyObject *new_tuple(PyTypeObject *type, Py_ssize_t size) {
        PyObject *made = PyType_GenericAlloc(type, size);
    #if PY_VERSION_HEX >= 0x030E0000
        if (made != NULL) {
            ((PyTupleObject *) made)->ob_hash = -1;
        }
    #endif
        return made;
    }
    """
    object new_tuple(PyTypeObject *, Py_ssize_t)
    void PyObject_GC_UnTrack(void *)


cdef PyTypeObject *_datagram_type = <PyTypeObject *> Datagram
cdef PyTypeObject *_message_type = <PyTypeObject *> Message


cdef inline object _datagram(object payload, object addr, tuple info):
    """Return a datagram; with *info* it is a message."""
    cdef object datagram
    cdef Py_ssize_t i
    cdef PyObject *field
    if info is None:
        datagram = new_tuple(_datagram_type, 2)
    else:
        datagram = new_tuple(_message_type, 2 + INFO)
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
        Py_CLEAR(objects[i])  # the datagram owns it from now on
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


cdef class ReceivingSocket(ColumnSocket):
    """The reading half of a ``BatchSocket``."""

    cdef bint _unmap
    cdef dict _sources
    cdef public object pending
    cdef object _last_source
    cdef char _last_name[NAME_SPACE]
    cdef socklen_t _last_length
    # Used to predict the next messages: the longest of the last ones in bytes, and for
    # trains, the datagrams per train and the bytes per datagram.
    cdef Py_ssize_t _longest, _train, _segment
    cdef public bint gro
    cdef readonly bint packet_info
    cdef _Places _ipv4_places, _ipv6_places
    cdef public long long received, received_bytes, truncated

    @cython.critical_section
    def receive(self, Py_ssize_t max_datagrams, *, bint thorough=False):
        """Return the datagrams in the socket; see ``batchio``.

        It's always *thorough*: recvmmsg(2) shows without another call that there are
        no more.
        """
        cdef list datagrams = []
        cdef _Buffers buffers
        if self.pending is not None:
            error, self.pending = self.pending, None
            raise error
        buffers = _borrow()
        try:
            self._receive(datagrams, max_datagrams, buffers)
        finally:
            buffers.busy = False
        if self.pending is not None and not datagrams:
            error, self.pending = self.pending, None
            raise error
        self.received += PyList_GET_SIZE(datagrams)
        return datagrams

    cdef int _receive(
        self, list datagrams, Py_ssize_t max_datagrams, _Buffers buffers
    ) except -1:
        cdef int i, taken, wanted, pieces, failure
        cdef int read = 0
        cdef Py_ssize_t room, left, before, size
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
            # As many as the byte limit allows, if they're like the last ones. The worst
            # case is 32 of 64 KiB after 32 short ones.
            left = enough - self.received_bytes
            room = min(room, (left + self._longest - 1) // self._longest)
            room = min(room, READS - read)
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
                    self.pending = _error(failure)
                break
            self._train = self._longest = 1
            for i in range(taken):
                self._longest = max(self._longest, <Py_ssize_t> messages[i].msg_len)
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
        """Add the datagram of a message, or those of a train."""
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
        if self.pending is None:
            self.pending = OSError(EMSGSIZE, reason)

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
