"""Whatever an error queue gives, it is understood, passed over or refused."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aioudp._system.error_queue import parse
from aioudp._types import NetworkError

KINDS = [(0, 11), (41, 25)]  # SOL_IP and IP_RECVERR, SOL_IPV6 and IPV6_RECVERR

numbers = st.integers(0, 2**32 - 1)
bytes_ = st.integers(0, 255)
errors = st.builds(
    struct.Struct("=IBBBBII").pack,
    numbers,
    bytes_,
    bytes_,
    bytes_,
    bytes_,
    numbers,
    numbers,
)
families = st.sampled_from([b"\x02\x00", b"\x0a\x00", b"\x00\x00", b"\x01\x00"])
names = st.builds(bytes.__add__, families, st.binary(max_size=30)) | st.binary(
    max_size=3
)
kinds = st.sampled_from(KINDS) | st.tuples(st.integers(), st.integers())
control = st.lists(
    st.builds(
        lambda kind, value: (*kind, value),
        kinds,
        st.builds(bytes.__add__, errors, names) | st.binary(max_size=60),
    ),
    max_size=4,
)
addresses = st.sampled_from(
    [("192.0.2.7", 53), ("::ffff:192.0.2.7", 53, 0, 0), ("fe80::1", 0, 0, 3), None]
)


@given(st.binary(max_size=100), control, st.integers(0, 2**31 - 1), addresses)
def test_any_entry_is_understood_passed_over_or_refused(
    data: bytes, control: list[tuple[int, int, bytes]], flags: int, addr: Any
) -> None:
    """Nothing else is raised, and the result has the right types."""
    with contextlib.suppress(ValueError):
        error = parse(data, control, flags, addr)

        if error is not None:
            assert isinstance(error, NetworkError)
            assert isinstance(error.error, OSError)
            assert error.mtu is None or 0 < error.mtu < 2**32
            assert error.offender is None or error.offender
            assert error.data == data


@given(
    st.integers(1, 130),
    st.sampled_from([2, 3]),
    bytes_,
    bytes_,
    numbers,
    names,
    st.sampled_from(KINDS),
)
def test_icmp_errors_are_parsed_exactly(
    number: int,
    origin: int,
    icmp_type: int,
    icmp_code: int,
    info: int,
    name: bytes,
    kind: tuple[int, int],
) -> None:
    """Number, type and code pass unchanged; the MTU is the info or nothing."""
    value = struct.pack("=IBBBBII", number, origin, icmp_type, icmp_code, 0, info, 0)

    error = parse(b"", [(*kind, value + name)], 0, ("192.0.2.7", 53))

    assert error is not None
    assert error.error.errno == number
    assert (error.icmp_type, error.icmp_code) == (icmp_type, icmp_code)
    assert error.mtu in (None, info)
