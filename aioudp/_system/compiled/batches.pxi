"""Batches: many messages of one recvmmsg(2) read into the memory of one batch.

The kernel writes trains directly to their place in the batch if they're like the last
ones. Each message gets as many bytes of the batch as the longest one of the last call
had. The remainder of a longer message goes to the thread's buffer. A message that is shorter
or longer than expected leaves a gap or needs more room, so those after it are moved.
"""

cdef extern from "Python.h":
    char *PyByteArray_AS_STRING(object)
    Py_ssize_t PyByteArray_GET_SIZE(object)
    int PyByteArray_Resize(object, Py_ssize_t) except -1

cdef extern from "string.h" nogil:
    void *memmove(void *, const void *, size_t)


cdef char *_room(object column, Py_ssize_t used, Py_ssize_t more) except NULL:
    """Return the memory of a column, with room for *more* bytes behind those in use."""
    cdef Py_ssize_t size = PyByteArray_GET_SIZE(column)
    if used + more > size:
        PyByteArray_Resize(column, max(used + more, 2 * size))
    return PyByteArray_AS_STRING(column)


cdef class BatchingSocket(ReceivingSocket):
    """The reading half of a ``BatchSocket`` that makes no objects."""

    cdef Py_ssize_t _foreseen  # bytes of the longest train of the last call; or 0
    cdef Py_ssize_t _last_size, _last_rows  # of a whole batch
    cdef object _numbered  # the sender of the last row ...
    cdef unsigned int _number  # ... and its number in the batch

    @cython.critical_section
    def receive_batch(self, batch not None, Py_ssize_t max_datagrams):
        """Add the datagrams in the socket to *batch*; see ``batchio``."""
        cdef Py_ssize_t count
        cdef _Buffers buffers
        if self.pending is not None:
            error, self.pending = self.pending, None
            raise error
        buffers = _borrow()
        try:
            count = self._receive_batch(batch, max_datagrams, buffers)
        finally:
            self._numbered = None
            buffers.busy = False
        if self.pending is not None and not count:
            error, self.pending = self.pending, None
            raise error
        self.received += count
        return count

    cdef Py_ssize_t _receive_batch(
        self, object batch, Py_ssize_t max_datagrams, _Buffers buffers
    ) except -1:
        cdef Py_ssize_t before = batch._count
        cdef Py_ssize_t count = before
        cdef Py_ssize_t size = batch._size
        cdef Py_ssize_t segment = batch._segment
        cdef Py_ssize_t limit = count + max_datagrams
        cdef Py_ssize_t room, left, total, foreseen
        cdef long long enough = self.received_bytes + MAX_BYTES
        cdef int read = 0
        cdef int i, taken, wanted, failure
        cdef mmsghdr *messages = buffers.incoming
        cdef Py_buffer view
        cdef bytearray data = batch._data
        cdef bytearray offsets = batch._offsets
        cdef bytearray sources = batch._source_index
        cdef list addrs = batch._sources
        cdef dict numbers = batch._source_numbers
        if batch._runs:
            batch._write_down()
        # As much as the last time: growing copies.
        _room(data, size, self._last_size)
        _room(offsets, 4 * (count + 1), 4 * self._last_rows)
        _room(sources, 4 * count, 4 * self._last_rows)
        try:
            while read < READS and count < limit and self.received_bytes < enough:
                room = limit - count
                if self.gro:
                    room = max(1, room // MAX_SEGMENTS)
                left = enough - self.received_bytes
                room = min(room, (left + self._longest - 1) // self._longest)
                room = min(room, READS - read)
                foreseen = self._foreseen
                wanted = <int> min(IN_TRAINS if foreseen else IN_MESSAGES, room)
                read += wanted
                _room(data, size, wanted * foreseen)
                # Held, so that nobody can take the memory away meanwhile.
                PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
                try:
                    self._lay_out(buffers, wanted, <char *> view.buf + size, foreseen)
                    with nogil:
                        taken = recvmmsg(self._fd, messages, wanted, MSG_DONTWAIT, NULL)
                        failure = errno
                finally:
                    PyBuffer_Release(&view)
                if taken < 0:
                    if failure == EINTR:
                        PyErr_CheckSignals()
                        continue
                    if failure != EAGAIN:
                        self.pending = _error(failure)
                    break
                total = 0
                self._longest = 1
                for i in range(taken):
                    total += messages[i].msg_len
                    self._longest = max(self._longest, <Py_ssize_t> messages[i].msg_len)
                _room(data, size, total)
                self._compact(buffers, taken, PyByteArray_AS_STRING(data) + size, foreseen)
                self._foreseen = 0
                for i in range(taken):
                    self._add_rows(
                        batch, data, offsets, sources, addrs, numbers, buffers, i,
                        &count, &size, &segment,
                    )
                if taken < wanted:
                    break
        finally:
            batch._count = count
            batch._size = size
            batch._segment = segment
        self._last_size = min(size, MAX_BYTES + MAX_READ)
        self._last_rows = min(count, READS * MAX_SEGMENTS)
        return count - before

    cdef void _lay_out(
        self, _Buffers buffers, int wanted, char *place, Py_ssize_t foreseen
    ) noexcept:
        """Set up each message to be written to its place, then to its buffer."""
        cdef int i
        cdef msghdr *message
        for i in range(wanted):
            message = &buffers.incoming[i].msg_hdr
            if foreseen:
                buffers.scattered_pieces[i][0].iov_base = place + i * foreseen
                buffers.scattered_pieces[i][0].iov_len = foreseen
                buffers.scattered_pieces[i][1] = buffers.in_pieces[i]
                message.msg_iov = buffers.scattered_pieces[i]
                message.msg_iovlen = 2
            else:
                message.msg_iov = &buffers.in_pieces[i]
                message.msg_iovlen = 1
            message.msg_namelen = NAME_SPACE
            message.msg_controllen = CONTROL_SPACE if self.gro or self.packet_info else 0
            message.msg_flags = 0

    cdef int _compact(
        self, _Buffers buffers, int taken, char *place, Py_ssize_t foreseen
    ) except -1:
        """Move messages that aren't in their place, so that no gap is left."""
        cdef Py_ssize_t length, first
        cdef char *end = place
        cdef char *begin
        cdef char *aside
        cdef int i, fits = 0
        while fits < taken and <Py_ssize_t> buffers.incoming[fits].msg_len <= foreseen:
            begin = place + fits * foreseen
            length = buffers.incoming[fits].msg_len
            if begin != end:
                memmove(end, begin, length)
            end += length
            fits += 1
        if fits == taken:
            return 0
        # One is longer than foreseen and would reach into the next ones: what of them
        # is in place goes aside first.
        aside = NULL
        if foreseen:
            aside = <char *> malloc((taken - fits) * foreseen)
            if aside is NULL:
                raise MemoryError
            memcpy(aside, place + fits * foreseen, (taken - fits) * foreseen)
        for i in range(fits, taken):
            length = buffers.incoming[i].msg_len
            first = min(length, foreseen)
            if first:
                memcpy(end, aside + (i - fits) * foreseen, first)
            memcpy(end + first, buffers.in_pieces[i].iov_base, length - first)
            end += length
        free(aside)
        return 0

    cdef int _add_rows(
        self,
        object batch,
        bytearray data,
        bytearray offset_column,
        bytearray source_column,
        list addrs,
        dict numbers,
        _Buffers buffers,
        int index,
        Py_ssize_t *count,
        Py_ssize_t *used,
        Py_ssize_t *segment,
    ) except -1:
        """Add rows for the datagrams in one message, whose bytes follow those in use."""
        cdef mmsghdr *message = &buffers.incoming[index]
        cdef Py_ssize_t length = message.msg_len
        cdef Py_ssize_t size = 0
        cdef Py_ssize_t rows = 1
        cdef Py_ssize_t row, start
        cdef unsigned int number
        cdef int *offsets
        cdef unsigned int *sources
        cdef char *place
        cdef str refusal = None
        if message.msg_hdr.msg_flags & MSG_TRUNC:
            refusal = f"datagram cut off after {length} bytes"
        elif self.gro:
            size = _segment_size(&message.msg_hdr)
            if size < 0:
                refusal = f"control data cut off: {length} bytes may be several datagrams"
        if refusal is not None:
            self._refuse(refusal)
            place = PyByteArray_AS_STRING(data) + used[0]
            # What follows has been put behind it.
            memmove(
                place, place + length, PyByteArray_GET_SIZE(data) - used[0] - length
            )
            return 0
        addr = self._source(buffers.in_names[index], message.msg_hdr.msg_namelen)
        if addr is not self._numbered:
            found = numbers.get(addr)
            if found is None:
                found = PyList_GET_SIZE(addrs)
                addrs.append(addr)
                numbers[addr] = found
            self._number = found
            self._numbered = addr
        number = self._number
        if size == 0 or size >= length:
            size = length
        else:
            rows = (length + size - 1) // size
            self._foreseen = max(self._foreseen, length)
        start = count[0]
        offsets = <int *> _room(offset_column, 4 * (start + 1), 4 * rows)
        sources = <unsigned int *> _room(source_column, 4 * start, 4 * rows)
        for row in range(rows - 1):
            offsets[start + 1 + row] = <int> (used[0] + (row + 1) * size)
        offsets[start + rows] = <int> (used[0] + length)
        for row in range(start, start + rows):
            sources[row] = number
        if self.packet_info:
            self._add_information(batch, &message.msg_hdr, start, rows)
        if segment[0] == -1:
            segment[0] = size
        if segment[0] != size or size * rows != length:
            segment[0] = -2
        self.received_bytes += length
        count[0] += rows
        used[0] += length
        return 0

    cdef int _add_information(
        self, object batch, msghdr *message, Py_ssize_t start, Py_ssize_t rows
    ) except -1:
        """Add the packet info of some rows."""
        cdef tuple info = _info(message, self._ipv4_places, self._ipv6_places)
        cdef unsigned int place = batch._number_place(info[0], info[8])
        cdef unsigned int interface = info[1] or 0
        cdef unsigned char tos = info[2] or 0
        cdef unsigned char hop_limit = info[3] or 0
        cdef int64_t stamp = info[6] or 0
        cdef int64_t *stamps = <int64_t *> _room(batch._stamps, 8 * start, 8 * rows)
        cdef unsigned int *places = <unsigned int *> _room(
            batch._place_index, 4 * start, 4 * rows
        )
        cdef unsigned int *interfaces = <unsigned int *> _room(
            batch._interfaces, 4 * start, 4 * rows
        )
        cdef char *kinds = _room(batch._tos, start, rows)
        cdef char *hops = _room(batch._hop_limits, start, rows)
        cdef Py_ssize_t row
        batch._info = True
        for row in range(start, start + rows):
            stamps[row] = stamp
            places[row] = place
            interfaces[row] = interface
            kinds[row] = <char> tos
            hops[row] = <char> hop_limit
        return 0
