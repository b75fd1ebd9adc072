"""The options: what a caller may write, their defaults, their checks."""

from __future__ import annotations

import dataclasses
import inspect
import re
import socket
import sys
from collections.abc import Callable
from typing import Any, get_type_hints

import pytest

import aioudp
from aioudp._endpoint.options import Options, Settings, check


def test_both_classes_have_the_same_fields() -> None:
    """What type checkers read is what is checked at run time, in the same order."""
    checked = [field.name for field in dataclasses.fields(Settings)]

    assert list(Options.__annotations__) == checked


def test_both_classes_agree_on_the_types() -> None:
    """A setting is of its option's type, or ``None`` where it has no default."""
    written = get_type_hints(Options)
    complete = get_type_hints(Settings)

    assert {
        name: kind
        for name, kind in complete.items()
        if kind not in (written[name], written[name] | None)
    } == {}


def test_every_option_is_documented() -> None:
    """Each is followed by what it does."""
    source = inspect.getsource(Options)
    documented = re.findall(r'^    (\w+): .*\n    """', source, re.M)

    assert documented == list(Options.__annotations__)


def test_no_option_is_required() -> None:
    """Every opening call works without any."""
    assert Options.__required_keys__ == frozenset()


def test_the_defaults() -> None:
    """They are part of the promise."""
    assert dataclasses.asdict(Settings()) == {
        "family": 0,
        "reuse_port": False,
        "broadcast": False,
        "queue_size": 1024,
        "overflow": "pause",
        "icmp_errors": False,
        "dont_fragment": False,
        "receive_buffer": None,
        "send_buffer": None,
        "offload": True,
        "packet_info": False,
        "timestamps": None,
        "max_datagram_size": None,
        "transport": "auto",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("family", socket.AF_INET),
        ("family", socket.AF_INET6),
        ("family", 0),
        ("reuse_port", True),
        ("broadcast", True),
        ("queue_size", 1),
        ("queue_size", 2**31 - 1),
        ("overflow", "drop-oldest"),
        ("overflow", "drop-newest"),
        ("dont_fragment", True),
        ("receive_buffer", 1),
        ("send_buffer", 2**31 - 1),
        ("offload", False),
        ("packet_info", True),
        ("max_datagram_size", 1),
        ("transport", "selector"),
        ("transport", "loop"),
    ],
)
def test_a_good_value_is_taken_as_it_is(name: str, value: Any) -> None:
    """Settings change nothing of what the caller asked for."""
    assert getattr(Settings(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("family", 1),
        ("family", -1),
        ("queue_size", 0),
        ("queue_size", -1),
        ("queue_size", 2**31),
        ("overflow", "drop"),
        ("overflow", ""),
        ("receive_buffer", 0),
        ("receive_buffer", 2**31),
        ("send_buffer", -1),
        ("max_datagram_size", 0),
        ("transport", "fast"),
    ],
)
def test_a_value_out_of_range_is_refused(name: str, value: Any) -> None:
    """The error names the option and the value."""
    with pytest.raises(ValueError, match=f"{name} must be .*{value}"):
        Settings(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("queue_size", "1024"),
        ("queue_size", 10.0),
        ("queue_size", True),
        ("queue_size", None),
        ("receive_buffer", "4M"),
        ("send_buffer", 1e6),
        ("reuse_port", "no"),
        ("broadcast", "off"),
        ("icmp_errors", 1),
        ("dont_fragment", "yes"),
        ("offload", None),
        ("packet_info", 1),
        ("max_datagram_size", 1500.0),
    ],
)
def test_a_value_of_a_wrong_type_is_refused(name: str, value: Any) -> None:
    """The error names the option; ``"no"`` does not pass for ``True``."""
    with pytest.raises(TypeError, match=name):
        Settings(**{name: value})


@pytest.mark.parametrize("name", ["family", "overflow", "timestamps", "transport"])
def test_the_choices_are_listed_in_the_refusal(name: str) -> None:
    """The message is enough to write it right the next time."""
    with pytest.raises(ValueError, match=r"must be one of .*, .*, .*; got 'other'"):
        Settings(**{name: "other"})  # type: ignore[arg-type]


@pytest.mark.parametrize("timestamps", ["software", "hardware"])
def test_timestamps_are_part_of_packet_info(timestamps: Any) -> None:
    """Alone they would be asked for and never seen."""
    assert Settings(packet_info=True, timestamps=timestamps).timestamps == timestamps
    with pytest.raises(ValueError, match="packet_info=True"):
        Settings(timestamps=timestamps)


def test_an_unknown_option_is_refused() -> None:
    """A misspelt option does not pass in silence; the error names it."""
    options: Any = {"reuse_addr": True}

    with pytest.raises(TypeError, match="'reuse_addr'"):
        check(options)


@pytest.mark.parametrize(
    ("call", "name", "advice"),
    [
        (aioudp.bind, "queue_sise", "did you mean 'queue_size'?"),
        (aioudp.connect, "local_adr", "did you mean 'local_addr'?"),
        (aioudp.open_broadcast, "interface", "did you mean 'interfaces'?"),
        (aioudp.open_client, "retires", "did you mean 'retries'?"),
        (aioudp.serve, "concurency", "did you mean 'concurrency'?"),
        (aioudp.bind, "concurency", "see aioudp.Options"),
        (aioudp.bind, "allow_broadcast", "did you mean 'broadcast'?"),
        (aioudp.bind, "reuse_address", "see 'reuse_port'"),
        (aioudp.bind, "xyz", "see aioudp.Options"),
    ],
)
def test_a_misspelt_option_gets_a_suggestion(
    call: Callable[..., object], name: str, advice: str
) -> None:
    """Of the options, and of the arguments of the very call."""
    arguments: dict[object, list[object]] = {
        aioudp.open_broadcast: [0],
        aioudp.open_client: [],
        aioudp.serve: [len, ("127.0.0.1", 0)],
    }

    with pytest.raises(TypeError) as caught:
        call(*arguments.get(call, [("127.0.0.1", 9)]), **{name: 1})

    assert re.fullmatch(
        rf"there is no option {name!r}; .*{re.escape(advice)}", str(caught.value)
    )


def test_what_is_not_given_has_its_default() -> None:
    """The settings are complete."""
    assert check({"queue_size": 5}) == Settings(queue_size=5)


def test_given_options_are_checked() -> None:
    """With the errors of the settings."""
    with pytest.raises(ValueError, match="queue_size"):
        check({"queue_size": 0})


def test_settings_cannot_be_changed() -> None:
    """What was checked stays so."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().queue_size = 0  # type: ignore[misc]


def test_reuse_port_is_refused_where_the_system_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Asking for what cannot be had is an error and not a silent exclusive port."""
    monkeypatch.delattr(socket, "SO_REUSEPORT")

    with pytest.raises(ValueError, match="reuse_port"):
        Settings(reuse_port=True)


def test_other_options_work_where_the_system_has_no_reuse_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only asking for it fails."""
    monkeypatch.delattr(socket, "SO_REUSEPORT")

    assert Settings(broadcast=True).broadcast


@pytest.mark.parametrize(
    ("option", "missing"),
    [
        ("icmp_errors", ["darwin", "win32", "freebsd14"]),
        ("dont_fragment", ["freebsd14"]),
    ],
)
def test_what_the_system_does_not_have_is_refused(
    option: str, missing: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guarantee that cannot be given is not promised."""
    options: Any = {option: True}
    for platform in ("linux", "darwin", "win32", "freebsd14"):
        monkeypatch.setattr(sys, "platform", platform)

        if platform in missing:
            with pytest.raises(ValueError, match=f"{option} is not supported"):
                Settings(**options)
        else:
            assert getattr(Settings(**options), option) is True


def test_errors_are_not_kept_by_the_loop_transport(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would not empty their queue, and so never rest."""
    monkeypatch.setattr(sys, "platform", "linux")

    with pytest.raises(ValueError, match="icmp_errors needs the selector transport"):
        Settings(icmp_errors=True, transport="loop")
