"""`CLIPMAX_VERSIONS` → which versions of a model are to serve.

latest                      the newest valid version of each model
latest:2                    the newest two
all                         every valid version
latest,digits=latest:2      as the first, but two of the model `digits`
latest,digits=3+7           and of `digits` just versions 3 and 7
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from clipmax.manifest import NAME_PATTERN

_RULE = re.compile(
    r"(?P<all>all)|latest(?::(?P<count>[1-9][0-9]{0,8}))?|(?P<pinned>[1-9][0-9]{0,8}(?:\+[1-9][0-9]{0,8})*)"
)
_EXPECTED = "RULE or RULE,NAME=RULE,… with RULE one of latest, latest:N, all, or numbers as 3+7"


@dataclass(frozen=True, slots=True)
class Rule:
    """What one model keeps: the newest `count` valid ones (None: all) among `pinned`, if that is not empty."""

    count: int | None = 1
    pinned: frozenset[int] = frozenset()

    def candidates(self, found: Sequence[int]) -> list[int]:
        """The versions to try, newest first."""
        return sorted((number for number in found if not self.pinned or number in self.pinned), reverse=True)


@dataclass(frozen=True, slots=True)
class Policy:
    """A rule for every model, and those of models that have one of their own."""

    rule: Rule = Rule()
    models: Mapping[str, Rule] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Policy:
        """The policy in a setting.

        Raises:
            ValueError: what would have been right.
        """
        first, *others = (part.strip() for part in text.split(","))
        if "=" in first:
            first, others = "latest", [first, *others]
        return cls(_rule(first), MappingProxyType(dict(_named(part) for part in others)))

    def of(self, name: str) -> Rule:
        return self.models.get(name, self.rule)


def _named(part: str) -> tuple[str, Rule]:
    name, equals, rule = part.partition("=")
    if not equals or re.match(NAME_PATTERN, name) is None:
        raise ValueError(_EXPECTED)
    return name, _rule(rule)


def _rule(text: str) -> Rule:
    match = _RULE.fullmatch(text)
    if match is None:
        raise ValueError(_EXPECTED)
    if match["pinned"] is not None:
        return Rule(None, frozenset(int(number) for number in match["pinned"].split("+")))
    return Rule(None if match["all"] else int(match["count"] or 1))
