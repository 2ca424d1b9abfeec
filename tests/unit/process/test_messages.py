"""The messages between the processes of a tree, and their bytes."""

from __future__ import annotations

import dataclasses
import json
import random
import string
from typing import Any

import pytest

from tornado_multi.process import messages as msg
from tornado_multi.process.messages import (
    MAX_MESSAGE_BYTES,
    MAX_TEXT_BYTES,
    PROTOCOL_VERSION,
    Message,
    RemoteProtocolError,
    cut_middle,
    decode,
    encode,
)
from tornado_multi.settings.model import Settings, from_plain, to_plain

EXAMPLES: list[Message] = [
    msg.Boot(
        generation=2,
        supervisor_pid=4242,
        scoreboard_fd=5,
        listeners=(msg.Listener(6, "http://127.0.0.1:8888"), msg.Listener(7, "unix:/run/s")),
        directory="/srv/shop",
        settings={"app": "shop:make_app", "workers": {"loop": "uvloop"}},
        app_arguments=("--port=1", "é"),
        nofile_limit=1024,
    ),
    msg.Boot(1, 1, 3, (), "/", {}, None, None),
    msg.Boot(1, 1, 3, (), "/", {}, (), 0),
    msg.Fork(0, 0),
    msg.Fork(4095, 7, is_canary=True),
    msg.ListTasks(1),
    msg.Worn("it has answered 5 requests (max_requests)"),
    msg.SlowSteps("GET shop.Slow", 3, 0.512),
    msg.Ending(),
    msg.Ending("sys.exit('é') at shop.py:5", "Traceback\n  é"),
    msg.Resources(()),
    msg.Resources(({"name": "shop.é", "created_unix_s": 1.5, "healthy": None, "health": None},)),
    msg.Tasks(1, "Task-1\n  é"),
    msg.CallHook(7, "on_reload", {"number": 1, "reason": "é", "notes": ["a"]}),
    msg.Bound("80 *"),
    msg.Audited(1, 0, ({"word": "error", "kind": "thread", "file": None},), 0, 0.015, "/srv"),
    msg.Loaded(0.31),
    msg.Loaded(0.31, ("on_ready", "on_drain")),
    msg.Loaded(0.31, (), 4, ("8888 *",)),
    msg.LoadFailed("SyntaxError: invalid syntax", "Traceback ...\n  é", usage=False),
    msg.LoadFailed("There is no module 'shpo'.", "", usage=True),
    msg.Forked(3, 81),
    msg.ForkFailed(3, "Resource temporarily unavailable"),
    msg.HookForked(7, 81),
    msg.HookRefused(7, "Resource temporarily unavailable"),
    msg.HookFailed("on_ready", "on_ready failed: no", "Traceback ..."),
    msg.Readiness(wants_requests=False),
    msg.ReopenLogs(),
    msg.Drain(0.0),
    msg.Drain(30.0),
    msg.Ready(),
    msg.BootFailed("no", "Traceback"),
    msg.Draining(),
    msg.Drained(1.5, 3, 2, 4, 1, 2, ("GET shop.Slow", "websocket Chat")),
    msg.Drained(0.0, 0, 0, 0, 0, 0),
    msg.RouteNamed(1, "GET shop.Home"),
    msg.Notice("autoreload", "It is switched off."),
]
TEXTUAL: list[Message] = [
    msg.LoadFailed("reason", "", usage=False),
    msg.ForkFailed(1, ""),
    msg.HookRefused(1, ""),
    msg.HookFailed("on_ready", "reason"),
    msg.BootFailed("reason", ""),
    msg.RouteNamed(1, ""),
    msg.Tasks(1, ""),
    msg.Notice("key", ""),
]
"""Each with one free text in its last text field."""


def with_text(message: Message, text: str) -> Message:
    """Put *text* into every text field."""
    fields = {
        item.name: text
        for item in dataclasses.fields(message)
        if isinstance(getattr(message, item.name), str)
    }
    return dataclasses.replace(message, **fields)


def kinds() -> list[type]:
    return list(Message.__args__)


# --- roundtrips -----------------------------------------------------------------------------------


def test_every_type_has_an_example() -> None:
    """A message type that is added must be added to these tests."""
    assert set(kinds()) == {type(example) for example in EXAMPLES}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda item: type(item).__name__)
def test_what_is_decoded_is_what_was_encoded(example: Message) -> None:
    """Values and types survive, tuples and nested records included."""
    again = decode(encode(example))

    assert example == again
    assert type(example) is type(again)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda item: type(item).__name__)
def test_a_message_is_one_line_of_json_that_a_person_can_read(example: Message) -> None:
    """Version and type first; characters outside ASCII as they are."""
    data = encode(example)
    head = f'{{"v": {PROTOCOL_VERSION}, "type": "{type(example).__name__}"'

    assert data.decode().startswith(head)
    assert b"\n" not in data
    assert b"\\u00e9" not in data


def test_the_settings_survive_the_way_to_the_zygote() -> None:
    """What the zygote rebuilds from Boot equals what the supervisor was given."""
    settings = Settings(app="shop:make_app")
    boot = msg.Boot(1, 1, 3, (), "/", to_plain(settings), None, None)
    received = decode(encode(boot))

    assert isinstance(received, msg.Boot)
    assert settings == from_plain(received.settings)


# --- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda item: type(item).__name__)
def test_no_message_is_empty(example: Message) -> None:
    """An empty datagram reads like end of file."""
    assert len(encode(example)) > 0


@pytest.mark.parametrize("example", TEXTUAL, ids=lambda item: type(item).__name__)
@pytest.mark.parametrize(
    "character", ["x", "\n", "\0", "é", "\U0001f600", "\ud800", '"'], ids=ascii
)
@pytest.mark.parametrize("length", [MAX_TEXT_BYTES, MAX_MESSAGE_BYTES, 1_000_000])
def test_no_message_exceeds_the_limit(example: Message, character: str, length: int) -> None:
    """However long its texts are and however JSON must escape them, a message fits and arrives."""
    data = encode(with_text(example, character * length))

    assert len(data) <= MAX_MESSAGE_BYTES
    assert isinstance(decode(data), type(example))


def test_a_long_text_is_cut_in_the_middle_and_says_so() -> None:
    """Both ends of a traceback matter: where it began and what was raised."""
    text = "BEGIN" + "x" * 200_000 + "END"
    failed = decode(encode(msg.BootFailed("reason", text)))

    assert isinstance(failed, msg.BootFailed)
    assert "reason" == failed.reason
    assert failed.detail.startswith("BEGINx")
    assert failed.detail.endswith("xEND")
    assert "bytes cut here" in failed.detail


def test_a_text_that_fits_is_not_cut() -> None:
    """Cutting begins with what is too long for the message, not earlier."""
    text = "x" * (MAX_MESSAGE_BYTES - 200)

    assert msg.BootFailed("", text) == decode(encode(msg.BootFailed("", text)))


def test_what_can_not_be_cut_is_refused_by_the_sender() -> None:
    """A list or settings that are too large are an error here, never a torn message there."""
    boot = msg.Boot(1, 1, 3, (), "/", {}, ("x" * MAX_MESSAGE_BYTES,), None)

    with pytest.raises(
        ValueError, match=f"Boot message of 6.... bytes exceeds {MAX_MESSAGE_BYTES}"
    ):
        encode(boot)


@pytest.mark.parametrize("seed", range(20))
def test_cut_middle_keeps_both_ends_within_the_limit(seed: int) -> None:
    """The result is valid, at most the limit long, begins and ends like the text."""
    rng = random.Random(seed)
    alphabet = rng.choice([string.printable, "aé€\U0001f600", "\ud800x"])
    for _ in range(20):
        text = "".join(rng.choices(alphabet, k=rng.randint(0, 4000)))
        limit_bytes = rng.randint(128, 4000)
        cut = cut_middle(text, limit_bytes)
        whole = text.encode("utf-8", "replace").decode()

        assert len(cut.encode()) <= limit_bytes
        if len(whole.encode()) <= limit_bytes:
            assert whole == cut
        else:
            head, _, tail = cut.partition("\n... ")[0], None, cut.rpartition(" cut here ...\n")[2]
            assert whole.startswith(head)
            assert whole.endswith(tail)
            assert head
            assert tail


def test_cut_middle_counts_what_is_missing() -> None:
    """The reader learns how much is not there."""
    cut = cut_middle("x" * 1000, 164)

    assert f"{'x' * 50}\n... 900 bytes cut here ...\n{'x' * 50}" == cut


# --- what no message is ---------------------------------------------------------------------------


def altered(kind: type, **fields: object) -> bytes:
    """Return a message of this kind with some fields that are not what they should be."""
    example = next(item for item in EXAMPLES if type(item) is kind)
    return json.dumps(json.loads(encode(example)) | fields).encode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no message"),
        (b"{", "no message"),
        (b"\xff\xfe", "no message"),
        (b"null", "no message"),
        (b"7", "no message"),
        (b'"text"', "no message"),
        (b"[]", "no message"),
        (b"{}", "no message"),
        (b'{"v": 1}', "no message"),
        (b'{"type": "Fork"}', "no message"),
        (b"[" * 100_000, "no message"),
        (b"1" * 10_000, "no message"),
        (b'{"v": 2, "type": "Fork", "row": 1, "fork_id": 1}', "message version 2"),
        (b'{"v": "1", "type": "Fork", "row": 1, "fork_id": 1}', "message version '1'"),
        (b'{"v": null, "type": "Fork"}', "message version None"),
        (b'{"v": 1, "type": "Spoon"}', "unknown message type 'Spoon'"),
        (b'{"v": 1, "type": "Message"}', "unknown message type"),
        (b'{"v": 1, "type": ["Fork"]}', "unknown message type"),
        (b'{"v": 1, "type": null}', "unknown message type"),
        (b'{"v": 1, "type": "Fork"}', "wrong fields for Fork: []"),
        (b'{"v": 1, "type": "Fork", "row": 1, "fork_id": 1, "x": 1}', "wrong fields for Fork"),
        (b'{"v": 1, "type": "Fork", "row": 1, "fork_id": 1, "self": 1}', "wrong fields for Fork"),
        (altered(msg.Drained, cut_handlers=5), "wrong fields for Drained"),
        (altered(msg.Drained, cut_handlers=None), "wrong fields for Drained"),
        (altered(msg.Boot, listeners=7), "wrong fields for Boot"),
        (altered(msg.Boot, listeners=[{"fd": 1}]), "wrong fields for Boot"),
        (altered(msg.Boot, listeners=["fd"]), "wrong fields for Boot"),
        (altered(msg.Boot, app_arguments=7), "wrong fields for Boot"),
    ],
)
def test_what_is_no_message_is_the_peers_error(data: bytes, said: str) -> None:
    """Not JSON, another version, an unknown type, wrong fields: one error, which says what."""
    with pytest.raises(RemoteProtocolError) as caught:
        decode(data)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 1000


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Break a message somewhere: bytes changed, dropped, doubled, swapped for another's."""
    broken = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(broken) + 1)
        match rng.randrange(5):
            case 0:
                broken[at:at] = rng.randbytes(rng.randint(1, 8))
            case 1:
                del broken[at : at + rng.randint(1, 20)]
            case 2:
                broken[at : at + 1] = bytes([rng.randrange(256)])
            case 3:
                broken[at:at] = rng.choice([b"{", b"}", b"[", b'"', b"null", b"1e999", b"\\ud800"])
            case 4:
                other = encode(rng.choice(EXAMPLES))
                broken[at:] = other[rng.randrange(len(other)) :]
    return bytes(broken)


def random_value(rng: random.Random, depth: int = 2) -> Any:
    simple = [None, True, -1, 0, 1.5, "", "x", "\ud800", 2**70]
    if depth == 0 or rng.random() < 0.6:
        return rng.choice(simple)
    if rng.random() < 0.5:
        return [random_value(rng, depth - 1) for _ in range(rng.randint(0, 3))]
    return {rng.choice(["fd", "address", "a", ""]): random_value(rng, depth - 1) for _ in range(2)}


def reshaped(rng: random.Random) -> bytes:
    """A record with the right names and any values."""
    record = {"v": PROTOCOL_VERSION, "type": rng.choice(kinds()).__name__}
    example = next(item for item in EXAMPLES if type(item).__name__ == record["type"])
    record |= {item.name: random_value(rng) for item in dataclasses.fields(example)}
    return json.dumps(record).encode()


@pytest.mark.parametrize("seed", range(10))
def test_any_bytes_are_a_message_or_the_peers_error(seed: int) -> None:
    """Decode raises nothing else, whatever it is given: a broken peer can't break its reader."""
    rng = random.Random(seed)
    for _ in range(1000):
        kind = rng.randrange(3)
        if kind == 0:
            data = rng.randbytes(rng.randint(0, 60))
        elif kind == 1:
            data = mutated(rng, encode(rng.choice(EXAMPLES)))
        else:
            data = reshaped(rng)
        try:
            message = decode(data)
        except RemoteProtocolError:
            continue

        assert isinstance(message, tuple(kinds())), data
