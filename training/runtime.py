"""torch set up for one run: threads, reproducible kernels, seeds."""

from __future__ import annotations

import numpy as np
import torch


def prepare(threads: int) -> int:
    """Set torch up before its first operation and return the number of threads it uses.

    Denormal floats are flushed to zero: they live in Adam's first moment and cost a fifth of the time. The flag
    must be set before torch's worker threads start, or they do not inherit it.
    """
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=True)
    # Else every result would be written twice; nobody reads memory that nothing was written to.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # set by the module itself
    return torch.get_num_threads()


def derive_seed(seed: int, *path: int) -> int:
    """A seed of its own for one purpose (initialization, epoch 7, …), far from all others."""
    return int(np.random.SeedSequence([seed, *path]).generate_state(1, np.uint64)[0] >> np.uint64(1))
