"""What providers write into a registry, and who of them can be called."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tornado_multi.dubbo.registry import addresses_of

SERVICE = "com.example.AccountService"


def entry(query: str, address: str = "10.0.0.5:20880", scheme: str = "dubbo") -> str:
    return quote(f"{scheme}://{address}/{SERVICE}?{query}", safe="")


@pytest.mark.parametrize(
    ("query", "version", "group", "fits"),
    [
        ("application=shop", "0.0.0", None, True),
        ("version=0.0.0", "0.0.0", None, True),
        ("version=1.0.0", "1.0.0", None, True),
        ("version=1.0.0", "0.0.0", None, False),
        ("version=1.0.0", "*", None, True),
        ("group=blue", "0.0.0", "blue", True),
        ("group=blue", "0.0.0", None, False),
        ("", "0.0.0", "blue", False),
        ("disabled=true", "0.0.0", None, False),
        ("enabled=false", "0.0.0", None, False),
        ("weight=0", "0.0.0", None, False),
        ("weight=100", "0.0.0", None, True),
        ("serialization=hessian2", "0.0.0", None, True),
        ("serialization=kryo", "0.0.0", None, False),
    ],
)
def test_who_fits(query: str, version: str, group: str | None, *, fits: bool) -> None:
    """By version, group, and whether it is switched off or speaks something else."""
    found = addresses_of([entry(query)], version, group)

    assert [("10.0.0.5", 20880)] * fits == list(found)


def test_other_protocols_and_other_texts_are_passed_over() -> None:
    """A registry is written by many; each address comes once, in the order of the entries."""
    entries = [
        entry("", scheme="tri"),
        entry("", scheme="rest"),
        "",
        "no url",
        "dubbo%3A%2F%2F10.0.0.5%3Aport%2Fx",
        entry("", "[fe80::1]:20881"),
        entry("", "10.0.0.7"),
        entry("timestamp=1", "10.0.0.7:20880"),
    ]

    assert [("fe80::1", 20881), ("10.0.0.7", 20880)] == list(addresses_of(entries, "0.0.0", None))
