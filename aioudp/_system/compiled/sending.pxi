"""Sending: datagrams laid out as messages and trains, and given to one sendmmsg(2).
"""

cdef Py_ssize_t _max_train_bytes = MAX_TRAIN_BYTES


cdef extern from "Python.h":
    """
    /* Of a list that another thread, or a comparison in this one, may have shortened. */
    static inline PyObject *list_item(PyObject *list, Py_ssize_t index) {
    #ifdef Py_GIL_DISABLED
        return PyList_GetItemRef(list, index);
    #else
        return Py_XNewRef(PyList_GetItem(list, index));
    #endif
    }
    """
    object list_item(list, Py_ssize_t)


cdef inline tuple _pair(list datagrams, Py_ssize_t index):
    """Return *item* as a checked pair, because nothing below checks again."""
    cdef object item = list_item(datagrams, index)
    cdef tuple pair
    if not PyTuple_Check(item):
        raise TypeError(f"a tuple of bytes and address is required, not {item!r}")
    pair = <tuple> item  # maybe a Datagram, which is one
    if PyTuple_GET_SIZE(pair) != 2 or not PyBytes_Check(pair[0]):
        raise TypeError(f"a tuple of bytes and address is required, not {pair!r}")
    return pair


cdef class SendingSocket:
    """The writing half of a ``BatchSocket``."""

    cdef readonly object _sock
    cdef int _fd
    cdef int _family
    cdef object _last_addr
    cdef bytes _last_packed
    cdef readonly object refusals
    cdef bint _refused  # whether it may hold any
    cdef public Py_ssize_t gso_segments
    cdef public long long sent, sent_bytes

    cdef bytes _destination(self, object addr):
        """Return the kernel's form of an address, cached."""
        cdef object packed
        cdef object before = self._last_addr  # kept, so that its end changes nothing here
        if addr is before:
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

    @cython.critical_section
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

    @cython.critical_section
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

    cdef Py_ssize_t _most_segments(self, Py_ssize_t segment_size, object addr) except -1:
        """Return the maximum datagrams of this size per train to *addr*."""
        if self._refused and self.refusals.covers(addr):
            return 1
        return max(1, min(self.gso_segments, _max_train_bytes // segment_size))

    cdef Py_ssize_t _send_segments(
        self, char *data, Py_ssize_t size, Py_ssize_t segment_size, object addr
    ) except -1:
        cdef _Buffers buffers = _borrow()
        cdef Py_ssize_t segments = self._most_segments(segment_size, addr)
        cdef Py_ssize_t length = segment_size * segments
        cdef Py_ssize_t offset = 0
        cdef int limit = TRAINS if segments > 1 else OUT_MESSAGES
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
                if self._most_segments(segment_size, addr) != segments:
                    break  # the next call tries trains again
            return min(size, segment_size * self._transmit(buffers, count, addr))
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
            pair = (
                type(item) is tuple or (<PyObject *> item).ob_type == _datagram_type
            ) and PyTuple_GET_SIZE(item) == 2
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

    cdef Py_ssize_t _send_list(self, list datagrams, Py_ssize_t start) except -1:
        cdef _Buffers buffers
        check_start(start, PyList_GET_SIZE(datagrams))
        buffers = _borrow()
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
        cdef object addr
        while position < total:
            addr = _pair(datagrams, position)[1]
            composed = self._compose_batch(buffers, datagrams, position, &count)
            try:
                taken = self._transmit(buffers, count, addr)
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
            limit = self._most_segments(size, addr) if size else 1
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

    cdef Py_ssize_t _transmit(
        self, _Buffers buffers, int count, object addr
    ) except -1:
        """Send the composed messages and return how many datagrams went out.

        The first of them is for *addr*. Raises only if the first message was refused.
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
                return self._send_singly(buffers, addr, failure)
            raise _error(failure)
        for i in range(accepted):
            datagrams += buffers.out_datagrams[i]
            self.sent_bytes += buffers.outgoing[i].msg_len
        self.sent += datagrams
        return datagrams

    cdef Py_ssize_t _send_singly(
        self, _Buffers buffers, object addr, int refusal
    ) except -1:
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
        self._reduce_gso(total, addr, refusal)
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

    cdef int _reduce_gso(
        self, Py_ssize_t segments, object addr, int refusal
    ) except -1:
        """Send shorter trains, or none for a while; see ``batchio``."""
        if refusal == EMSGSIZE:
            return 0
        if segments > OLD_GSO_SEGMENTS:
            self.gso_segments = OLD_GSO_SEGMENTS
            return 0
        self._refused = True
        self.refusals.add(addr, self._fd, os.strerror(refusal))
        return 0
