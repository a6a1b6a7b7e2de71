"""Makes the two files of `keras_files/`: a real Keras 3 classifier as ONNX, and what Keras itself answers.

    KERAS_BACKEND=torch python tests/training/adopt/make_keras_files.py

needs keras (3.15 made them), torch, onnxscript and scikit-learn. Keras is no dependency of the tests: it is large, and
its files do not change with it.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits

FOLDER = Path(__file__).parent / "keras_files"


def main() -> None:
    """Train on scikit-learn's 8×8 digits, export, and keep the answers for 32 of them."""
    digits = load_digits()
    pixels = (digits.images * 15).astype(np.uint8)
    scaled = pixels[..., None].astype(np.float32) / 255
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.1),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    model.fit(scaled[:1400], digits.target[:1400], epochs=6, batch_size=32, verbose=0)
    model.export(FOLDER / "digits.onnx", format="onnx", verbose=False)
    answers = model.predict(scaled[1400:1432], verbose=0)
    np.savez_compressed(FOLDER / "answers.npz", pixels=pixels[1400:1432], probabilities=answers)


if __name__ == "__main__":
    main()
