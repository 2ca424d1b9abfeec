"""What a test says of its service, as a command line of ``serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tornado_multi.cli.commands import read_settings, split_app_arguments
from tornado_multi.settings.model import GROUPS, TABLES, options_of
from tornado_multi.testing.errors import OptionError
from tornado_multi.testing.options import NO_FILE, flatten, to_arguments, unix_paths

EXAMPLES: dict[str, Any] = {
    "bind": ["127.0.0.1:0", "[::1]:0"],
    "backlog": 7,
    "max_connections": 70,
    "workers": 3,
    "loop": "asyncio",
    "boot": "lazy",
    "max_surge": "50%",
    "health_path": "/health",
    "max_unavailable": "1",
    "ready_path": "/ready",
    "live_path": "/live",
    "drain_delay_s": 0.5,
    "boot_timeout_s": 1.5,
    "drain_timeout_s": 0,
    "drain_streams_s": 2,
    "drain_websocket_code": 1012,
    "drain_idle_s": 0.25,
    "hang_warn_s": 2,
    "hang_timeout_s": 3,
    "slow_step_s": 0.5,
    "max_requests": 100,
    "max_requests_jitter": 10,
    "max_memory_bytes": 1 << 30,
    "max_age_s": 3600,
    "respawns_per_min": 30,
    "fork_safety": "strict",
    "fork_safety_allow": ["shop/settings.py:31 it only logs"],
    "fork_safety_quarantine": ["sockets", "epolls"],
    "name": "shop",
    "control": Path("/run/c.sock"),
    "chdir": "/srv",
    "pid_file": "pid",
    "user": "nobody",
    "group": "nogroup",
    "umask": "027",
    "on_starting": "shop:on_starting",
    "before_fork": "shop:before_fork",
    "after_fork": "shop:after_fork",
    "on_ready": "shop:on_ready",
    "on_drain": "shop:on_drain",
    "on_worker_exit": "shop:on_worker_exit",
    "on_reload": "shop:on_reload",
    "hook_timeout_s": 2.5,
    "tls_certificate": "/chain.pem",
    "tls_key": "/key.pem",
    "tls_client_ca": "/ca.pem",
    "reload_on_change": True,
    "log_dir": "/var/log/shop",
    "log_file": None,
    "log_format": "json",
    "log_level": "debug",
    "log_max_bytes": 1000,
    "log_rotate_every_s": 3600,
    "log_backups": 3,
    "xheaders": True,
    "trusted_downstream": ("10.0.0.1", "10.0.0.2"),
    "http": {
        "max_body_size_bytes": 1,
        "idle_timeout_s": 5,
        "header_timeout_s": 6,
        "body_timeout_s": 7,
        "decompress": True,
    },
}


def read(options: dict[str, Any]) -> Any:
    """The settings that ``serve`` would have."""
    arguments = to_arguments("shop:make_app", flatten({"config": NO_FILE, **options}))
    return read_settings(["serve", *split_app_arguments(arguments)[0]])


def test_every_option_of_serve_can_be_given() -> None:
    """Each option arrives at its own setting; one that is added later is missed here."""
    settings = read(EXAMPLES)

    for name, group in GROUPS.items():
        if name == "instances":  # another command's
            continue
        given = EXAMPLES[name] if name in TABLES else EXAMPLES
        for item, _ in options_of(group):
            value = given[item.name]
            wanted = tuple(value) if isinstance(value, (list, tuple)) else value
            found = getattr(getattr(settings, name), item.name)
            assert found in {wanted, str(wanted)}, item.name

    one_file = read({"log_file": "/var/log/shop.log"})  # which excludes a directory
    assert "/var/log/shop.log" == one_file.logging.log_file


def test_none_and_false_are_what_they_say() -> None:
    """None leaves the default, False switches off."""
    settings = read({"workers": None, "xheaders": False, "http": {"decompress": False}})

    assert ("auto", False) == (settings.workers.workers, settings.proxy.xheaders)
    assert not settings.http.decompress


def test_arguments_of_the_app_come_last() -> None:
    """They stand behind two dashes; what is for the process is no argument."""
    options = {"app_arguments": ["--logging=debug"], "workers": 1, "environment": {"A": "b"}}

    assert ["shop:app", "--workers=1", "--", "--logging=debug"] == to_arguments("shop:app", options)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"workres": 2}, "serve has no option workres. Did you mean workers?"),
        ({"drain_timeout": 2}, "drain_timeout. Did you mean drain_timeout_s?"),
        ({"idle_timeout_s": 2}, 'Did you mean http={"idle_timeout_s": ...}?'),
        ({"http": {"idle_timeout": 2}}, 'Did you mean http={"idle_timeout_s": ...}?'),
        ({"enviroment": {}}, "Did you mean environment?"),
        ({"http": 5}, 'http takes a dict, as in http={"KEY": VALUE}.'),
        ({"zzz": 1}, "Options are named as in tornado_multi.toml."),
    ],
)
def test_an_unknown_option_is_refused_with_the_nearest(given: dict[str, Any], said: str) -> None:
    """The error names what was given and what may have been meant."""
    with pytest.raises(OptionError) as refused:
        flatten(given)

    assert said in str(refused.value)


def test_unix_sockets_are_found_among_addresses() -> None:
    """They are files, which a service must not leave behind."""
    assert ["/run/a.sock"] == unix_paths(["127.0.0.1:0", "unix:/run/a.sock?mode=660", "nonsense"])
    assert [] == unix_paths("127.0.0.1:0")
