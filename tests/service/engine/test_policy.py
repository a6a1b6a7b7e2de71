"""The setting of versions → what a model keeps."""

from __future__ import annotations

import pytest

from service.engine.policy import Policy, Rule

FOUND = [1, 2, 3, 5]


@pytest.mark.parametrize(
    ("text", "rule", "candidates"),
    [
        ("latest", Rule(1), [5, 3, 2, 1]),
        ("latest:2", Rule(2), [5, 3, 2, 1]),
        ("all", Rule(None), [5, 3, 2, 1]),
        ("3", Rule(None, frozenset({3})), [3]),
        ("3+7+1", Rule(None, frozenset({1, 3, 7})), [3, 1]),
    ],
)
def test_a_rule_says_what_to_try_and_how_many_to_keep(text: str, rule: Rule, candidates: list[int]) -> None:
    """Newest first; pinned ones that are not there are passed over."""
    assert Policy.parse(text).of("any") == rule
    assert rule.candidates(FOUND) == candidates


def test_a_model_may_have_a_rule_of_its_own() -> None:
    """The others keep the first one, which is `latest` where only models are named."""
    policy = Policy.parse("latest:2, digits=all ,words=3+7")
    assert (policy.of("other"), policy.of("digits"), policy.of("words")) == (
        Rule(2),
        Rule(None),
        Rule(None, frozenset({3, 7})),
    )
    assert Policy.parse("digits=all").of("other") == Rule(1)


@pytest.mark.parametrize(
    "text", ["", "newest", "latest:0", "latest:-1", "0", "1+", "1+01", "all,all", "a/b=all", "=all"]
)
def test_anything_else_is_refused(text: str) -> None:
    """With the whole syntax in the message."""
    with pytest.raises(ValueError, match="RULE"):
        Policy.parse(text)
