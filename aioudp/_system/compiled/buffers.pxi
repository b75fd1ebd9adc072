"""Buffers: the memory a thread reads into and sends from.

They belong to the thread, not to the endpoint: 2 MiB to read into. Pages that are never
filled are never touched.
"""

from libc.stdlib cimport free, malloc


cdef extern from "Python.h":
    void Py_CLEAR(PyObject *)
    PyObject *PyBytes_FromStringAndSize_ "PyBytes_FromStringAndSize" (
        const char *, Py_ssize_t
    )
    char *PyBytes_AS_STRING_ "PyBytes_AS_STRING" (PyObject *)


_thread = local()


cdef class _Buffers:
    """The memory one thread reads into and sends from."""

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
        """Set up message *index* to be written to its buffer, in one piece."""
        self.incoming[index].msg_hdr.msg_iov = &self.in_pieces[index]
        self.incoming[index].msg_hdr.msg_iovlen = 1
        return 0

    cdef int scatter(self, int index, Py_ssize_t size, int pieces) except -1:
        """Set up message *index* to be written to bytes objects, then its buffer."""
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
    """Return the thread's buffers, which the caller must give back.

    A signal handler or a finalizer that sends or receives meanwhile gets others.
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
