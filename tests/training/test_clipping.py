"""Every clipping rule: its bound, its direction, its reference, and what it leaves alone."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import Parameter

from training.clipping import DEFAULT_LIMITS, RULES, NormHistory, accepts, non_finite

SHAPES = ((24, 40), (24,), (12, 24), (12,), (5, 12), (5,))
LOOSE = {rule: 100.0 if rule == "autoclip" else 1e30 for rule in RULES}
"""A limit that never binds: for `autoclip`, the largest norm so far."""
seeds = st.integers(0, 2**31)
sizes = st.floats(1e-4, 1e4)
limits = st.floats(1e-3, 1e3)


def parameters_with_gradients(seed: int = 0, size: float = 1.0) -> list[Parameter]:
    generator = torch.Generator().manual_seed(seed)
    parameters = [Parameter(torch.randn(shape, generator=generator) * 0.1) for shape in SHAPES]
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator) * size
    return parameters


def gradients(parameters: Sequence[Parameter]) -> list[torch.Tensor]:
    return [parameter.grad.clone() for parameter in parameters if parameter.grad is not None]


def flat(parameters: Sequence[Parameter]) -> torch.Tensor:
    return torch.cat([gradient.flatten().double() for gradient in gradients(parameters)])


def with_norm(norm: float) -> list[Parameter]:
    """One parameter whose gradient has exactly this norm."""
    parameter = Parameter(torch.zeros(2, 2))
    parameter.grad = torch.tensor([[norm, 0.0], [0.0, 0.0]])
    return [parameter]


def clip_series(rule: str, limit: float, norms: Sequence[float], history: NormHistory) -> list[float]:
    """The norms left after clipping gradients of the given norms one after the other."""
    left = []
    for norm in norms:
        parameters = with_norm(norm)
        RULES[rule](parameters, limit, history)
        left.append(flat(parameters).norm().item())
    return left


@pytest.mark.parametrize("rule", RULES)
@given(seed=seeds, size=sizes)
@settings(max_examples=20, deadline=None)
def test_a_huge_limit_changes_nothing(rule: str, seed: int, size: float) -> None:
    """No bit of any gradient changes, and the rule says that it did not fire."""
    parameters = parameters_with_gradients(seed, size)
    before = gradients(parameters)
    clipped = RULES[rule](parameters, LOOSE[rule], NormHistory())
    assert not clipped.fired
    assert all(torch.equal(was, now) for was, now in zip(before, gradients(parameters), strict=True))


@pytest.mark.parametrize("rule", RULES)
@given(seed=seeds, size=sizes)
@settings(max_examples=20, deadline=None)
def test_every_rule_measures_norm_and_largest_element(rule: str, seed: int, size: float) -> None:
    """Global norm and largest element before clipping, as 0-d tensors."""
    parameters = parameters_with_gradients(seed, size)
    expected = flat(parameters)
    clipped = RULES[rule](parameters, DEFAULT_LIMITS[rule], NormHistory())
    assert clipped.norm.shape == clipped.largest.shape == clipped.fired.shape == ()
    assert clipped.norm.dtype == torch.float32
    assert clipped.fired.dtype == torch.bool
    assert clipped.norm.item() == pytest.approx(expected.norm().item(), rel=1e-6)
    assert clipped.largest.item() == pytest.approx(expected.abs().max().item(), rel=1e-6)


@pytest.mark.parametrize("rule", RULES)
@given(seed=seeds, size=sizes, limit=st.floats(1e-3, 100.0))
@settings(max_examples=20, deadline=None)
def test_fired_means_that_something_changed(rule: str, seed: int, size: float, limit: float) -> None:
    """`fired` is true exactly when a gradient differs from before."""
    parameters, history = parameters_with_gradients(seed, size), NormHistory()
    for step in range(30):  # The rules with a history start with quiet steps; only the last one counts.
        RULES[rule](parameters_with_gradients(step, 1e-3 + step * 1e-4), limit, history)
    before = gradients(parameters)
    clipped = RULES[rule](parameters, limit, history)
    changed = not all(torch.equal(was, now) for was, now in zip(before, gradients(parameters), strict=True))
    assert bool(clipped.fired) == changed


@given(seed=seeds, size=sizes, limit=limits)
@settings(max_examples=50, deadline=None)
def test_norm_afterwards_is_at_most_the_limit(seed: int, size: float, limit: float) -> None:
    """Measured in float64, within one part in a million."""
    parameters = parameters_with_gradients(seed, size)
    RULES["norm"](parameters, limit, NormHistory())
    assert flat(parameters).norm().item() <= limit * (1 + 1e-6)


@pytest.mark.parametrize("shape", [(2000, 2000), (1_000_000, 8)])
def test_norm_afterwards_is_at_most_the_limit_in_a_large_network(shape: tuple[int, int]) -> None:
    """Rounding does not add up over millions of elements (one float32 sum is off by 8e-5 and 1e-3 here)."""
    parameter = Parameter(torch.zeros(shape))
    parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    RULES["norm"]([parameter], 1.0, NormHistory())
    assert flat([parameter]).norm().item() == pytest.approx(1.0, rel=1e-6)


@given(seed=seeds, size=sizes, limit=limits)
@settings(max_examples=30, deadline=None)
def test_norm_keeps_the_direction(seed: int, size: float, limit: float) -> None:
    """The gradient before and after points the same way: cosine 1."""
    parameters = parameters_with_gradients(seed, size)
    before = flat(parameters)
    RULES["norm"](parameters, limit, NormHistory())
    assert torch.cosine_similarity(before, flat(parameters), dim=0).item() == pytest.approx(1.0, abs=1e-9)


def test_value_turns_the_direction() -> None:
    """Cutting the large elements only makes the gradient point elsewhere."""
    parameters = parameters_with_gradients()
    before = flat(parameters)
    RULES["value"](parameters, 0.1, NormHistory())
    assert torch.cosine_similarity(before, flat(parameters), dim=0).item() < 0.9


@given(seed=seeds, size=sizes, limit=limits)
@settings(max_examples=30, deadline=None)
def test_value_bounds_every_element(seed: int, size: float, limit: float) -> None:
    """No element is larger than the limit afterwards."""
    parameters = parameters_with_gradients(seed, size)
    RULES["value"](parameters, limit, NormHistory())
    assert flat(parameters).abs().max().item() <= torch.tensor(limit).item()


@given(seed=seeds, size=sizes, limit=limits)
@settings(max_examples=30, deadline=None)
def test_layer_bounds_every_tensor_and_keeps_its_direction(seed: int, size: float, limit: float) -> None:
    """Each parameter's gradient by itself: norm at most the limit, cosine 1."""
    parameters = parameters_with_gradients(seed, size)
    before = gradients(parameters)
    RULES["layer"](parameters, limit, NormHistory())
    for was, now in zip(before, gradients(parameters), strict=True):
        assert now.double().norm().item() <= limit * (1 + 1e-6)
        cosine = torch.cosine_similarity(was.double().flatten(), now.double().flatten(), dim=0)
        assert cosine.item() == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("rule", ["value", "norm", "layer", "agc"])
@given(seed=seeds, size=sizes, limit=limits, factor=st.floats(1.0, 100.0))
@settings(max_examples=20, deadline=None)
def test_clipping_in_stages_equals_clipping_once(
    rule: str, seed: int, size: float, limit: float, factor: float
) -> None:
    """First to a wider limit, then to the real one: the same as to the real one at once."""
    staged, once = parameters_with_gradients(seed, size), parameters_with_gradients(seed, size)
    RULES[rule](staged, limit * factor, NormHistory())
    RULES[rule](staged, limit, NormHistory())
    RULES[rule](once, limit, NormHistory())
    torch.testing.assert_close(gradients(staged), gradients(once), rtol=1e-6, atol=0)


@given(seed=seeds, size=sizes, limit=limits)
@settings(max_examples=30, deadline=None)
def test_value_equals_torch(seed: int, size: float, limit: float) -> None:
    """Bit for bit `clip_grad_value_`."""
    ours, theirs = parameters_with_gradients(seed, size), parameters_with_gradients(seed, size)
    RULES["value"](ours, limit, NormHistory())
    torch.nn.utils.clip_grad_value_(theirs, limit)
    torch.testing.assert_close(gradients(ours), gradients(theirs), rtol=0, atol=0)


@given(seed=seeds, size=st.floats(1.0, 1e4), limit=limits)
@settings(max_examples=30, deadline=None)
def test_norm_equals_torch(seed: int, size: float, limit: float) -> None:
    """`clip_grad_norm_` to rounding; its 1e-6 in the denominator is nothing beside norms above 1."""
    ours, theirs = parameters_with_gradients(seed, size), parameters_with_gradients(seed, size)
    clipped = RULES["norm"](ours, limit, NormHistory())
    reference = torch.nn.utils.clip_grad_norm_(theirs, limit)
    torch.testing.assert_close(clipped.norm, reference)
    torch.testing.assert_close(gradients(ours), gradients(theirs), rtol=2e-6, atol=0)


@given(seed=seeds, size=sizes, limit=st.floats(1e-3, 10.0))
@settings(max_examples=30, deadline=None)
def test_agc_bounds_every_unit_and_leaves_the_classifier(seed: int, size: float, limit: float) -> None:
    """Row by row at most limit x the weights' norm, computed here with numpy; the last layer keeps its gradient."""
    parameters = parameters_with_gradients(seed, size)
    before = gradients(parameters)
    RULES["agc"](parameters, limit, NormHistory())
    for index, (parameter, was, now) in enumerate(zip(parameters, before, gradients(parameters), strict=True)):
        expected = was.numpy() if index >= 4 else agc_by_numpy(parameter.detach().numpy(), was.numpy(), limit)
        np.testing.assert_allclose(now.numpy(), expected, rtol=2e-6)


def agc_by_numpy(weight: np.ndarray, gradient: np.ndarray, limit: float) -> np.ndarray:
    """Equation 3 of Brock et al. 2021; a vector is one unit."""
    rows, slopes = np.atleast_2d(weight).astype(float), np.atleast_2d(gradient).astype(float)
    bound = limit * np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-3)
    size = np.linalg.norm(slopes, axis=1, keepdims=True)
    return np.asarray(np.where(size > bound, slopes * bound / size, slopes)).reshape(gradient.shape)


def test_agc_clips_a_network_without_matrices_whole() -> None:
    """Without a matrix there is no classifier to leave out."""
    parameter = Parameter(torch.ones(4))
    parameter.grad = torch.ones(4)
    RULES["agc"]([parameter], 0.5, NormHistory())
    assert flat([parameter]).norm().item() == pytest.approx(1.0)


@given(norms=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=40), percent=st.floats(1.0, 100.0))
@settings(max_examples=40, deadline=None)
def test_autoclip_equals_numpy_percentile(norms: list[float], percent: float) -> None:
    """Each norm ends at the percentile of all norms up to itself, or stays when it is below."""
    left = clip_series("autoclip", percent, norms, NormHistory())
    seen = np.array(norms, dtype=np.float32)
    bounds = [np.percentile(seen[: index + 1], percent) for index in range(len(norms))]
    np.testing.assert_allclose(left, np.minimum(seen, bounds), rtol=1e-5)


def test_autoclip_forgets_norms_outside_the_window() -> None:
    """Only the last `window` norms count: memory is bounded and early norms fade."""
    history = NormHistory(window=25)
    left = clip_series("autoclip", 100.0, [1000.0] + [1.0] * 25 + [5.0], history)
    assert left[-1] == pytest.approx(5.0)
    assert history.percentile(100.0).item() == 5.0
    assert len(history.state_dict()["recent"]) == 25


def test_zclip_equals_the_reference() -> None:
    """The published algorithm in float64: 25 steps of warm-up, then mean + limit²/z deviations."""
    generator = np.random.default_rng(0)
    norms = 1 + 0.1 * generator.standard_normal(300)
    norms[[60, 130, 131, 200]] = [9.0, 30.0, 2.0, 1e4]
    left = clip_series("zclip", 2.5, norms.tolist(), NormHistory())
    np.testing.assert_allclose(left, zclip_by_numpy(norms, 2.5), rtol=1e-4)
    assert max(left) < 1.5


def zclip_by_numpy(norms: np.ndarray, limit: float) -> list[float]:
    """Algorithm 1 of Kumar et al. 2025 with decay 0.97."""
    left: list[float] = norms[:25].tolist()
    mean, variance = norms[:25].mean(), norms[:25].var()
    for norm in norms[25:]:
        z = (norm - mean) / (math.sqrt(variance) + 1e-6)
        kept = mean + limit**2 / z * math.sqrt(variance) if z > limit else norm
        mean = 0.97 * mean + 0.03 * kept
        variance = 0.97 * variance + 0.03 * (kept - mean) ** 2
        left.append(kept)
    return left


@pytest.mark.parametrize("rule", RULES)
def test_zero_gradients_stay_zero(rule: str) -> None:
    """Nothing is divided by a norm of zero."""
    parameters, history = parameters_with_gradients(size=0.0), NormHistory()
    for _ in range(30):
        clipped = RULES[rule](parameters, DEFAULT_LIMITS[rule], history)
        assert clipped.norm == clipped.largest == 0
        assert not clipped.fired
    assert not flat(parameters).any()


@pytest.mark.parametrize("rule", RULES)
def test_parameters_without_gradient_are_passed_over(rule: str) -> None:
    """A frozen layer has no gradient; the others are clipped as if it were not there."""
    parameters = parameters_with_gradients()
    parameters[1].grad = None
    expected = flat(parameters)
    clipped = RULES[rule](parameters, LOOSE[rule], NormHistory())
    assert parameters[1].grad is None
    assert clipped.norm.item() == pytest.approx(expected.norm().item())
    assert RULES[rule]([parameters[1]], LOOSE[rule], NormHistory()).norm == 0


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf, 3e38])
def test_a_non_finite_gradient_is_left_and_named(rule: str, poison: float) -> None:
    """Not clamped into silence: norm not finite, nothing fired, nothing changed, the tensor named."""
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    model.get_parameter("2.weight").grad = torch.tensor([[1.0, 1.0, 1.0], [1.0, poison, 1.0]])
    before = gradients(list(model.parameters()))
    history = NormHistory()
    for step in range(30):
        clip_series(rule, DEFAULT_LIMITS[rule], [1 + step / 100], history)
    clipped = RULES[rule](list(model.parameters()), DEFAULT_LIMITS[rule], history)
    assert not torch.isfinite(clipped.norm)
    assert not clipped.fired
    for was, now in zip(before, gradients(list(model.parameters())), strict=True):
        assert torch.equal(was.nan_to_num(7.0), now.nan_to_num(7.0))
    shown = "nan" if math.isnan(poison) else "inf"
    assert non_finite(model.named_parameters()) == f"gradient of 2.weight (norm {shown})"


@pytest.mark.parametrize("rule", ["autoclip", "zclip"])
def test_a_non_finite_norm_does_not_spoil_the_history(rule: str) -> None:
    """The same later norms are clipped the same way, finite ones around a NaN included."""
    norms = [1 + (step % 7) / 10 for step in range(60)]
    spoiled = NormHistory()
    clip_series(rule, DEFAULT_LIMITS[rule], [*norms[:40], math.nan, math.inf], spoiled)
    clean = NormHistory()
    clip_series(rule, DEFAULT_LIMITS[rule], norms[:40], clean)
    later = [*norms[40:], 50.0]
    expected = clip_series(rule, DEFAULT_LIMITS[rule], later, clean)
    assert clip_series(rule, DEFAULT_LIMITS[rule], later, spoiled) == pytest.approx(expected)


def test_finite_gradients_are_not_named() -> None:
    """All finite, or none there at all: nothing to report."""
    parameters = parameters_with_gradients()
    parameters[0].grad = None
    assert non_finite((str(index), parameter) for index, parameter in enumerate(parameters)) is None
    assert non_finite([]) is None


@pytest.mark.parametrize("rule", ["autoclip", "zclip"])
@pytest.mark.parametrize("steps", [0, 1, 10, 25, 40, 70])
def test_history_goes_on_after_a_round_trip_through_json(rule: str, steps: int) -> None:
    """Saved as plain numbers and loaded, the next norms are clipped exactly as without the stop."""
    norms = [1 + (step * 37 % 11) / 10 for step in range(steps)]
    later = [3.0, 1.0, math.nan, 20.0, *[1.3] * 30, 9.0]
    going = NormHistory(window=50)
    clip_series(rule, DEFAULT_LIMITS[rule], norms, going)
    resumed = NormHistory(window=50)
    resumed.load_state_dict(json.loads(json.dumps(going.state_dict(), allow_nan=False)))
    assert resumed.state_dict() == going.state_dict()
    expected = clip_series(rule, DEFAULT_LIMITS[rule], later, going)
    np.testing.assert_array_equal(clip_series(rule, DEFAULT_LIMITS[rule], later, resumed), expected)


def test_a_history_of_another_window_is_refused() -> None:
    """A state holds as many norms as its window; another length is an error, not a guess."""
    history = NormHistory(window=50)
    clip_series("autoclip", 10.0, [1.0] * 60, history)
    with pytest.raises(ValueError, match="expected 60 recent norms, got 50"):
        NormHistory().load_state_dict(history.state_dict())


def test_a_window_shorter_than_the_warm_up_is_refused() -> None:
    """ZClip needs its 25 first norms."""
    with pytest.raises(ValueError, match="at least 25"):
        NormHistory(window=24)


def test_every_rule_has_a_default_limit_and_a_paper_or_meaning() -> None:
    """The two tables hold the same rules, each default is accepted, each rule is explained."""
    assert list(DEFAULT_LIMITS) == list(RULES)
    assert all(accepts(rule, limit) for rule, limit in DEFAULT_LIMITS.items())
    assert all("limit" in (rule.__doc__ or "") for rule in RULES.values())


@pytest.mark.parametrize("limit", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("rule", RULES)
def test_a_limit_that_cannot_work_is_not_accepted(rule: str, limit: float) -> None:
    """Positive and finite."""
    assert not accepts(rule, limit)


def test_a_percentile_above_100_is_not_accepted() -> None:
    """For `autoclip` the limit is a percentile."""
    assert accepts("autoclip", 100.0)
    assert not accepts("autoclip", 100.5)


def weights_after(order: str) -> list[torch.Tensor]:
    """Weights after 20 real steps of SGD, with the clip at the given place in the step."""
    generator = torch.Generator().manual_seed(0)
    rows, labels = torch.randn(64, 8, generator=generator) * 20, torch.arange(64) % 3
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        if order == "before backward":
            RULES["norm"](list(model.parameters()), 0.1, NormHistory())
        torch.autograd.backward(torch.nn.functional.cross_entropy(model(rows), labels))
        if order == "between":
            assert RULES["norm"](list(model.parameters()), 0.1, NormHistory()).fired
        optimizer.step()
        if order == "after step":
            RULES["norm"](list(model.parameters()), 0.1, NormHistory())
    return [parameter.detach().clone() for parameter in model.parameters()]


@pytest.mark.parametrize("order", ["after step", "before backward"])
def test_a_clip_in_the_wrong_place_does_nothing(order: str) -> None:
    """After the step or before backward, the weights are bit for bit those of no clipping at all."""
    torch.testing.assert_close(weights_after(order), weights_after("never"), rtol=0, atol=0)


def test_a_clip_between_backward_and_step_shortens_the_way() -> None:
    """20 steps at rate 0.1 with gradients of norm at most 0.1 move the weights by at most 0.2."""
    start = weights_at_start()
    clipped = distance(weights_after("between"), start)
    assert clipped <= 20 * 0.1 * 0.1 * (1 + 1e-4)
    assert distance(weights_after("never"), start) > 5 * clipped


def weights_at_start() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    torch.randn(64, 8, generator=generator)
    return [torch.randn(shape, generator=generator) * 0.3 for shape in ((16, 8), (16,), (3, 16), (3,))]


def distance(a: Sequence[torch.Tensor], b: Sequence[torch.Tensor]) -> float:
    return math.sqrt(sum((x - y).double().square().sum().item() for x, y in zip(a, b, strict=True)))


@pytest.mark.parametrize("rule", RULES)
def test_a_sparse_gradient_is_clipped_as_the_same_one_written_densely(rule: str) -> None:
    """A row that it names twice is one row; rows that it does not name stay absent."""
    sparse, dense = parameters_with_gradients(size=100.0), parameters_with_gradients(size=100.0)
    generator = torch.Generator().manual_seed(1)
    rows, values = torch.tensor([[1, 3, 3]]), 100 * torch.randn(3, 40, generator=generator)
    sparse[0].grad = torch.sparse_coo_tensor(rows, values, (24, 40), check_invariants=True)
    dense[0].grad = sparse[0].grad.to_dense()
    limit = DEFAULT_LIMITS[rule]
    of_sparse, of_dense = (RULES[rule](each, limit, NormHistory()) for each in (sparse, dense))
    assert sparse[0].grad.is_sparse
    assert sparse[0].grad.coalesce().indices().tolist() == [[1, 3]]
    torch.testing.assert_close(sparse[0].grad.to_dense(), dense[0].grad)
    torch.testing.assert_close(sparse[2].grad, dense[2].grad)
    torch.testing.assert_close(of_sparse.norm, of_dense.norm)
    assert bool(of_sparse.fired) == bool(of_dense.fired)


def test_a_sparse_gradient_that_is_not_finite_is_named() -> None:
    """As any other."""
    parameter = Parameter(torch.zeros(4, 2))
    parameter.grad = torch.sparse_coo_tensor(
        torch.tensor([[2]]), torch.tensor([[1.0, math.nan]]), (4, 2), check_invariants=True
    )
    found = non_finite([("table", parameter)])
    assert found is not None
    assert found.startswith("gradient of table")
