"""The metrics there are: name, labels, buckets, and what each one means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LATENCY_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
INFERENCE_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
BATCH_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CONFIDENCE_BINS, ENTROPY_BINS = 20, 10


@dataclass(frozen=True, slots=True)
class Metric:
    """One family of series.

    Attributes:
        buckets: upper bounds, where it is a histogram.
    """

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def shown_name(self) -> str:
        """As Prometheus stores it."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


def _equal_bins(count: int) -> tuple[float, ...]:
    return tuple(index / count for index in range(1, count + 1))


VERSION = ("model", "version")

REQUESTS = Metric("counter", "clipmax_requests", "answers given", ("route", "code", *VERSION))
LATENCY = Metric(
    "histogram",
    "clipmax_request_seconds",
    "time from a request's headers to its answer",
    ("route", "code", *VERSION),
    LATENCY_SECONDS,
)
PROBLEMS = Metric("counter", "clipmax_problems", "errors answered, by the code in their body", ("code",))
ABANDONED = Metric("counter", "clipmax_requests_abandoned", "requests whose client left before an answer")
IN_PROGRESS = Metric("gauge", "clipmax_requests_in_progress", "requests that are read, wait, run or are written")
QUEUE_ROWS = Metric("gauge", "clipmax_queue_rows", "rows that wait or run")
QUEUE_BYTES = Metric("gauge", "clipmax_queue_bytes", "bytes of bodies and rows in memory")
BUSY = Metric("gauge", "clipmax_busy_ratio", "share of the time in which a worker works, mean over workers, 0 to 1")
WORKERS = Metric("gauge", "clipmax_workers", "worker processes that serve")
STARTS = Metric("counter", "clipmax_worker_starts", "worker processes that began to serve")

QUEUE_WAIT = Metric(
    "histogram",
    "clipmax_queue_wait_seconds",
    "time from queue to run, of each turn of a request",
    VERSION,
    LATENCY_SECONDS,
)
ROWS = Metric("histogram", "clipmax_batch_rows", "rows of a run", VERSION, BATCH_ROWS)
INFERENCE = Metric("histogram", "clipmax_inference_seconds", "time of a run in onnxruntime", VERSION, INFERENCE_SECONDS)

STATE = Metric("gauge", "clipmax_version_state", "1 for the state that a version is in, else 0", (*VERSION, "state"))
REFUSED = Metric(
    "gauge", "clipmax_version_refused", "1 with the field for which a folder is refused", (*VERSION, "field")
)
PROVIDER = Metric(
    "gauge", "clipmax_version_provider", "1 for the execution provider that runs, else 0", (*VERSION, "provider")
)
DEGRADED = Metric("gauge", "clipmax_version_degraded", "1 where another provider runs than was asked for", VERSION)
ACCURACY = Metric("gauge", "clipmax_version_accuracy", "accuracy on the test split, from the manifest", VERSION)
ECE = Metric("gauge", "clipmax_version_ece", "expected calibration error on the test split, from the manifest", VERSION)
LOG_LOSS = Metric("gauge", "clipmax_version_log_loss", "log loss on the test split in nats, from the manifest", VERSION)

PREDICTIONS = Metric("counter", "clipmax_predictions", "rows by the label that was likeliest", (*VERSION, "label"))
CONFIDENCE = Metric(
    "histogram", "clipmax_confidence", "top probability of a row", VERSION, _equal_bins(CONFIDENCE_BINS)
)
ENTROPY = Metric(
    "histogram",
    "clipmax_entropy",
    "entropy of a row as a share of the highest possible",
    VERSION,
    _equal_bins(ENTROPY_BINS),
)
SATURATED = Metric("counter", "clipmax_rows_saturated", "rows with a top probability above 0.999", VERSION)
ABSTAINED = Metric("counter", "clipmax_rows_abstained", "rows below the abstention threshold of the manifest", VERSION)
OUT_OF_RANGE = Metric("counter", "clipmax_rows_out_of_range", "rows with a value that the graph clipped", VERSION)
UNKNOWN = Metric("counter", "clipmax_rows_unknown", "rows with a word that training never saw", VERSION)
TRUNCATED = Metric("counter", "clipmax_rows_truncated", "rows with a text that was cut", VERSION)
NOVEL = Metric("counter", "clipmax_rows_novel", "rows with a novelty p-value of 0.01 or less", VERSION)
NON_FINITE = Metric("counter", "clipmax_rows_non_finite", "rows for which the graph gave NaN or infinity", VERSION)

DRIFT = Metric(
    "gauge", "clipmax_drift_psi", "population stability index of the window against the manifest", (*VERSION, "of")
)
DRIFT_NOISE = Metric("gauge", "clipmax_drift_noise", "what the index is on average without any drift", (*VERSION, "of"))
DRIFT_LIMIT = Metric(
    "gauge", "clipmax_drift_limit", "what the index exceeds once in 1000 windows without any drift", (*VERSION, "of")
)
DRIFT_ROWS = Metric("gauge", "clipmax_drift_rows", "rows in the window of the drift", VERSION)

METRICS = (
    REQUESTS,
    LATENCY,
    PROBLEMS,
    ABANDONED,
    IN_PROGRESS,
    QUEUE_ROWS,
    QUEUE_BYTES,
    BUSY,
    WORKERS,
    STARTS,
    QUEUE_WAIT,
    ROWS,
    INFERENCE,
    STATE,
    REFUSED,
    PROVIDER,
    DEGRADED,
    ACCURACY,
    ECE,
    LOG_LOSS,
    PREDICTIONS,
    CONFIDENCE,
    ENTROPY,
    SATURATED,
    ABSTAINED,
    OUT_OF_RANGE,
    UNKNOWN,
    TRUNCATED,
    NOVEL,
    NON_FINITE,
    DRIFT,
    DRIFT_NOISE,
    DRIFT_LIMIT,
    DRIFT_ROWS,
)
"""In the order in which they are given."""
