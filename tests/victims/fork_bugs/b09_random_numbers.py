"""Generators that were seeded before the fork say the same in each child."""

from __future__ import annotations

import random

import numpy as np

INSTANCE = random.Random()  # hazard: rng
GENERATOR = np.random.default_rng()  # hazard: rng


def in_child(_index: int) -> dict[str, float]:
    return {
        "module": random.random(),
        "instance": INSTANCE.random(),
        "numpy": float(np.random.rand()),  # noqa: NPY002 - as people still write it
        "generator": float(GENERATOR.random()),
    }


def in_parent() -> None:
    """Nothing to see."""
