"""Limits of control groups, from trees of files as the kernel shows them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tornado_multi.process.cgroups import cpu_quota, memory_limit_bytes, usable_cpus

if TYPE_CHECKING:
    from pathlib import Path

Tree = dict[str, str]
GIB = 2**30
V1_NO_LIMIT = "9223372036854771712"


def grow(root: Path, own: str | None, tree: Tree) -> str:
    """Write /proc/self/cgroup and files below /sys/fs/cgroup; return the root."""
    files = {f"sys/fs/cgroup/{path}": text for path, text in tree.items()}
    if own is not None:
        files["proc/self/cgroup"] = own
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    return str(root)


CASES: dict[str, tuple[str | None, Tree, float | None, int | None]] = {
    "version 2, own limit": (
        "0::/shop.service",
        {"shop.service/cpu.max": "150000 100000", "shop.service/memory.max": str(GIB)},
        1.5,
        GIB,
    ),
    "version 2, no limit": (
        "0::/shop.service",
        {"shop.service/cpu.max": "max 100000", "shop.service/memory.max": "max"},
        None,
        None,
    ),
    "version 2, the parent's limit is less": (
        "0::/shop.slice/shop.service",
        {
            "shop.slice/cpu.max": "50000 100000",
            "shop.slice/memory.max": str(GIB),
            "shop.slice/shop.service/cpu.max": "200000 100000",
            "shop.slice/shop.service/memory.max": str(2 * GIB),
        },
        0.5,
        GIB,
    ),
    "version 2, the own limit is less": (
        "0::/a/b/c",
        {"a/cpu.max": "400000 100000", "a/b/cpu.max": "max 100000", "a/b/c/cpu.max": "30000 20000"},
        1.5,
        None,
    ),
    "version 2, only a limit far up": (
        "0::/a/b/c",
        {"a/cpu.max": "300000 100000", "a/b/memory.max": "4096"},
        3.0,
        4096,
    ),
    "version 2, a container sees its group as the root": (
        "0::/",
        {"cpu.max": "250000 100000", "memory.max": str(GIB)},
        2.5,
        GIB,
    ),
    "version 2, a container with the host's path": (
        "0::/kubepods/pod1/abc",
        {"cpu.max": "250000 100000", "memory.max": str(GIB)},
        2.5,
        GIB,
    ),
    "version 2, a group outside of the namespace": (
        "0::/../../other",
        {"cpu.max": "250000 100000"},
        2.5,
        None,
    ),
    "version 2, without a period": ("0::/", {"cpu.max": "200000"}, 2.0, None),
    "version 1": (
        "5:memory:/shop\n3:cpu:/shop\n1:name=systemd:/x",
        {
            "cpu/shop/cpu.cfs_quota_us": "150000",
            "cpu/shop/cpu.cfs_period_us": "100000",
            "memory/shop/memory.limit_in_bytes": str(GIB),
        },
        1.5,
        GIB,
    ),
    "version 1, no limit": (
        "5:memory:/shop\n3:cpu:/shop",
        {
            "cpu/shop/cpu.cfs_quota_us": "-1",
            "cpu/shop/cpu.cfs_period_us": "100000",
            "memory/shop/memory.limit_in_bytes": V1_NO_LIMIT,
        },
        None,
        None,
    ),
    "version 1, the parent's limit is less": (
        "5:memory:/a/b\n3:cpu:/a/b",
        {
            "cpu/a/cpu.cfs_quota_us": "100000",
            "cpu/a/cpu.cfs_period_us": "50000",
            "cpu/a/b/cpu.cfs_quota_us": "-1",
            "cpu/a/b/cpu.cfs_period_us": "100000",
            "memory/a/memory.limit_in_bytes": "8192",
            "memory/a/b/memory.limit_in_bytes": V1_NO_LIMIT,
        },
        2.0,
        8192,
    ),
    "version 1, a container with the host's path": (
        "5:memory:/docker/abc\n3:cpu:/docker/abc",
        {
            "cpu/cpu.cfs_quota_us": "100000",
            "cpu/cpu.cfs_period_us": "100000",
            "memory/memory.limit_in_bytes": str(GIB),
        },
        1.0,
        GIB,
    ),
    "version 1, controllers mounted together": (
        "4:cpu,cpuacct:/shop\n5:memory:/shop",
        {"cpu/shop/cpu.cfs_quota_us": "150000", "cpu/shop/cpu.cfs_period_us": "100000"},
        1.5,
        None,
    ),
    "hybrid: the controllers of version 1 beside an empty version 2": (
        "4:memory:/shop\n1:cpu:/shop\n0::/shop",
        {
            "unified/shop/cgroup.procs": "",
            "cpu/shop/cpu.cfs_quota_us": "150000",
            "cpu/shop/cpu.cfs_period_us": "100000",
            "memory/shop/memory.limit_in_bytes": "4096",
        },
        1.5,
        4096,
    ),
    "hybrid: the controllers of version 2": (
        "1:name=systemd:/shop\n0::/shop",
        {"unified/shop/cpu.max": "150000 100000", "unified/memory.max": "4096"},
        1.5,
        4096,
    ),
    "both versions: the smaller one": (
        "4:cpu:/a\n0::/a",
        {
            "unified/a/cpu.max": "300000 100000",
            "cpu/a/cpu.cfs_quota_us": "200000",
            "cpu/a/cpu.cfs_period_us": "100000",
        },
        2.0,
        None,
    ),
    "a name with a colon": ("0::/a:b", {"a:b/cpu.max": "200000 100000"}, 2.0, None),
    "broken: no numbers": ("0::/", {"cpu.max": "many", "memory.max": "1 GB"}, None, None),
    "broken: empty files": ("0::/", {"cpu.max": "", "memory.max": ""}, None, None),
    "broken: no period to divide by": (
        "3:cpu:/\n0::/",
        {"cpu.max": "1 0", "cpu/cpu.cfs_quota_us": "1", "cpu/cpu.cfs_period_us": "0"},
        None,
        None,
    ),
    "broken: a quota without its period": (
        "3:cpu:/",
        {"cpu/cpu.cfs_quota_us": "150000"},
        None,
        None,
    ),
    "broken: one level is not understood": (
        "0::/a",
        {"a/cpu.max": "?", "cpu.max": "200000 100000"},
        2.0,
        None,
    ),
    "broken: lines that are no groups": (
        "what\n\n1:2\n0::/",
        {"cpu.max": "200000 100000"},
        2.0,
        None,
    ),
    "no group": ("", {"cpu.max": "200000 100000"}, None, None),
    "no /proc": (None, {"cpu.max": "200000 100000"}, None, None),
    "no /sys": ("0::/shop", {}, None, None),
}


@pytest.mark.parametrize("case", CASES)
def test_the_smallest_limit_on_the_way_up_counts(tmp_path: Path, case: str) -> None:
    """CPUs and bytes, or None where no limit can be found."""
    own, tree, quota, memory = CASES[case]
    root = grow(tmp_path, own, tree)

    assert (quota, memory) == (cpu_quota(root), memory_limit_bytes(root))


def test_a_group_whose_name_is_no_text(tmp_path: Path) -> None:
    """A group is a directory, and those may have any bytes in their names."""
    name = os.fsdecode(b"caf\xe9")
    root = grow(tmp_path, "", {f"{name}/cpu.max": "200000 100000"})
    (tmp_path / "proc/self/cgroup").write_bytes(b"0::/caf\xe9\n")

    assert 2.0 == cpu_quota(root)


@pytest.mark.parametrize(
    ("quota", "affinity", "expected"),
    [
        ("max 100000", 8, 8),
        ("150000 100000", 8, 2),
        ("200000 100000", 8, 2),
        ("1000 100000", 8, 1),
        ("1600000 100000", 8, 8),
        ("150000 100000", 1, 1),
    ],
)
def test_auto_takes_what_can_be_kept_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, affinity: int, expected: int
) -> None:
    """The affinity's CPUs or the quota, rounded up, and never less than one."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(affinity)))

    assert expected == usable_cpus(grow(tmp_path, "0::/", {"cpu.max": quota}))
