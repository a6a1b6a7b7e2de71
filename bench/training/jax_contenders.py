"""The contenders that need JAX, for an environment of their own: Keras on JAX, and a scan written by hand.

python bench/training/jax_contenders.py NAME CORES
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import contender
import digits
import numpy as np


def keras() -> contender.Epoch:
    """`Model.fit` as its documentation shows it, images in memory, Adam with `clipvalue`, the loss and the accuracy."""
    os.environ["KERAS_BACKEND"] = "jax"
    import keras as k

    images, labels = digits.read()
    features = images.reshape(len(images), -1).astype(np.float32) / 255
    model = k.Sequential([k.Input((digits.WIDTHS[0],))])
    for width in digits.WIDTHS[1:-1]:
        model.add(k.layers.Dense(width, activation="relu"))
    model.add(k.layers.Dense(digits.CLASSES))
    model.compile(
        optimizer=k.optimizers.Adam(digits.LEARNING_RATE, clipvalue=digits.LIMIT),
        loss=k.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    rows = digits.STEPS * digits.BATCH

    def epoch() -> dict[str, float]:
        history = model.fit(features[:rows], labels[:rows], batch_size=digits.BATCH, epochs=1, verbose=0)
        return {"loss": float(history.history["loss"][0])}

    return epoch


def scan() -> contender.Epoch:
    """One compiled function an epoch: `lax.scan` over the steps, Adam (Kingma & Ba 2015) and the clip by hand.

    The global norm, the largest element and whether the clip fired are measured in every step, as in our loop.
    """
    import jax
    import jax.numpy as jnp

    images, labels = digits.read()
    features = jnp.asarray(images.reshape(len(images), -1), dtype=jnp.float32) / 255
    truth = jnp.asarray(labels, dtype=jnp.int32)

    def loss_of(weights: Any, rows: Any) -> Any:
        hidden = features[rows]
        for matrix, bias in weights[:-1]:
            hidden = jax.nn.relu(hidden @ matrix + bias)
        matrix, bias = weights[-1]
        return -jnp.take_along_axis(jax.nn.log_softmax(hidden @ matrix + bias), truth[rows][:, None], axis=1).mean()

    def step(state: Any, rows: Any) -> Any:
        weights, first, second, count = state
        loss, gradient = jax.value_and_grad(loss_of)(weights, rows)
        leaves = jax.tree.leaves(gradient)
        norm = jnp.sqrt(sum(jnp.vdot(leaf, leaf) for leaf in leaves))
        largest = jnp.stack([jnp.abs(leaf).max() for leaf in leaves]).max()
        gradient = jax.tree.map(lambda g: jnp.clip(g, -digits.LIMIT, digits.LIMIT), gradient)
        count += 1
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)
        rate = digits.LEARNING_RATE * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-8), weights, first, second)
        return (weights, first, second, count), (loss, norm, largest, largest > digits.LIMIT)

    @jax.jit
    def whole(state: Any, key: Any) -> Any:
        order = jax.random.permutation(key, digits.ROWS)[: digits.STEPS * digits.BATCH]
        return jax.lax.scan(step, state, order.reshape(digits.STEPS, digits.BATCH))

    weights = [_uniform(number, *shape) for number, shape in enumerate(pairwise(digits.WIDTHS))]
    zeros = jax.tree.map(jnp.zeros_like, weights)
    state, epochs = (weights, zeros, zeros, jnp.zeros(())), iter(range(10_000))

    def epoch() -> dict[str, float]:
        nonlocal state
        state, (loss, *_) = whole(state, jax.random.key(next(epochs)))
        return {"loss": float(jax.block_until_ready(loss).mean())}

    return epoch


def _uniform(seed: int, width: int, following: int) -> tuple[Any, Any]:
    """A layer's first weights as torch draws them."""
    import jax

    bound = width**-0.5
    matrix, bias = jax.random.split(jax.random.key(seed))
    return (
        jax.random.uniform(matrix, (width, following), minval=-bound, maxval=bound),
        jax.random.uniform(bias, (following,), minval=-bound, maxval=bound),
    )


CONTENDERS: dict[str, Callable[[], contender.Epoch]] = {"keras": keras, "scan": scan}

if __name__ == "__main__":
    contender.limit_cores(int(sys.argv[2]))
    contender.obey(CONTENDERS[sys.argv[1]]())
