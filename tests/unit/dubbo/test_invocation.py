"""Bodies of calls and answers: as captured, by type, and every way to fail."""

from __future__ import annotations

import pickle
from decimal import Decimal
from typing import Any

import pytest

from tornado_multi.dubbo import errors
from tornado_multi.dubbo.hessian import JavaArray, JavaLong, JavaObject, Reader, encode
from tornado_multi.dubbo.invocation import Call, decode_answer, encode_call

CAPTURED = bytes.fromhex(
    "05322e302e3205742e53766305312e302e300724696e766f6b6530384c6a6176612f6c616e672f537472696e673b"
    "5b4c6a6176612f6c616e672f537472696e673b5b4c6a6176612f6c616e672f4f626a6563743b046563686f71075b"
    "737472696e67106a6176612e6c616e672e537472696e6771075b6f626a6563740367656e48047061746805742e53"
    "76630776657273696f6e05312e302e300767656e6572696304747275655a"
)
"""What a provider of 2.6.12 has answered."""
NAME = "shop.Accounts.find"


def values(body: bytes) -> list[Any]:
    reader = Reader(body)
    found = []
    while not reader.is_at_end():
        found.append(reader.read())
    return found


def test_a_call_is_what_a_provider_has_answered() -> None:
    """Byte for byte up to the attachments, of which ours are more."""
    call = Call("t.Svc", "echo", ("gen",), ("java.lang.String",), version="1.0.0")
    body = encode_call(call, 1.5)
    before, attachments = CAPTURED.split(b"H\x04path")

    assert body.startswith(before + b"H")
    assert values(CAPTURED)[-1].items() <= values(body)[-1].items()
    assert {"interface": "t.Svc", "timeout": "1500"}.items() <= values(body)[-1].items()
    assert attachments


def test_group_and_attachments() -> None:
    """Ours win over the caller's of the same name."""
    call = Call("t.Svc", "echo", group="blue", attachments={"trace": "7", "generic": "false"})
    sent = values(encode_call(call, 1))[-1]

    assert ("blue", "7", "true", "0.0.0") == (
        sent["group"],
        sent["trace"],
        sent["generic"],
        sent["version"],
    )


def test_without_types_the_provider_looks_for_the_name() -> None:
    """No types at all is something else than no parameters."""
    assert values(encode_call(Call("t.Svc", "ping"), 1))[6:8] == [None, []]
    assert values(encode_call(Call("t.Svc", "ping", types=()), 1))[6:8] == [[], []]


@pytest.mark.parametrize(
    ("type_name", "value", "expected"),
    [
        ("long", 1, JavaLong(1)),
        ("java.lang.Long", 2**40, JavaLong(2**40)),
        ("int", -1, -1),
        ("double", 1, 1.0),
        ("java.lang.Float", 0.5, 0.5),
        ("java.math.BigDecimal", "1.50", Decimal("1.50")),
        ("java.lang.String", None, None),
        ("boolean", False, False),
        ("long[]", [1], [1]),
        ("shop.User", {"name": "x"}, {"name": "x"}),
    ],
)
def test_arguments_take_the_form_of_their_types(type_name: str, value: Any, expected: Any) -> None:
    """A small int is a long where Java has one; an int is a double."""
    body = encode_call(Call("t.Svc", "m", (value,), (type_name,)), 1)

    assert encode(
        JavaArray("[string", [type_name]), JavaArray("[object", [expected])
    ) in body.replace(b"\x01m", b"")


@pytest.mark.parametrize(
    ("type_name", "value"),
    [
        ("int", 2**31),
        ("short", 40000),
        ("byte", 128),
        ("long", 2**63),
        ("int", "1"),
        ("int", True),
        ("double", "1"),
        ("java.lang.String", 1),
        ("boolean", 1),
        ("java.math.BigDecimal", 0.1),
        ("java.math.BigDecimal", "x"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_here(type_name: str, value: Any) -> None:
    """A provider would call the method with null, and only log why."""
    with pytest.raises(errors.BadArgumentError, match=r"Argument 1 of t\.Svc\.m is no"):
        encode_call(Call("t.Svc", "m", (value,), (type_name,)), 1)


def test_other_arguments_that_can_not_be_sent() -> None:
    """As many types as arguments, and only what Hessian has."""
    with pytest.raises(errors.BadArgumentError, match="called with 1 arguments, but 2 types"):
        encode_call(Call("t.Svc", "m", (1,), ("int", "int")), 1)
    with pytest.raises(errors.BadArgumentError, match="set can't be sent"):
        encode_call(Call("t.Svc", "m", ({1},)), 1)


# --- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "value", "attachments"),
    [
        ("940268694805647562626f05322e302e325a", "hi", {"dubbo": "2.0.2"}),
        ("91026869", "hi", {}),
        ("954805647562626f05322e302e325a", None, {"dubbo": "2.0.2"}),
        ("92", None, {}),
    ],
)
def test_answers_with_and_without_attachments(
    body: str, value: Any, attachments: dict[str, str]
) -> None:
    """Of newer and older requests; of methods that return nothing."""
    answer = decode_answer(20, bytes.fromhex(body), NAME)

    assert (value, attachments) == (answer.value, answer.attachments)


def thrown(class_name: str, **fields: Any) -> bytes:
    return encode(3, JavaObject(class_name, fields), {"dubbo": "2.0.2"})


def test_an_exception_in_its_generic_cover() -> None:
    """Class, message and trace of what the method raised."""
    frame = JavaObject(
        "java.lang.StackTraceElement",
        {
            "declaringClass": "shop.Bank",
            "methodName": "pay",
            "fileName": "Bank.java",
            "lineNumber": 9,
        },
    )
    body = thrown(
        "com.alibaba.dubbo.rpc.service.GenericException",
        exceptionClass="shop.NoMoney",
        exceptionMessage="not enough",
        stackTrace=[frame],
    )
    with pytest.raises(errors.RemoteError) as caught:
        decode_answer(20, body, NAME)

    assert ("shop.NoMoney", "not enough", "at shop.Bank.pay(Bank.java:9)") == (
        caught.value.class_name,
        caught.value.message,
        caught.value.trace,
    )
    assert "shop.NoMoney: not enough" == str(caught.value)


def test_an_exception_as_it_is() -> None:
    """From providers that have its class on the wire."""
    body = thrown("java.lang.IllegalStateException", detailMessage="late", cause=None)
    with pytest.raises(errors.RemoteError, match=r"java\.lang\.IllegalStateException: late"):
        decode_answer(20, body, NAME)


@pytest.mark.parametrize(
    "message",
    [
        "java.lang.NoSuchMethodException: shop.Accounts.find(int)",
        "Not unique method for method name(find) in class(shop.Accounts)",
    ],
)
def test_no_such_method(message: str) -> None:
    """With the advice to name the types."""
    body = thrown(
        "org.apache.dubbo.rpc.service.GenericException",
        exceptionClass="org.apache.dubbo.rpc.RpcException",
        exceptionMessage=message,
    )
    with pytest.raises(errors.NoSuchMethodError, match="There is no such method"):
        decode_answer(20, body, NAME)


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (25, "x", errors.OutcomeUnknownError),
        (30, "x", errors.CallTimeoutError),
        (31, "x", errors.CallTimeoutError),
        (35, "x", errors.OutcomeUnknownError),
        (40, "x", errors.RefusedError),
        (50, "x", errors.OutcomeUnknownError),
        (60, "x", errors.NoSuchServiceError),
        (70, "java.X: Not found exported service: t.Svc", errors.NoSuchServiceError),
        (70, "java.X: broken\n\tat y", errors.RemoteError),
        (80, "x", errors.RemoteError),
        (90, "x", errors.RefusedError),
        (100, "x", errors.OverloadedError),
        (7, "x", errors.OutcomeUnknownError),
    ],
)
def test_every_status(status: int, text: str, kind: type[errors.DubboError]) -> None:
    """The text of the provider is in the error."""
    with pytest.raises(kind, match=text.partition("\n")[0]) as caught:
        decode_answer(status, encode(text), NAME)

    assert kind is type(caught.value)


@pytest.mark.parametrize(
    ("text", "class_name", "message"),
    [
        ("shop.Broken: no luck\n\tat shop.Filter.invoke", "shop.Broken", "no luck"),
        ("org.apache.dubbo.rpc.RpcException: shop.Broken: no luck", "shop.Broken", "no luck"),
        ("shop.Broken\n\tat shop.Filter.invoke", "shop.Broken", ""),
        ("out of luck", "", "out of luck"),
    ],
)
def test_the_class_of_an_error_round_the_method(text: str, class_name: str, message: str) -> None:
    """Named as if the method had raised it, without Dubbo's own cover."""
    with pytest.raises(errors.RemoteError) as caught:
        decode_answer(70, encode(text), NAME)

    assert (class_name, message) == (caught.value.class_name, caught.value.message)
    assert text == caught.value.trace


@pytest.mark.parametrize("body", ["", "96", "4e", "91", "9145", "026869", "78"])
def test_bodies_that_are_no_answer(body: str) -> None:
    """Never a value that was not there."""
    with pytest.raises(errors.BadReplyError):
        decode_answer(20, bytes.fromhex(body), NAME)


def test_a_status_without_a_text() -> None:
    """Or with something else than text."""
    with pytest.raises(errors.OverloadedError, match="status 100"):
        decode_answer(100, b"", NAME)
    with pytest.raises(errors.OverloadedError, match="None"):
        decode_answer(100, b"N", NAME)


# --- hostile and odd ------------------------------------------------------------------------------


def shared_without_end() -> list[Any]:
    """Return a list of 2**60 parts, of which 60 are different: what its repr takes, nobody has."""
    value: list[Any] = []
    for _ in range(60):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    ("status", "values", "kind"),
    [
        (20, [shared_without_end()], errors.BadReplyError),
        (20, [0, shared_without_end()], errors.RemoteError),
        (70, [shared_without_end()], errors.RemoteError),
        (
            20,
            [0, JavaObject("a.B", {"stackTrace": [JavaObject("E", {"x": shared_without_end()})]})],
            errors.RemoteError,
        ),
        (
            20,
            [
                0,
                JavaObject(
                    "a.B", {"stackTrace": [JavaObject("E", {"fileName": shared_without_end()})]}
                ),
            ],
            errors.RemoteError,
        ),
    ],
)
def test_an_error_text_does_not_write_out_what_is_shared(
    status: int, values: list[Any], kind: type[errors.DubboError]
) -> None:
    """A reply of some hundred bytes can hold more than memory can write out."""
    with pytest.raises(kind) as caught:
        decode_answer(status, encode(*values), "a.B.get")

    assert 500 > len(str(caught.value))


def test_a_long_trace_takes_its_length_in_time() -> None:
    """Also one of a million empty lines."""
    lines = "\n" * 1_000_000
    text = f"a.B: x{lines}at {'a.' * 100_000}{lines}"
    with pytest.raises(errors.RemoteError):
        decode_answer(70, encode(text), "a.B.get")


def test_attachments_of_one_answer_are_not_those_of_the_next() -> None:
    """Whoever gets them may change them."""
    body = encode(4, 1, {"list": [1]})
    first = decode_answer(20, body, "a.B.get")
    first.attachments["list"].append(2)

    assert {"list": [1]} == decode_answer(20, body, "a.B.get").attachments


def test_attachments_may_refer_to_the_value() -> None:
    """Read by themselves the number of a reference would mean another container."""
    shared = [1]
    answer = decode_answer(20, encode(4, shared, {"again": shared}), "a.B.get")

    assert {"again": [1]} == answer.attachments


def test_a_remote_error_passes_between_processes() -> None:
    """As what a process pool's job has raised."""
    copy = pickle.loads(pickle.dumps(errors.RemoteError("a.B", "no", "at x")))

    assert ("a.B", "no", "at x", "a.B: no") == (
        copy.class_name,
        copy.message,
        copy.trace,
        str(copy),
    )


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (Call("a.B", "get", (JavaObject("x", {1: 2}),)), "named by str, not 1"),  # type: ignore[dict-item]
        (Call("a.B", "get", attachments={1: "x"}), "named by str, not 1"),  # type: ignore[dict-item]
    ],
)
def test_names_are_text(call: Call, said: str) -> None:
    """Java would fail at others, on the provider's side and without a word about the cause."""
    with pytest.raises(errors.BadArgumentError, match=said):
        encode_call(call, 1.0)


def test_a_class_of_the_name_of_one_of_java_s() -> None:
    """com.example.Long takes objects as any other class does."""
    value = {"class": "com.example.Long", "low": 1}

    encode_call(Call("a.B", "get", (value,), ("com.example.Long",)), 1.0)
    with pytest.raises(errors.BadArgumentError):
        encode_call(Call("a.B", "get", (value,), ("java.lang.Long",)), 1.0)


def test_a_timeout_of_years_is_one_that_java_can_read() -> None:
    """It reads milliseconds as an int."""
    assert encode("2147483647") in encode_call(Call("a.B", "get"), 1e12)
