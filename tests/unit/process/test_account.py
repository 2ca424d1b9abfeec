"""Who ``--user`` and ``--group`` mean, and who may become that."""

from __future__ import annotations

import grp
import os
import pwd

import pytest

from tornado_multi.process.account import Account, AccountError, find_account

NOBODY = pwd.getpwnam("nobody")
ROOT_GROUP = grp.getgrgid(0).gr_name


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "getegid", lambda: 0)


@pytest.fixture
def somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    """We are nobody."""
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY.pw_uid)
    monkeypatch.setattr(os, "getegid", lambda: NOBODY.pw_gid)


def test_without_user_and_group_nothing_changes() -> None:
    """The app keeps our own identity."""
    assert None is find_account(None, None)


@pytest.mark.parametrize("user", ["nobody", str(NOBODY.pw_uid)])
def test_a_user_brings_its_groups_and_home(root: None, user: str) -> None:
    """By name or by number: main group, further groups, name and home of the database."""
    expected = Account(
        NOBODY.pw_uid,
        NOBODY.pw_gid,
        tuple(os.getgrouplist("nobody", NOBODY.pw_gid)),
        "nobody",
        NOBODY.pw_dir,
    )

    assert expected == find_account(user, None)


@pytest.mark.parametrize("group", [ROOT_GROUP, "0"])
def test_a_group_replaces_the_main_one(root: None, group: str) -> None:
    """By name or by number; it is among the supplementary groups too."""
    found = find_account("nobody", group)

    assert found is not None
    assert (NOBODY.pw_uid, 0) == (found.user_id, found.group_id)
    assert 0 in found.group_ids


def test_a_group_alone_keeps_the_user(root: None) -> None:
    """Root stays root, in another group."""
    found = find_account(None, str(NOBODY.pw_gid))

    assert found is not None
    assert (0, NOBODY.pw_gid) == (found.user_id, found.group_id)


def test_numbers_need_no_entry(root: None) -> None:
    """Containers run as numbers that no database knows; then there is no name and no home."""
    assert Account(61234, 61235, (61235,), None, None) == find_account("61234", "61235")


@pytest.mark.parametrize(
    ("user", "group", "said"),
    [
        ("nosuch", None, "user=nosuch: there is no such user."),
        ("", None, "user=: there is no such user."),
        ("-1", None, "user=-1: there is no such user."),
        ("٣", None, "there is no such user."),
        (None, "nosuch", "group=nosuch: there is no such group."),
        ("nobody", "-1", "group=-1: there is no such group."),
        ("61234", None, "give --group too"),
        (str(2**32 - 1), "0", "the number is too high"),
        ("9" * 30, "0", "the number is too high"),
        ("nobody", str(2**32 - 1), "the number is too high"),
        ("nobody", "9" * 30, "the number is too high"),
    ],
)
def test_what_there_is_not_is_an_error(
    root: None, user: str | None, group: str | None, said: str
) -> None:
    """A sentence with the option and its value; 2^32 - 1 means "leave as it is" to the kernel."""
    with pytest.raises(AccountError) as caught:
        find_account(user, group)

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("user", "group"), [("root", None), ("root", ROOT_GROUP), (None, ROOT_GROUP)]
)
def test_only_root_can_change(somebody: None, user: str | None, group: str | None) -> None:
    """It names what was asked for and who asks."""
    with pytest.raises(AccountError) as caught:
        find_account(user, group)

    what = f"user={user}" if user is not None else f"group={group}"
    assert f"{what}: only root can change to it, and this is user {NOBODY.pw_uid}." == str(
        caught.value
    )


@pytest.mark.parametrize("user", ["nobody", None])
def test_to_ask_for_oneself_changes_nothing(somebody: None, user: str | None) -> None:
    """The same configuration may be used by root and by the user itself."""
    assert None is find_account(user, str(NOBODY.pw_gid))
