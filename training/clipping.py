"""Gradients between `backward` and `step`: measured by every rule, shortened where the rule says so.

A rule is a function in `RULES`. It changes `.grad` in place, of a sparse gradient the rows that it holds, and returns
what it measured as 0-d tensors, so that nothing waits for the device; the loop reads them when it wants to. A gradient
that holds NaN or infinity is left as it is: the norm is then not finite, `fired` is false, and `non_finite` names the
tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypedDict

import torch
from torch import Tensor

_WINDOW = 1000
_AGC_FLOOR = 1e-3
_ZCLIP_DECAY = 0.97
_ZCLIP_WARM_UP = 25
_ZCLIP_EPSILON = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Clipped:
    """What a rule saw before it changed anything; all three are 0-d tensors on the gradients' device."""

    norm: Tensor
    """Global L2 norm over all gradients, float32; not finite if any element is not, or above about 1.8e19."""
    largest: Tensor
    """Largest absolute element of all gradients, float32."""
    fired: Tensor
    """Whether the rule shortened anything, bool."""


class NormState(TypedDict):
    """`NormHistory` as plain numbers, ready for JSON; None stands for a norm that was not finite."""

    count: int
    recent: list[float | None]
    mean: float | None
    variance: float | None


class NormHistory:
    """The gradient norms seen so far, as far as `autoclip` and `zclip` need them; one for a run.

    Holds the last `window` norms (float32) and, for `zclip`, their moving mean and variance: bounded memory
    however long the run. Non-finite norms take a place but never count.
    """

    def __init__(self, window: int = _WINDOW) -> None:
        if window < _ZCLIP_WARM_UP:
            raise ValueError(f"expected a window of at least {_ZCLIP_WARM_UP} norms, got {window}")
        self.count = 0
        self._recent = torch.full((window,), math.nan)
        self._mean = torch.tensor(math.nan)
        self._variance = torch.tensor(math.nan)

    def add(self, norm: Tensor) -> None:
        """Keep one norm (0-d float32), in place of the oldest once the window is full."""
        self._follow(norm.device)
        finite = torch.where(torch.isfinite(norm), norm, math.nan)
        self._recent[self.count % len(self._recent)] = finite
        self.count += 1

    def percentile(self, percent: float) -> Tensor:
        """The percentile (0..100, linear between neighbours) of the norms kept; NaN when there is none."""
        return torch.nanquantile(self._recent[: self.count], percent / 100)

    def z_bound(self, norm: Tensor, z_limit: float) -> Tensor:
        """The longest norm `zclip` allows for this one, infinity where it does not object.

        The first 25 norms are only collected. Afterwards the bound comes from mean and variance so far, which
        then move by the norm as it will be once clipped.
        """
        if self.count < _ZCLIP_WARM_UP:
            self._collect(norm)
            return torch.full_like(norm, math.inf)
        self._follow(norm.device)
        deviation = self._variance.sqrt()
        z = (norm - self._mean) / (deviation + _ZCLIP_EPSILON)
        bound = torch.where(z > z_limit, self._mean + z_limit * z_limit * deviation / z, math.inf)
        self._move(torch.minimum(norm, bound), seen=norm)
        return bound

    def state_dict(self) -> NormState:
        """Everything needed to go on exactly here, as plain numbers."""
        return NormState(
            count=self.count,
            recent=[_number(value) for value in self._recent[: self.count].tolist()],
            mean=_number(self._mean.item()),
            variance=_number(self._variance.item()),
        )

    def load_state_dict(self, state: NormState) -> None:
        """Go on where `state_dict` was taken; ValueError if it belongs to another window."""
        expected = min(state["count"], len(self._recent))
        if len(state["recent"]) != expected:
            raise ValueError(f"expected {expected} recent norms, got {len(state['recent'])}")
        self.count = state["count"]
        self._recent.fill_(math.nan)
        self._recent[:expected] = torch.tensor([_value(number) for number in state["recent"]])
        self._mean.fill_(_value(state["mean"]))
        self._variance.fill_(_value(state["variance"]))

    def _follow(self, device: torch.device) -> None:
        if self._recent.device != device:
            self._recent = self._recent.to(device)
            self._mean = self._mean.to(device)
            self._variance = self._variance.to(device)

    def _collect(self, norm: Tensor) -> None:
        self.add(norm)
        if self.count == _ZCLIP_WARM_UP:
            seen = self._recent[: self.count]
            self._mean = seen.nanmean()
            self._variance = (seen - self._mean).square().nanmean()

    def _move(self, norm: Tensor, *, seen: Tensor) -> None:
        self.count += 1
        mean = torch.lerp(norm, self._mean, _ZCLIP_DECAY)
        variance = torch.lerp((norm - mean).square(), self._variance, _ZCLIP_DECAY)
        counts = torch.isfinite(seen)
        self._mean = torch.where(counts, mean, self._mean)
        self._variance = torch.where(counts, variance, self._variance)


Rule = Callable[[Sequence[torch.nn.Parameter], float, NormHistory], Clipped]


def none(parameters: Sequence[torch.nn.Parameter], limit: float, history: NormHistory) -> Clipped:
    """Measure only; `limit` is ignored."""
    del limit, history
    return _measured(_gradients(parameters)).clipped()


def value(parameters: Sequence[torch.nn.Parameter], limit: float, history: NormHistory) -> Clipped:
    """Clamp every element to [-limit, limit]; `limit` is in units of one gradient element.

    Changes the direction of the gradient. As `torch.nn.utils.clip_grad_value_`.
    """
    del history
    gradients = _gradients(parameters)
    measured = _measured(gradients)
    fired = measured.fires(measured.largest, limit)
    if not _needless(fired):
        _clamp(gradients, limit, fired)
    return measured.clipped(fired)


def norm(parameters: Sequence[torch.nn.Parameter], limit: float, history: NormHistory) -> Clipped:
    """Scale all gradients by one factor so that their global L2 norm is at most `limit`; the direction stays.

    Pascanu, Mikolov & Bengio 2013, "On the difficulty of training recurrent neural networks" (arXiv 1211.5063).
    As `torch.nn.utils.clip_grad_norm_`, without its 1e-6 in the denominator, so that the bound is reached.
    """
    del history
    gradients = _gradients(parameters)
    measured = _measured(gradients)
    return measured.clipped(_shorten(gradients, measured, limit))


def layer(parameters: Sequence[torch.nn.Parameter], limit: float, history: NormHistory) -> Clipped:
    """Scale each parameter's gradient by its own factor so that its L2 norm is at most `limit`.

    Keeps the direction within a weight matrix or bias vector, not between them.
    """
    del history
    gradients = _gradients(parameters)
    measured = _measured(gradients)
    norms = torch.stack(measured.norms) if measured.norms else torch.zeros(0)
    too_long = (norms > limit) & measured.is_finite
    fired = too_long.any()
    if not _needless(fired):
        for gradient, scale in zip(gradients, torch.where(too_long, limit / norms, 1.0).float(), strict=True):
            gradient.mul_(scale)
    return measured.clipped(fired)


def agc(parameters: Sequence[torch.nn.Parameter], limit: float, history: NormHistory) -> Clipped:
    """Adaptive gradient clipping: a unit's gradient is at most `limit` times as long as its weights.

    Brock, De, Smith & Simonyan 2021, "High-performance large-scale image recognition without normalization"
    (arXiv 2102.06171), equation 3. A unit is one output's row of a weight (all but the first dimension), a
    whole bias or other vector counts as one; weights shorter than 1e-3 count as 1e-3. The classifier layer is
    not clipped, as in the paper: it is found as the last parameter with two or more dimensions, and left out
    with everything behind it (its bias), so `parameters` must come in the order of `model.parameters()`.
    """
    del history
    measured = _measured(_gradients(parameters))
    fired = torch.zeros_like(measured.is_finite)
    for parameter in _before_classifier(parameters):
        if parameter.grad is not None and parameter.numel():
            weights, gradient = parameter.detach(), _values(parameter)
            if parameter.grad.is_sparse:
                weights = weights[parameter.grad.indices()[0]]
            fired = fired | _shorten_units(weights, gradient, limit, measured.is_finite)
    return measured.clipped(fired)


def autoclip(parameters: Sequence[torch.nn.Parameter], limit: float, history: NormHistory) -> Clipped:
    """Clip by global norm at a percentile of the norms seen so far; `limit` is the percentile, 0 to 100.

    Seetharaman, Wichern, Pardo & Le Roux 2020, "AutoClip: adaptive gradient clipping for source separation
    networks" (arXiv 2007.14469). The paper keeps every norm of the run; here the last 1000 count.
    """
    gradients = _gradients(parameters)
    measured = _measured(gradients)
    history.add(measured.norm)
    return measured.clipped(_shorten(gradients, measured, history.percentile(limit)))


def zclip(parameters: Sequence[torch.nn.Parameter], limit: float, history: NormHistory) -> Clipped:
    """Clip by global norm where it stands out from its moving average; `limit` is in standard deviations.

    Kumar, Owen, Roy Chowdhury & Güra 2025, "ZClip: adaptive spike mitigation for LLM pre-training"
    (arXiv 2504.02507), with its decay of 0.97 and 25 steps of warm-up: a norm z > limit deviations above the
    mean is cut to mean + limit²/z deviations, so the further out, the harder.
    """
    gradients = _gradients(parameters)
    measured = _measured(gradients)
    return measured.clipped(_shorten(gradients, measured, history.z_bound(measured.norm, limit)))


RULES: Mapping[str, Rule] = MappingProxyType(
    {"none": none, "value": value, "norm": norm, "layer": layer, "agc": agc, "autoclip": autoclip, "zclip": zclip}
)

TENSOR_BY_TENSOR = frozenset({"layer", "agc"})
"""Rules that tell one tensor from another; to the rest all gradients are one long vector, however it is cut."""

DEFAULT_LIMITS: Mapping[str, float] = MappingProxyType(
    {"none": 1.0, "value": 0.01, "norm": 1.0, "layer": 1.0, "agc": 0.01, "autoclip": 10.0, "zclip": 2.5}
)


def accepts(rule: str, limit: float) -> bool:
    """Whether the limit makes sense for the rule: positive and finite, and for `autoclip` at most 100 percent."""
    return math.isfinite(limit) and limit > 0 and (rule != "autoclip" or limit <= 100)


def non_finite(named_parameters: Iterable[tuple[str, torch.nn.Parameter]]) -> str | None:
    """The first tensor whose gradient is not finite and its norm, in words; None if all are.

    Elements so large that the norm of one row overflows float32 (about 1.8e19) count as not finite.
    Waits for the device: call it when the norm a rule returned is not finite.
    """
    for name, parameter in named_parameters:
        if parameter.grad is not None and not math.isfinite(size := _norm(_values(parameter)).item()):
            return f"gradient of {name} (norm {size})"
    return None


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """What all gradients have together, and the norm of each, float64."""

    norms: list[Tensor]
    norm: Tensor
    largest: Tensor

    @property
    def is_finite(self) -> Tensor:
        return self.norm < math.inf  # of a norm as good as isfinite, which is four operations

    def fires(self, seen: Tensor, bound: Tensor | float) -> Tensor:
        """Whether what was seen is above the bound, with all gradients finite."""
        above = seen > bound
        return above if _needless(above) else above & self.is_finite

    def clipped(self, fired: Tensor | None = None) -> Clipped:
        fired = torch.zeros_like(self.norm, dtype=torch.bool) if fired is None else fired
        return Clipped(norm=self.norm, largest=self.largest, fired=fired)


def _gradients(parameters: Sequence[torch.nn.Parameter]) -> list[Tensor]:
    return [_values(parameter) for parameter in parameters if parameter.grad is not None and parameter.numel()]


def _values(parameter: torch.nn.Parameter) -> Tensor:
    """The gradient; of a sparse one the touched rows, each once, as a view, so that what changes it changes `.grad`."""
    gradient = parameter.grad
    assert gradient is not None  # noqa: S101  # the callers look
    if not gradient.is_sparse:
        return gradient
    parameter.grad = gradient.coalesce()
    return parameter.grad.values()


def _measured(gradients: Sequence[Tensor]) -> _Measured:
    if not gradients:
        return _Measured(norms=[], norm=torch.zeros(()), largest=torch.zeros(()))
    norms, largest = [_norm(gradient) for gradient in gradients], [_largest(gradient) for gradient in gradients]
    if len(gradients) == 1:  # of one, as of the perceptron's in their buffer, there is nothing to add up
        return _Measured(norms=norms, norm=norms[0].float(), largest=largest[0])
    norm = torch.linalg.vector_norm(torch.stack(norms)).float()
    return _Measured(norms=norms, norm=norm, largest=torch.stack(largest).amax())


def _norm(tensor: Tensor) -> Tensor:
    # Row by row, then over the rows in float64: one float32 sum over millions of squares is off by
    # parts in ten thousand on a CPU, and the norm after clipping would be above the limit by as much.
    rows = torch.linalg.vector_norm(tensor, dim=-1, dtype=torch.float32)
    total: Tensor = torch.linalg.vector_norm(rows, dtype=torch.float64)
    return total


def _largest(tensor: Tensor) -> Tensor:
    # aminmax is vectorized; vector_norm(inf) took 18 times as long on a CPU.
    low, high = torch.aminmax(tensor)
    return torch.maximum(low.abs(), high).float()


def _shorten(gradients: Sequence[Tensor], measured: _Measured, bound: Tensor | float) -> Tensor:
    """Scale all gradients to the bound where the norm is above it, else by exactly 1; whether it was."""
    too_long = measured.fires(measured.norm, bound)
    if not _needless(too_long):
        scale = torch.where(too_long, bound / measured.norm, 1.0)
        for gradient in gradients:
            gradient.mul_(scale)
    return too_long


def _clamp(gradients: Sequence[Tensor], limit: float, fired: Tensor) -> None:
    if fired.is_cpu:  # It is known to have fired, and a clamp to tensors is slow there.
        for gradient in gradients:
            gradient.clamp_(-limit, limit)
    else:
        bound = torch.where(fired, limit, math.inf)
        for gradient in gradients:
            gradient.clamp_(-bound, bound)


def _needless(fired: Tensor) -> bool:
    # On a CPU the flag is known at once. On an accelerator reading it would wait for the device,
    # which costs more than a multiplication by 1.
    return fired.is_cpu and not fired.item()


def _before_classifier(parameters: Sequence[torch.nn.Parameter]) -> Sequence[torch.nn.Parameter]:
    matrices = [index for index, parameter in enumerate(parameters) if parameter.ndim > 1]
    if not matrices:
        return parameters
    last = matrices[-1]
    return parameters[: last - 1 if _is_column_of_biases(parameters, last) else last]


def _is_column_of_biases(parameters: Sequence[torch.nn.Parameter], index: int) -> bool:
    """Whether this matrix is the biases [K, 1] of the class vectors [K, H] before it, as those of many classes are."""
    rows, *others = parameters[index].shape
    return others == [1] and index > 0 and parameters[index - 1].ndim == 2 and len(parameters[index - 1]) == rows


def _shorten_units(weights: Tensor, gradient: Tensor, limit: float, is_finite: Tensor) -> Tensor:
    bound = limit * _unit_norms(weights).clamp(min=_AGC_FLOOR)
    size = _unit_norms(gradient)
    too_long = (size > bound) & is_finite
    fired = too_long.any()
    if not _needless(fired):
        gradient.mul_(torch.where(too_long, bound / size, 1.0))
    return fired


def _unit_norms(tensor: Tensor) -> Tensor:
    dimensions = tuple(range(1, tensor.ndim)) if tensor.ndim > 1 else None
    norms: Tensor = torch.linalg.vector_norm(tensor, dim=dimensions, keepdim=True)
    return norms


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _value(number: float | None) -> float:
    return math.nan if number is None else number
