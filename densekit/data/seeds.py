"""Private generators: nothing here reads or moves a global random state."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state


def make_generator(random_state: Any, device: torch.device | str = "cpu") -> torch.Generator:
    """Make a torch generator from a scikit-learn `random_state`; None means fresh entropy."""
    if random_state is None:
        seed = int(np.random.SeedSequence().generate_state(1, np.uint64)[0] >> 1)
    else:
        seed = int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
    return torch.Generator(device).manual_seed(seed)


def make_random_state(random_state: Any) -> np.random.RandomState:
    """Make scikit-learn's generator; None means fresh entropy and not numpy's global state."""
    if random_state is None:
        return np.random.RandomState(np.random.SeedSequence().generate_state(4))
    return check_random_state(random_state)


def make_rng(generator: torch.Generator) -> np.random.Generator:
    """Make a numpy generator that is seeded by a torch one."""
    return np.random.default_rng(draw_seed(generator))


def draw_seed(generator: torch.Generator) -> int:
    """Draw a seed for another generator."""
    return int(torch.randint(2**62, (), generator=generator, device=generator.device))
