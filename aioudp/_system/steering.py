"""Which socket of a SO_REUSEPORT group gets a datagram: classic BPF programs.

By itself the kernel chooses by a hash of both addresses and ports, so one heavy sender
stays with one socket. A program of classic BPF on the group chooses instead, and needs
no privilege. It returns the index of a socket, in the order in which they were bound
(SO_ATTACH_REUSEPORT_CBPF, socket(7)).
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import sys
from typing import Final, Literal, NamedTuple, TypeAlias

from .._errors import with_context

Steering: TypeAlias = Literal["kernel", "peer", "random"]
"""How datagrams are spread over the sockets of a port."""

SO_ATTACH_REUSEPORT_CBPF: Final = 51  # include/uapi/asm-generic/socket.h, Linux 4.5

# include/uapi/linux/bpf_common.h and filter.h
_LD_W_ABS: Final = 0x20
_LD_B_ABS: Final = 0x30
_LD_H_ABS: Final = 0x28
_LD_H_IND: Final = 0x48
_LDX_B_MSH: Final = 0xB1
_MUL_K: Final = 0x24
_MOD_K: Final = 0x94
_RSH_K: Final = 0x74
_XOR_X: Final = 0xAC
_JEQ_K: Final = 0x15
_JA: Final = 0x05
_TAX: Final = 0x07
_RET_A: Final = 0x16
_RANDOM: Final = -0x1000 + 56  # SKF_AD_OFF + SKF_AD_RANDOM
_NET: Final = -0x100000  # SKF_NET_OFF: where the IP header begins

_GOLDEN: Final = 0x9E3779B1  # 2**32 / the golden ratio, odd: Knuth, TAOCP 6.4
_INSTRUCTION: Final = struct.Struct("=HBBI")  # struct sock_filter


class Instruction(NamedTuple):
    """One instruction of classic BPF."""

    code: int
    k: int = 0
    true: int = 0
    false: int = 0

    def pack(self) -> bytes:
        return _INSTRUCTION.pack(self.code, self.true, self.false, self.k & 0xFFFFFFFF)


def program(steering: Steering, sockets: int) -> list[Instruction]:
    """Return the program for so many sockets; none for ``"kernel"``."""
    choose = [Instruction(_MOD_K, sockets), Instruction(_RET_A)]
    if steering == "random":
        return [Instruction(_LD_W_ABS, _RANDOM), *choose]
    if steering == "peer":
        return [*_source(), *_mix(), *choose]
    return []


def _source() -> list[Instruction]:
    """Gather the source's address and port in the accumulator."""
    # IPv4: the address at 12, the port behind a header of 4 * IHL bytes (RFC 791).
    ipv4 = [
        Instruction(_LDX_B_MSH, _NET),
        Instruction(_LD_H_IND, _NET),
        *_add(_NET + 12),
    ]
    # IPv6: the address at 8, the port behind 40 bytes if nothing stands between
    # (RFC 8200); else other bytes, which are the same for each datagram of a peer.
    ipv6 = [Instruction(_LD_H_ABS, _NET + 40)]
    for offset in (8, 12, 16, 20):
        ipv6 += _add(_NET + offset)
    return [
        Instruction(_LD_B_ABS, _NET),
        Instruction(_RSH_K, 4),
        Instruction(_JEQ_K, 6, 0, len(ipv6) + 1),
        *ipv6,
        Instruction(_JA, len(ipv4)),
        *ipv4,
    ]


def _add(offset: int) -> list[Instruction]:
    """Multiply what there is, and add the word at *offset* without carry."""
    return [
        Instruction(_MUL_K, _GOLDEN),
        Instruction(_TAX),
        Instruction(_LD_W_ABS, offset),
        Instruction(_XOR_X),
    ]


def _mix() -> list[Instruction]:
    """Let every bit have a say in the lowest ones."""
    once = [
        Instruction(_MUL_K, _GOLDEN),
        Instruction(_TAX),
        Instruction(_RSH_K, 15),
        Instruction(_XOR_X),
    ]
    return once * 2


def steer(sock: socket.socket, steering: Steering, sockets: int) -> None:
    """Choose among the sockets of the group that *sock* is in.

    Raises:
        OSError: If the system refuses.
    """
    instructions = program(steering, sockets)
    if not instructions:
        return
    if sys.platform != "linux":
        raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))
    code = b"".join(instruction.pack() for instruction in instructions)
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: a length and a pointer, which has to stay valid for the call.
    fprog = struct.pack("HP", len(instructions), ctypes.addressof(buffer))
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, fprog)
    except OSError as exc:
        raise with_context(exc, f"steering={steering!r}") from None
