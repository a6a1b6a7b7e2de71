"""The arrays of one run → the predictions of each request in it, as JSON text.

The text is put together here rather than by a JSON library because a run answers many requests at once: the order
of the labels and the digits of the numbers are made for the whole run, the labels are escaped once a model, and
what is left for a request is to join strings.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from clipmax import abstention, conformal, history, labels, novelty
from clipmax.inputs import Input, Tensor
from clipmax.manifest import Manifest
from clipmax.problems import Problem
from service.narrowing import Narrowing
from service.outputs import Full, Outputs, Top

DEFAULT_TOP_K = 3

_FEW_ROWS = 4
"""Up to this many rows plain Python sorts the labels faster than numpy, whose calls cost a microsecond each."""

_FEW_LABELS, _SORTED_LABELS = 64, 128
"""Up to this many labels, of few rows and of many, a full sort costs no more than finding each row's top first."""

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Remarks = Mapping[tuple[str, str], npt.NDArray[Any]]
"""What there is to say of rows: (member of a prediction, input that it is about or "" for the whole row) → bool [N],
of a history int64 [N, 2], how many of its items are known and how many are not."""

OUT_OF_RANGE, UNKNOWN, TRUNCATED, HISTORY = "out_of_range", "unknown", "truncated", "history"
_COVERAGES_KEPT = 64


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller wants in each prediction; `top_k` above the number of labels means all of them."""

    top_k: int = DEFAULT_TOP_K
    probabilities: bool = False
    logits: bool = False
    coverage: float | None = None
    coverage_method: conformal.Method = "adaptive"
    abstain: bool = False
    novelty: bool = False
    candidates: tuple[str, ...] | None = None
    exclude_seen: bool = False

    @property
    def narrows(self) -> bool:
        """Whether labels are left out; see `service.narrowing`."""
        return self.candidates is not None or self.exclude_seen


DEFAULT = Options()


class _Texts(Sequence[str]):
    """A text about each label, made whenever it is asked for: of a million, an answer names a few."""

    def __init__(self, labels: Sequence[str], form: str) -> None:
        self._labels = labels
        self._form = form

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, place: Any) -> Any:
        return self._form.format(orjson.dumps(self._labels[place]).decode())

    def __iter__(self) -> Iterator[str]:
        return map(self.__getitem__, range(len(self)))


def _texts(words: Sequence[str], form: str) -> Sequence[str]:
    """Of each label; of not too many, all at once."""
    found = _Texts(words, form)
    return found if len(words) > labels.INLINE else list(found)


class Words:
    """The parts of a V1 answer that are the same in all answers of a session, in JSON already.

    Args:
        manifest: of the version that answers.
        provider: the execution provider that runs it.
    """

    def __init__(self, manifest: Manifest, provider: str) -> None:
        self.labels = _texts(manifest.labels, "{}")
        self.answered, self.is_top = manifest.answered, manifest.is_top
        self.conformal = manifest.conformal
        self.abstention = manifest.abstention
        self.novelty = manifest.novelty
        # A caller may name any coverage, so only so many thresholds are kept.
        self.threshold = lru_cache(_COVERAGES_KEPT)(self._threshold)
        self.heads = _texts(manifest.labels, '{{"label":{},"probability":')
        self.keys = _texts(manifest.labels, "{}:")
        kinds = {one.kind for one in manifest.inputs}
        self.narrowing = Narrowing(manifest)
        self.members = [
            OUT_OF_RANGE,
            *([UNKNOWN] if kinds & {"category", "history"} else []),
            *([TRUNCATED] if "text" in kinds else []),
            *([HISTORY] if "history" in kinds else []),
        ]
        self.nothing = "".join(f',"{one}":{"false" if one == OUT_OF_RANGE else "[]"}' for one in self.members)
        approximate = ',"approximate":true' if manifest.is_approximate else ""
        facts = f'"model":"{manifest.name}","version":{manifest.version},"provider":"{provider}"'
        self.tail = f"],{facts}{approximate}"

    def check(self, options: Options, *, rows: int, most_values: int) -> None:
        """Refuse what this version was not trained to say, or what would be too long to say of every class.

        Args:
            options: of the request.
            rows: of the request.
            most_values: that may be answered of rows and classes together.

        Raises:
            Problem: PARAMETER.
        """
        self._check_whole(options, rows, most_values)
        for name, is_asked in (("coverage", options.coverage is not None), ("abstain", options.abstain)):
            if is_asked and options.narrows:
                raise _not_offered(name, "it holds for all labels, so not with candidates or exclude_seen")
        if options.coverage is not None and self.conformal is None:
            raise _not_offered("coverage", "this version has no calibration scores, so it can promise no coverage")
        if options.abstain and self.abstention is None:
            raise _not_offered("abstain", "this version has no threshold below which it would abstain")
        if options.novelty and self.novelty is None:
            raise _not_offered("novelty", "this version has no novelty score")

    def _check_whole(self, options: Options, rows: int, most_values: int) -> None:
        """What is about every class."""
        asked = {
            "probabilities": options.probabilities,
            "logits": options.logits,
            "coverage": options.coverage is not None,
            "candidates": options.candidates is not None,
            "exclude_seen": options.exclude_seen,
        }
        first = next((name for name, is_asked in asked.items() if is_asked), None)
        if first is None:
            return
        if self.is_top:
            detail = f"this version gives the {self.answered} likeliest of its {len(self.labels)} labels; ask for top_k"
            raise _not_offered(first, detail)
        if rows * len(self.labels) > most_values:
            raise _not_offered(first, too_many_values(rows, len(self.labels), most_values))

    def _threshold(self, method: conformal.Method, coverage: float) -> float:
        assert self.conformal is not None  # noqa: S101  # see `check`
        table = self.conformal.plain if method == "plain" else self.conformal.adaptive
        return conformal.threshold(table, coverage)


class Results:
    """What one run gave, shared by the requests that were in it.

    Attributes:
        outputs: the graph's outputs, N rows each.
        remarks: member of a prediction → bool [N], see `remarks`.
        span: when the run began and ended, by `time.perf_counter`.
    """

    span = (0.0, 0.0)

    def __init__(self, words: Words, outputs: Outputs, found: Remarks) -> None:
        self.outputs = outputs
        self.remarks = found
        self.words = words
        self.is_finite = outputs.is_finite
        self._default_texts: list[str] | None = None

    def like(self, outputs: Outputs, found: Remarks) -> Results:
        """Other rows of the same session."""
        return Results(self.words, outputs, found)

    def check(self, start: int, stop: int) -> None:
        """Refuse rows that no model should give; the other rows of the run are not touched by it.

        Raises:
            Problem: NON_FINITE_OUTPUT.
        """
        if not self.is_finite and not self._part(start, stop).is_finite:
            raise Problem("NON_FINITE_OUTPUT", "the model gave NaN or infinity for an input that it should take")

    def predictions(self, start: int, stop: int, options: Options) -> list[str]:
        """One labelled JSON object a row, likeliest label first; equally likely ones in label order.

        Each number has the fewest digits that read back as exactly the float32 that onnxruntime gave.

        Raises:
            Problem: NON_FINITE_OUTPUT.
        """
        self.check(start, stop)
        if options is not DEFAULT or not self.is_finite:
            return self._part(start, stop).texts(options)
        if self._default_texts is None:  # of every row, because nearly every request asks for nothing else
            self._default_texts = self.texts(DEFAULT)
        return self._default_texts[start:stop]

    def _part(self, start: int, stop: int) -> Results:
        rows = slice(start, stop)
        return self.like(self.outputs.of(rows), {name: flags[rows] for name, flags in self.remarks.items()})

    def texts(self, options: Options) -> list[str]:
        heads = self.words.heads
        top_k = min(options.top_k, self.words.answered)
        labels, numbers = top(self.outputs, top_k)
        tops = [heads[label] + number for label, number in zip(labels, numbers, strict=True)]
        firsts = range(0, len(tops), top_k)
        return [
            f'{tops[first]},"top":[{"},".join(tops[first : first + top_k])}}}]{rest}}}'
            for first, rest in zip(firsts, self._rests(options), strict=True)
        ]

    def _rests(self, options: Options) -> Iterable[str]:
        """What follows `top` in each prediction."""
        outputs = self.outputs
        rests: Iterable[str] = self._remark_texts()
        if isinstance(outputs, Top):
            rests = _joined(_remainder_texts(outputs, min(options.top_k, self.words.answered)), rests)
        if options is DEFAULT:
            return rests
        if isinstance(outputs, Full):
            rests = self._with_all_classes(outputs, rests, options)
        if options.abstain:
            rests = _joined(rests, self._abstained_texts())
        if options.novelty:
            rests = _joined(rests, self._novelty_texts())
        return rests

    def _with_all_classes(self, outputs: Full, rests: Iterable[str], options: Options) -> Iterable[str]:
        """What only a graph that gives every class can be asked for, see `Words.check`."""
        for member, is_wanted, values in (
            ("probabilities", options.probabilities, outputs.probabilities),
            ("logits", options.logits, outputs.logits),
        ):
            if is_wanted:
                rests = _joined(rests, self._by_label(member, values))
        if options.coverage is not None:
            rests = _joined(rests, self._set_texts(outputs.probabilities, options.coverage_method, options.coverage))
        return rests

    def _set_texts(self, probabilities: Floats, method: conformal.Method, coverage: float) -> list[str]:
        """The labels of each row's prediction set, likeliest first."""
        labels = self.words.labels
        inside = conformal.contains(method, probabilities, self.words.threshold(method, coverage))
        order = np.argsort(-probabilities, axis=1, kind="stable")
        kept = np.take_along_axis(inside, order, axis=1)
        return [
            f',"prediction_set":[{",".join([labels[label] for label in indices[flags].tolist()])}]'
            for indices, flags in zip(order, kept, strict=True)
        ]

    def _abstained_texts(self) -> list[str]:
        assert self.words.abstention is not None  # noqa: S101  # see `Words.check`
        flags = abstention.abstains(self.words.abstention, self.outputs.highest[:, None])
        return _flag_texts("abstained", flags)

    def _novelty_texts(self) -> list[str]:
        """The graph's score of each row, and how many of the rows like the training data are at least as novel."""
        scores = self.outputs.novelty
        assert scores is not None  # noqa: S101  # see `Words.check`
        assert self.words.novelty is not None  # noqa: S101
        p_values = novelty.p_values(self.words.novelty, scores).tolist()
        return [
            f',"novelty":{{"score":{score},"p_value":{p_value!r}}}'
            for score, p_value in zip(decimals(scores), p_values, strict=True)
        ]

    def _remark_texts(self) -> list[str]:
        # numpy's own calls take longer; of a history there always is something to say.
        if HISTORY not in self.words.members and not any(True in flags.tobytes() for flags in self.remarks.values()):
            return [self.words.nothing] * len(self.outputs)
        columns = [self._remark_column(member) for member in self.words.members]
        return ["".join(texts) for texts in zip(*columns, strict=True)]

    def _remark_column(self, member: str) -> list[str]:
        """Of the whole row true or false, of inputs the names of those that it is true of."""
        found = {name: flags for (of, name), flags in self.remarks.items() if of == member}
        if member == OUT_OF_RANGE:
            return _flag_texts(member, found[""])
        if member == HISTORY:
            return _history_texts(np.sum(list(found.values()), axis=0).tolist())
        names = [orjson.dumps(name).decode() for name in found]
        rows = zip(*(flags.tolist() for flags in found.values()), strict=True)
        return [
            f',"{member}":[{",".join([name for name, flag in zip(names, flags, strict=True) if flag])}]'
            for flags in rows
        ]

    def _by_label(self, member: str, values: Floats) -> list[str]:
        keys, digits = self.words.keys, decimals(values)
        rows = [digits[first : first + len(keys)] for first in range(0, len(digits), len(keys))]
        return [f',"{member}":{{{",".join(map(operator.add, keys, numbers))}}}' for numbers in rows]


@dataclass(slots=True)
class Share:
    """The rows of a run that belong to one request."""

    results: Results
    start: int
    stop: int

    @property
    def outputs(self) -> Outputs:
        """Of these rows only; not checked, see `Results.check`."""
        return self.results.outputs.of(slice(self.start, self.stop))

    @property
    def remarks(self) -> Remarks:
        return {name: flags[self.start : self.stop] for name, flags in self.results.remarks.items()}


def encode(share: Share, options: Options, request_id: str) -> bytes:
    """The body of a V1 answer; a request id is made of characters that JSON does not escape.

    Raises:
        Problem: NON_FINITE_OUTPUT.
    """
    rows = share.results.predictions(share.start, share.stop, options)
    return f'{{"predictions":[{",".join(rows)}{share.results.words.tail},"request_id":"{request_id}"}}'.encode()


def remarks(inputs: Sequence[Input], tensors: Mapping[str, Tensor]) -> Remarks:
    """What is to be said of rows: `out_of_range`, and of each category `unknown`, of each text `truncated`.

    Args:
        inputs: the model's input schema.
        tensors: by input name, N rows each.

    Returns:
        See `Remarks`.
    """
    found: dict[tuple[str, str], npt.NDArray[Any]] = {
        (OUT_OF_RANGE, ""): _any([one.out_of_range(tensors[one.name]) for one in inputs])
    }
    for one in inputs:
        if one.kind in {"category", "history"}:
            found[UNKNOWN, one.name] = one.unknown(tensors[one.name])
        if one.kind == "history":
            found[HISTORY, one.name] = history.counts(tensors[one.name])
        if one.kind == "text":
            found[TRUNCATED, one.name] = one.truncated(tensors[one.name])
    return found


def too_many_values(rows: int, labels: int, limit: int) -> str:
    """Why so many numbers are not answered."""
    found = f"{rows} rows of {labels} labels are {rows * labels} numbers, the limit is {limit}"
    return f"{found}; send fewer rows, or ask for the likeliest labels only"


def top(outputs: Outputs, top_k: int) -> tuple[list[int], list[str]]:
    """The `top_k` likeliest labels of each row and the digits of their probabilities.

    Equally likely labels come in label order: N rows → two lists, row after row, of N · top_k.
    """
    if isinstance(outputs, Top):
        numbers = decimals(np.ascontiguousarray(outputs.top_probabilities[:, :top_k]))
        return outputs.top_indices[:, :top_k].reshape(-1).tolist(), numbers
    probabilities = outputs.probabilities
    labels = probabilities.shape[1]
    if labels > _SORTED_LABELS and top_k < labels:
        order = np.array([_partial_order(row, top_k) for row in probabilities])
    elif len(probabilities) <= _FEW_ROWS and labels <= _FEW_LABELS:
        return _top_of_few(probabilities, top_k)
    else:
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
    return order.reshape(-1).tolist(), decimals(np.take_along_axis(probabilities, order, axis=1))


def _top_of_few(probabilities: Floats, top_k: int) -> tuple[list[int], list[str]]:
    digits = decimals(probabilities)
    order: list[int] = []
    numbers: list[str] = []
    for first, row in zip(range(0, len(digits), probabilities.shape[1]), probabilities.tolist(), strict=True):
        labels = sorted(range(len(row)), key=row.__getitem__, reverse=True)[:top_k]  # stable, also in reverse
        order += labels
        numbers += [digits[first + label] for label in labels]
    return order, numbers


def _partial_order(row: Floats, top_k: int) -> npt.NDArray[np.intp]:
    """Without sorting all of many labels: those as likely as the last one that is wanted, then sorted."""
    least = np.partition(row, -top_k)[-top_k]
    candidates = np.flatnonzero(row >= least)
    return candidates[np.argsort(-row[candidates], kind="stable")[:top_k]]


def decimals(values: Floats) -> list[str]:
    """Each number in the fewest digits that read back as the same float32: [N, K] → text, row after row."""
    text = orjson.dumps(values.reshape(-1), option=orjson.OPT_SERIALIZE_NUMPY)
    return text[1:-1].decode().split(",")


def _remainder_texts(outputs: Top, top_k: int) -> list[str]:
    return [f',"remainder":{number}' for number in decimals(outputs.remainder(top_k))]


def _history_texts(counts: Sequence[Sequence[int]]) -> list[str]:
    """Without a known item the answer is the prior: what is likely for somebody of whom nothing is known."""
    return [
        f',"history":{{"known":{known},"unknown":{unknown},"prior":{"false" if known else "true"}}}'
        for known, unknown in counts
    ]


def _joined(firsts: Iterable[str], seconds: Iterable[str]) -> list[str]:
    return [f"{first}{second}" for first, second in zip(firsts, seconds, strict=True)]


def _flag_texts(member: str, flags: Flags) -> list[str]:
    return [f',"{member}":{"true" if flag else "false"}' for flag in flags]


def _not_offered(parameter: str, detail: str) -> Problem:
    return Problem("PARAMETER", detail, pointer=f"/parameters/{parameter}")


def _any(flags: Sequence[Flags]) -> Flags:
    return np.logical_or.reduce(flags) if len(flags) > 1 else flags[0]
