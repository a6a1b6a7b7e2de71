"""The tools that people would use instead: fitted on the same training rows, asked for the same test rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.data.dataset import Dataset, Split

Rows = npt.NDArray[Any]
Probabilities = npt.NDArray[np.float64]
_CS = (1.0, 3.0, 10.0, 30.0, 100.0)


@dataclass(frozen=True, kw_only=True)
class Score:
    """Of the test split: share right, mean nats, seconds of the whole fit; or why there is none."""

    accuracy: float = 0.0
    log_loss: float = 0.0
    seconds: float = 0.0
    missing: str = ""


def score(fit: Callable[[Dataset, int], Probabilities], dataset: Dataset, seed: int) -> Score:
    """Fit and judge one reference."""
    started = time.perf_counter()
    try:
        probabilities = fit(dataset, seed)
    except ImportError as error:
        return Score(missing=f"not installed: {error.name}")
    seconds = time.perf_counter() - started
    labels = dataset.test.labels
    truth = probabilities[np.arange(len(labels)), labels]
    return Score(
        accuracy=float((probabilities.argmax(axis=1) == labels).mean()),
        log_loss=float(-np.log(np.maximum(truth, 1e-15)).mean()),
        seconds=seconds,
    )


def tfidf(dataset: Dataset, seed: int) -> Probabilities:
    """Tf-idf → logistic regression, C tuned on a tenth.

    Of characters (2 to 5, within words) and words (1 to 2); where words are not set apart, of characters (1 to 3).
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline, make_union

    def model(strength: float) -> Any:
        features = make_union(
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=2, sublinear_tf=True),
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b"),  # noqa: S106  # a word's pattern, no password
        )
        if not _has_blanks(texts):
            features = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
        return make_pipeline(features, LogisticRegression(C=strength, max_iter=1000))

    texts, labels = _known(dataset)
    fitted, held, fitted_labels, held_labels = train_test_split(
        texts, labels, test_size=0.1, random_state=seed, stratify=labels
    )

    def loss(strength: float) -> float:
        found = model(strength).fit(fitted, fitted_labels).predict_proba(held)
        return float(log_loss(held_labels, found, labels=np.unique(fitted_labels)))

    return np.asarray(model(min(_CS, key=loss)).fit(texts, labels).predict_proba(_texts(dataset.test)))


def fasttext(dataset: Dataset, seed: int) -> Probabilities:
    """FastText's classifier (Joulin et al. 2017), 25 epochs: word pairs, characters 2 to 5; without blanks 1 to 3."""
    import tempfile

    import fasttext as library

    texts, labels = _known(dataset)
    shortest, longest = (2, 5) if _has_blanks(texts) else (1, 3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.txt"
        lines = (f"__label__{label} {_line(text)}\n" for text, label in zip(texts, labels, strict=True))
        path.write_text("".join(lines), encoding="utf-8", errors="replace")
        model = library.train_supervised(
            str(path),
            lr=0.5,
            epoch=25,
            wordNgrams=2,
            minn=shortest,
            maxn=longest,
            dim=100,
            thread=1,
            seed=seed,
            verbose=0,
        )
    probabilities = np.zeros((len(dataset.test), len(dataset.labels)))
    for row, text in enumerate(_texts(dataset.test)):
        names, values = model.predict(_line(text), k=-1)
        probabilities[row, [int(name.removeprefix("__label__")) for name in names]] = values
    return probabilities / probabilities.sum(axis=1, keepdims=True)


def perceptron(dataset: Dataset, seed: int) -> Probabilities:
    """scikit-learn's MLPClassifier, stopped early; numbers standardised, words one-hot, pixels 0 to 1."""
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    train, test = _known_columns(dataset), dataset.test.columns
    parts: list[tuple[Rows, Rows]] = []
    for schema in dataset.inputs:
        known, asked = train[schema.name], test[schema.name]
        if schema.kind == "image":
            parts.append((known.reshape(len(known), -1) / 255, asked.reshape(len(asked), -1) / 255))
            continue
        encoder: Any = StandardScaler()
        if schema.kind == "category":
            encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        parts.append((encoder.fit_transform(known), np.nan_to_num(encoder.transform(asked))))
    features = np.nan_to_num(np.hstack([known for known, _ in parts])).astype(np.float32)
    model = MLPClassifier((256, 128) if features.shape[1] > 500 else (128,), early_stopping=True, random_state=seed)
    model.fit(features, _known_labels(dataset))
    return np.asarray(model.predict_proba(np.hstack([asked for _, asked in parts]).astype(np.float32)))


def boosted(dataset: Dataset, seed: int) -> Probabilities:
    """LightGBM with its defaults, rate 0.05, stopped early on our validation split."""
    import lightgbm

    words = [index for index, schema in enumerate(dataset.inputs) if schema.kind == "category"]
    model = lightgbm.LGBMClassifier(n_estimators=2000, learning_rate=0.05, random_state=seed, n_jobs=1, verbose=-1)
    model.fit(
        _table(dataset, dataset.train),
        dataset.train.labels,
        eval_set=[(_table(dataset, dataset.validation), dataset.validation.labels)],
        callbacks=[lightgbm.early_stopping(50, verbose=False)],
        categorical_feature=words,
    )
    return np.asarray(model.predict_proba(_table(dataset, dataset.test)))


def _table(dataset: Dataset, split: Split) -> Rows:
    return np.hstack([split.columns[schema.name].astype(np.float64) for schema in dataset.inputs])


def _known_columns(dataset: Dataset) -> dict[str, Rows]:
    """Training and validation rows together: the references without a use for held-out rows learn from all."""
    return {
        name: np.concatenate([column, dataset.validation.columns[name]])
        for name, column in dataset.train.columns.items()
    }


def _known_labels(dataset: Dataset) -> Rows:
    return np.concatenate([dataset.train.labels, dataset.validation.labels])


def _known(dataset: Dataset) -> tuple[list[str], Rows]:
    return [*_texts(dataset.train), *_texts(dataset.validation)], _known_labels(dataset)


def _texts(split: Split) -> Sequence[str]:
    (column,) = split.columns.values()
    return column.tolist()


def _has_blanks(texts: Sequence[str]) -> bool:
    """Whether most texts are written with blanks between their words."""
    return sum(" " in text.strip() for text in texts) > len(texts) / 2


def _line(text: str) -> str:
    return " ".join(text.split())
