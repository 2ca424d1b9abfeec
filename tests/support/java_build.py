"""The build of the Java providers: once for each state of tests/java, kept in the user's cache.

Maven's own downloads (about 90 MB) are in ~/.m2; the first build takes half a minute, most of it
for them, and later ones six seconds.
Runs in: tests.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from support.programs import require_program

SOURCES = Path(__file__).resolve().parents[1] / "java"
LONGEST_BUILD_S = 900


def class_path(module: str) -> str:
    """Return the class path of a module of tests/java, built before if it has to be.

    Skips the test where there is no JDK or Maven.
    Raises: AssertionError: the build failed; says what Maven said.
    """
    require_program("java", "default-jdk-headless")
    require_program("javac", "default-jdk-headless")
    maven = require_program("mvn", "maven")
    place = _cache() / f"java-{_fingerprint()}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other test runs of the same user wait here
        found = _whole_class_path(place, module)
        if found is None:
            _build(maven, place)
            found = _whole_class_path(place, module)
    assert found is not None, f"Maven has built {place} without a class path for {module}"
    return found


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home, "tornado_multi", "tests")


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for path in sorted(_sources()):
        digest.update(f"{path.relative_to(SOURCES)}\0".encode())
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _sources() -> list[Path]:
    return [
        path
        for path in SOURCES.rglob("*")
        if path.is_file() and path.suffix in {".java", ".properties", ".xml"}
    ]


def _whole_class_path(place: Path, module: str) -> str | None:
    """Return the class path, if all that it names is there: Maven's downloads may be gone."""
    target = place / module / "target"
    try:
        listed = (target / "classpath").read_text().strip()
    except FileNotFoundError:
        return None
    paths = [str(target / f"{module}-1.jar"), *listed.split(":")]
    return ":".join(paths) if all(map(os.path.exists, paths)) else None


def _build(maven: str, place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    for path in _sources():  # the checkout stays as it is
        copy = place / path.relative_to(SOURCES)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    built = subprocess.run(
        [maven, "--batch-mode", "--quiet", "package", "dependency:build-classpath"],
        cwd=place,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LONGEST_BUILD_S,
        check=False,
    )
    if built.returncode != 0:
        shutil.rmtree(place, ignore_errors=True)
        raise AssertionError(f"Maven could not build tests/java:\n{built.stdout[-4000:]}")
