# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: freethreading_compatible=True
"""Batch I/O, compiled: the twin of ``batchio``, on recvmmsg(2) and sendmmsg(2).

It has the same class, arguments, results and exceptions. Read ``batchio`` first; a
change to one is a change to both. It consists of the parts that are included here, from
the bottom up:

``kernel``        what the C library declares, and the sizes used
``control_data``  control messages, read and written
``addresses``     to and from the kernel's form, cached
``buffers``       the memory a thread reads into and sends from
``sending``       up to 64 messages with one sendmmsg, each a datagram or a train
``columns``       the same from the memory of a batch
``receiving``     up to 32 with one recvmmsg, cut up without running Python
``batches``       the same, into columns and without an object for each
``answering``     calls a handler with each datagram that was received

They're one extension, so splitting them costs nothing. The GIL is released where many
datagrams move at once. A single send keeps it, because releasing and reacquiring it
would take about as long as the send.

On free-threaded Python, the extension doesn't enable the GIL. What threads share is
safe there: dictionaries lock themselves, buffers belong to one thread, and a call locks its
socket (with a critical section, which costs nothing where there is a GIL).

It supports UDP sockets on Linux.
"""

cimport cython
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
from cpython.tuple cimport PyTuple_Check, PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyTuple_SET_ITEM
from libc.stdint cimport int64_t, uint16_t
from libc.string cimport memcmp, memcpy, memset

import os
from threading import local

from . import control_data
from .addresses import MAX_KNOWN
from .send_options import Steered
from .batchio import check_payload, check_start, prepare_steered, remember_last
from .prepared_batch import PreparedBatch
from .refusals import Refusals
from .segments import MAX_TRAIN_BYTES
from .._types import Datagram, Message

MAX_READS = 64
MAX_TRAINS = 16

include "compiled/kernel.pxi"
include "compiled/control_data.pxi"
include "compiled/addresses.pxi"
include "compiled/buffers.pxi"
include "compiled/sending.pxi"
include "compiled/columns.pxi"
include "compiled/receiving.pxi"
include "compiled/batches.pxi"
include "compiled/answering.pxi"


cdef class BatchSocket(BatchingSocket):
    """The reading and writing of one non-blocking UDP socket; see ``batchio``."""

    implementation = "compiled"

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
        self._longest = MAX_READ
        self.refusals = Refusals()
        self._segment = 0
