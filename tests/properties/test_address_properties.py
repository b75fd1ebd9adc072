"""Addresses survive translation, in both directions and through text."""

from __future__ import annotations

import ipaddress
import os
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aioudp._system.addresses import (
    format_address,
    host_and_port,
    is_path,
    numeric_family,
    parse_address,
    public_address,
    socket_address,
)

UNIX: Final = 1  # AF_UNIX, also where the system has no such sockets

ports = st.integers(1, 65535)
ipv4_hosts = st.ip_addresses(v=4).map(str)
# As the system writes them, which differs from Python's ipaddress in a few corners.
ipv6_hosts = st.one_of(
    st.ip_addresses(v=6).map(lambda ip: inet_ntop(AF_INET6, ip.packed)),
    # Hosts around the prefix of mapped addresses are rare among all there are.
    st.builds(
        lambda head, tail: inet_ntop(AF_INET6, head + tail),
        st.sampled_from(
            [bytes(8) + b"\xff\xff\0\0", bytes(8) + b"\0\0\xff\xff", bytes(12)]
        ),
        st.binary(min_size=4, max_size=4),
    ),
)
mapped_hosts = ipv4_hosts.map("::ffff:{}".format)
unmapped_hosts = ipv6_hosts.filter(
    lambda host: ipaddress.IPv6Address(host).ipv4_mapped is None
)
zones = st.integers(1, 2**32 - 1)
# No surrogates: os.fsencode(3) has to be able to write them.
names = st.text(st.characters(codec="utf-8"), min_size=1)
paths = names.filter(is_path) | names.map("./{}".format)

ipv4 = st.tuples(ipv4_hosts, ports)
ipv6_pairs = st.tuples(unmapped_hosts, ports)
ipv6 = st.tuples(unmapped_hosts, ports, st.just(0), st.just(0))
scoped = st.tuples(unmapped_hosts, ports, st.just(0), zones)
flowing = st.tuples(unmapped_hosts, ports, st.integers(0, 0xFFFFF), st.just(0) | zones)


@given(ipv4 | ipv6_pairs | paths)
def test_text_gives_the_address_back(address: Any) -> None:
    """What was written is read, unchanged."""
    assert parse_address(format_address(address)) == address


@given(ipv6 | scoped)
@example(("::", 1, 0, 0))
def test_text_gives_the_same_destination_back(address: Any) -> None:
    """The four parts of an IPv6 address come back as two that mean the same."""
    read: Any = parse_address(format_address(address))

    assert len(read) == 2
    assert socket_address(read, AF_INET6) == address


@given(flowing)
def test_text_loses_only_the_flow_label(address: Any) -> None:
    """It has no place in the usual notation."""
    host, port, _, scope_id = address

    read = parse_address(format_address(address))

    assert socket_address(read, AF_INET6) == (host, port, 0, scope_id)


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name))
def test_a_path_of_bytes_is_read_as_the_same_file(path: bytes) -> None:
    """As text that names the same bytes in the file system."""
    read: Any = parse_address(format_address(path))

    assert os.fsencode(read) in (path, b"./" + path)
    assert is_path(read)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """With a ValueError and never anything else; and what is read can be written."""
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert parse_address(format_address(address)) == address


@given(ipv4)
def test_ipv4_comes_back_from_an_ipv4_socket(address: Any) -> None:
    """What a caller sends to is what the caller reads."""
    assert public_address(socket_address(address, AF_INET)) == address


@given(flowing)
def test_ipv6_comes_back_from_an_ipv6_socket(address: Any) -> None:
    """With its flow label and its zone, and never mistaken for IPv4."""
    assert public_address(socket_address(address, AF_INET6)) == address


@given(ipv4 | flowing)
def test_both_come_back_from_a_dual_stack_socket(address: Any) -> None:
    """IPv4 goes in plain and comes out plain, whatever happens in between."""
    there = socket_address(address, AF_INET6, dual_stack=True)

    assert len(there) == 4
    assert public_address(there) == address


@given(ipv4)
def test_a_dual_stack_socket_gets_mapped_addresses(address: Any) -> None:
    """As RFC 4291, 2.5.5.2, has them."""
    host, port, *rest = socket_address(address, AF_INET6, dual_stack=True)

    assert str(ipaddress.IPv6Address(host).ipv4_mapped) == address[0]
    assert [port, *rest] == [address[1], 0, 0]


@given(mapped_hosts, ports)
def test_a_mapped_address_is_the_ipv4_address(host: str, port: int) -> None:
    """On every socket that can reach it."""
    plain = host.removeprefix("::ffff:"), port

    assert socket_address((host, port), AF_INET) == plain
    assert public_address((host, port, 0, 0)) == plain
    assert (
        public_address(socket_address((host, port), AF_INET6, dual_stack=True)) == plain
    )


@given(ipv4 | ipv6 | scoped, st.sampled_from([AF_INET, AF_INET6]), st.booleans())
def test_translating_twice_is_translating_once(
    address: Any, family: int, dual_stack: bool
) -> None:
    """A socket's own form is an address too."""
    try:
        once = socket_address(address, family, dual_stack=dual_stack)
    except ValueError:
        return
    assert socket_address(once, family, dual_stack=dual_stack) == once


@given(ipv6_pairs, st.booleans())
def test_spelling_does_not_matter(address: Any, upper: bool) -> None:
    """Every way to write a host is one peer."""
    host, port = address
    spelt = ipaddress.IPv6Address(host).exploded
    spelt = spelt.upper() if upper else spelt

    assert socket_address((spelt, port), AF_INET6) == (host, port, 0, 0)


@given(ipv4_hosts | ipv6_hosts)
def test_hosts_that_are_numeric_are_known_to_be(host: str) -> None:
    """None of them is ever looked up."""
    assert numeric_family(host)


anything = st.one_of(
    st.none(),
    st.integers(),
    st.text(),
    st.binary(),
    st.floats(),
    ipv4_hosts,
    ipv6_hosts,
)


@given(
    st.lists(anything, max_size=5).map(tuple) | anything,
    st.sampled_from([AF_INET, AF_INET6, UNIX]),
    st.booleans(),
)
def test_anything_is_translated_or_refused(
    address: Any, family: int, dual_stack: bool
) -> None:
    """With a TypeError or a ValueError; what is translated is within its ranges."""
    try:
        taken = socket_address(address, family, dual_stack=dual_stack)
    except (TypeError, ValueError):
        return
    if family == UNIX:
        assert taken == address
        return
    host, port, *rest = taken
    assert 1 <= port <= 65535
    assert len(rest) == (0 if family == AF_INET else 2)
    assert ipaddress.ip_address(host).version == (4 if family == AF_INET else 6)


@given(ipv6_pairs, st.integers(2**32))
@example(("fe80::1", 53), 2**32)
@example(("fe80::1", 53), 2**32 + 1)
def test_a_zone_beyond_32_bits_is_refused(address: Any, zone: int) -> None:
    """It would be cut down to another interface."""
    host, port = address

    with pytest.raises(ValueError, match=r"scope_id|zone|interface"):
        socket_address((f"{host}%{zone}", port), AF_INET6)


@given(ipv4_hosts | unmapped_hosts, st.integers())
@example("192.0.2.1", -1)
@example("192.0.2.1", 0)
@example("192.0.2.1", 1)
@example("192.0.2.1", 65535)
@example("192.0.2.1", 65536)
@example("2001:db8::1", 2**32 + 53)
def test_a_port_is_taken_or_refused(host: str, port: int) -> None:
    """It is never cut down to one that happens to be legal. 0 may be allowed."""
    family = numeric_family(host)

    for any_port in (False, True):
        lowest = 0 if any_port else 1
        if lowest <= port <= 65535:
            taken = socket_address((host, port), family, any_port=any_port)
            assert taken[1] == port
            continue
        message = f"port must be from {lowest} to 65535: .*{port}"
        with pytest.raises(ValueError, match=message):
            socket_address((host, port), family, any_port=any_port)


@given(st.integers())
@example(-1)
@example(0)
@example(65535)
@example(65536)
def test_the_port_is_checked_before_the_look_up(port: int) -> None:
    """The resolver would cut it down."""
    if 0 <= port <= 65535:
        assert host_and_port(("example.org", port)) == ("example.org", port)
        return
    with pytest.raises(ValueError, match="port must be from 0 to 65535"):
        host_and_port(("example.org", port))


@given(st.integers(), st.integers())
@example(-1, 0)
@example(0, -1)
@example(0xFFFFF, 0xFFFFFFFF)
@example(0x100000, 0)
@example(0, 2**32)
def test_flowinfo_and_scope_are_taken_or_refused(flowinfo: int, scope_id: int) -> None:
    """The error names the one that is out of range, and flowinfo if both are."""
    address = ("fe80::1", 53, flowinfo, scope_id)
    if not 0 <= flowinfo <= 0xFFFFF:
        wrong = "flowinfo"
    elif not 0 <= scope_id <= 0xFFFFFFFF:
        wrong = "scope_id"
    else:
        assert socket_address(address, AF_INET6) == address
        return
    with pytest.raises(ValueError, match=wrong):
        socket_address(address, AF_INET6)
