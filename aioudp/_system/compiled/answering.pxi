"""Answering: a handler called with each datagram, without the interpreter in between."""


def answer_each(handler, datagrams, list replies not None):
    """Call *handler* with each datagram; see ``answering``."""
    cdef object datagram, data, addr, reply
    for datagram in datagrams:
        if not PyTuple_Check(datagram) or PyTuple_GET_SIZE(datagram) < 2:
            raise TypeError(f"a datagram is required, not {datagram!r}")
        data = <object> PyTuple_GET_ITEM(datagram, 0)
        addr = <object> PyTuple_GET_ITEM(datagram, 1)
        reply = handler(data, addr)
        if reply is data:
            replies.append(datagram)
        elif type(reply) is bytes:
            replies.append((reply, addr))
        elif reply is not None:
            return datagram, reply
    return None
