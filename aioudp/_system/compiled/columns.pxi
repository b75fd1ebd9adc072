"""Columns: the rows of a batch laid out as trains, straight from its memory."""


cdef class _Columns:
    """The columns of a ``PreparedBatch``, locked while they're being sent."""

    cdef Py_buffer data, offsets, numbers
    cdef bint has_numbers
    cdef list targets
    cdef Py_ssize_t start, stop

    def __cinit__(self, prepared):
        cdef Py_ssize_t rows
        self.start, self.stop = prepared.start, prepared.stop
        self.targets = prepared.targets
        PyObject_GetBuffer(prepared.data, &self.data, PyBUF_SIMPLE)
        PyObject_GetBuffer(prepared.offsets, &self.offsets, PyBUF_SIMPLE)
        self.has_numbers = prepared.numbers is not None
        if self.has_numbers:
            PyObject_GetBuffer(prepared.numbers, &self.numbers, PyBUF_SIMPLE)
        # Nothing below checks again.
        rows = self.offsets.len // 4 - 1
        if not 0 <= self.start <= self.stop <= rows:
            raise ValueError("there are no such rows")
        if self.has_numbers and self.numbers.len // 4 < self.stop:
            raise ValueError("there are not so many destinations")

    def __dealloc__(self):
        PyBuffer_Release(&self.data)
        PyBuffer_Release(&self.offsets)
        PyBuffer_Release(&self.numbers)

    cdef Py_ssize_t begin(self, Py_ssize_t row) except -1:
        """Return where a row's payload begins, or the one before it ends."""
        cdef int offset = (<int *> self.offsets.buf)[row]
        if not 0 <= offset <= self.data.len:
            raise ValueError(f"offset {offset} is outside of the data")
        return offset

    cdef object target(self, Py_ssize_t row):
        """Return the destination of a row."""
        cdef unsigned int number = self.number(row)
        if number >= <size_t> PyList_GET_SIZE(self.targets):
            raise ValueError(f"there is no destination {number}")
        return self.targets[number]

    cdef unsigned int number(self, Py_ssize_t row) noexcept:
        return (<unsigned int *> self.numbers.buf)[row] if self.has_numbers else 0


cdef class ColumnSocket(SendingSocket):
    """The writing half of a ``BatchSocket``, of batches too."""

    @cython.critical_section
    def send_batch(self, datagrams, Py_ssize_t start=0):
        """Send datagrams in order until one is refused; see ``batchio``."""
        if type(datagrams) is PreparedBatch:
            return self._send_columns(datagrams, start)
        return self._send_list(<list?> datagrams, start)

    cdef Py_ssize_t _send_columns(self, object prepared, Py_ssize_t start) except -1:
        cdef _Columns columns = _Columns(prepared)
        cdef Py_ssize_t first, position, composed, taken
        cdef int count
        cdef _Buffers buffers
        check_start(start, columns.stop - columns.start)
        first = position = columns.start + start
        buffers = _borrow()
        try:
            while position < columns.stop:
                addr = columns.target(position)
                composed = self._compose_columns(buffers, columns, position, &count)
                try:
                    taken = self._transmit(buffers, count, addr)
                except OSError:
                    if position == first:
                        raise
                    break
                position += taken
                if taken < composed:
                    break
        finally:
            buffers.busy = False
        return position - first

    cdef Py_ssize_t _compose_columns(
        self, _Buffers buffers, _Columns columns, Py_ssize_t start, int *count
    ) except -1:
        """Lay out as many messages as fit, from a row on; return the datagrams."""
        cdef Py_ssize_t row = start
        cdef Py_ssize_t begin, size, end, length, limit, last
        cdef unsigned int number
        cdef object addr
        cdef int messages = 0
        while row < columns.stop and messages < OUT_MESSAGES:
            number = columns.number(row)
            addr = columns.target(row)
            begin = columns.begin(row)
            end = columns.begin(row + 1)
            size = end - begin
            if size < 0:
                raise ValueError("offsets go down")
            limit = self._most_segments(size, addr) if size else 1
            last = min(row + limit, columns.stop)
            row += 1
            while row < last and columns.number(row) == number:
                length = columns.begin(row + 1) - end
                if length > size or length <= 0:
                    break
                end += length
                row += 1
                if length < size:
                    break
            buffers.out_pieces[messages].iov_base = <char *> columns.data.buf + begin
            buffers.out_pieces[messages].iov_len = end - begin
            self._compose(buffers, messages, messages, 1, max(1, size), addr)
            messages += 1
        count[0] = messages
        return row - start
