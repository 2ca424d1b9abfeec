"""The settings' classes: each option once, with all that is derived from it."""

from __future__ import annotations

import dataclasses
import json

import pytest

from tornado_multi.settings.bind import parse_bind
from tornado_multi.settings.model import (
    GROUPS,
    TABLES,
    ControlSettings,
    HttpSettings,
    ListenSettings,
    ProxySettings,
    Settings,
    from_plain,
    options_of,
    to_plain,
)

UNITS = ("_s", "_bytes", "_ms")


def test_every_group_is_a_field_of_the_settings() -> None:
    """A group that is added stands in both places, in one order."""
    fields = [item.name for item in dataclasses.fields(Settings)]

    assert ["app", *GROUPS] == fields
    assert set(GROUPS) >= TABLES


def test_option_names_are_one_namespace() -> None:
    """Flags, environment and the file's top level are flat: no two flat groups share a name."""
    flat = [
        item.name
        for name, group in GROUPS.items()
        if name not in TABLES
        for item, _ in options_of(group)
    ]

    assert len(flat) == len(set(flat))
    assert set() == set(flat) & {"app", "config", *TABLES}


def test_every_option_has_a_help_text() -> None:
    """A full sentence, in one paragraph: it stands in a table and in a terminal."""
    for group in GROUPS.values():
        for item, declared in options_of(group):
            assert declared.help.endswith("."), item.name
            assert "\n" not in declared.help, item.name


def test_every_number_is_bounded_and_says_its_unit() -> None:
    """No bare timeout or size; nothing that could be negative, infinite or not a number."""
    for group in GROUPS.values():
        for item, declared in options_of(group):
            if "float" in str(item.type):
                assert item.name.endswith(UNITS), item.name
            if "float" in str(item.type) or "int" in str(item.type):
                assert declared.at_least is not None, item.name
                assert declared.at_least >= 0, item.name


def test_the_defaults_pass_their_own_checks() -> None:
    """What is given to those who choose nothing is allowed."""
    for group in GROUPS.values():
        for item, declared in options_of(group):
            default = item.default
            for value in default if isinstance(default, tuple) else (default,):
                if value is None:
                    continue
                if declared.check is not None:
                    declared.check(value)
                if declared.at_least is not None:
                    assert value >= declared.at_least, item.name
                if declared.at_most is not None:
                    assert value <= declared.at_most, item.name


def test_the_default_address_is_local() -> None:
    """A service is not open to the network by accident."""
    assert ("127.0.0.1:8888",) == ListenSettings().bind
    assert "127.0.0.1" == getattr(parse_bind(*ListenSettings().bind), "host", None)


def test_settings_can_not_be_changed() -> None:
    """Who wants other settings makes them."""
    settings = Settings(app="a:b")

    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.app = "c:d"  # type: ignore[misc]


@pytest.mark.parametrize(
    "settings",
    [
        Settings(app="a:b"),
        Settings(
            app="shop:make_app",
            listen=ListenSettings(bind=("127.0.0.1:0", "unix:/s"), max_connections=5),
            control=ControlSettings(name="shop", control="/run/é.sock"),
            proxy=ProxySettings(xheaders=True, trusted_downstream=("10.0.0.1",)),
            http=HttpSettings(body_timeout_s=1.5, decompress=True),
        ),
    ],
    ids=["defaults", "others"],
)
def test_settings_survive_json(settings: Settings) -> None:
    """What the zygote rebuilds equals what the supervisor had: tuples are tuples again."""
    assert settings == from_plain(to_plain(settings))
    assert settings == from_plain(json.loads(json.dumps(to_plain(settings))))
