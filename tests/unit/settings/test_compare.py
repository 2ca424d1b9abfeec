"""What a reload takes over from changed settings."""

from __future__ import annotations

import dataclasses

from tornado_multi.settings.compare import take_over
from tornado_multi.settings.model import (
    ControlSettings,
    HttpSettings,
    ListenSettings,
    Settings,
    WorkerSettings,
)

OLD = Settings(app="shop:make_app")


def test_what_belongs_to_a_generation_is_taken_over() -> None:
    """HTTP, worker and proxy options come with the next generation."""
    new = Settings(
        app="shop:make_app",
        http=HttpSettings(max_body_size_bytes=7),
        workers=WorkerSettings(drain_timeout_s=5),
        listen=ListenSettings(max_connections=9),
    )

    assert (new, []) == take_over(OLD, new)


def test_what_belongs_to_the_supervisor_is_named_and_kept() -> None:
    """Addresses, backlog and names can't change in a running service; one sentence each says so."""
    new = dataclasses.replace(
        OLD,
        app="shop:other",
        listen=ListenSettings(bind=("127.0.0.1:1", "127.0.0.1:2"), backlog=5, max_connections=9),
        control=ControlSettings(name="other"),
    )
    taken, notes = take_over(OLD, new)

    assert OLD.listen.bind == taken.listen.bind
    assert OLD.listen.backlog == taken.listen.backlog
    assert 9 == taken.listen.max_connections
    assert OLD.control == taken.control
    assert OLD.app == taken.app
    assert [
        (
            "app has changed from shop:make_app to shop:other; that takes a restart, the old "
            "value holds."
        ),
        "name has changed from None to other; that takes a restart, the old value holds.",
        (
            "bind has changed from 127.0.0.1:8888 to 127.0.0.1:1 127.0.0.1:2; that takes a restart, "
            "the old value holds."
        ),
        "backlog has changed from 2048 to 5; that takes a restart, the old value holds.",
    ] == notes
