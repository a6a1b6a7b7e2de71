"""docs/softmax.md keeps its word: every block of code runs, every plot it shows is there and is made by its script."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
import torch

from training.clipping import DEFAULT_LIMITS

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "softmax.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
IMAGES = re.findall(r"!\[[^]]+\]\((images/[^)]+)\)", PAGE)
QUICK_PLOTS = ("jacobian", "starvation", "saturation", "reachable")
"""Those that need no training run and measure no time."""


def section_of(block: str) -> str:
    """The heading above a block, as its name in the test report."""
    return str(re.findall(r"^#+ (.*)$", PAGE[: PAGE.index(block)], flags=re.MULTILINE)[-1])


@pytest.fixture(scope="module")
def plots() -> ModuleType:
    spec = importlib.util.spec_from_file_location("softmax_plots", DOCS / "plots" / "softmax.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)  # A dataclass looks its module up there.
        spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("block", BLOCKS, ids=section_of)
def test_the_code_of_the_page_runs(block: str) -> None:
    """By itself, in a namespace of its own, and it proves something: it holds at least one assertion."""
    assert "assert " in block
    torch.manual_seed(0)
    exec(compile(block, "softmax.md", "exec"), {"__name__": "softmax"})  # noqa: S102 - the page's own code is the test


def test_the_code_covers_every_claim() -> None:
    """A page that lost its blocks would pass the test above."""
    assert len({section_of(block) for block in BLOCKS}) >= 10


def test_every_plot_of_the_page_is_there(plots: ModuleType) -> None:
    """Shown, in the repository, small, and known to the script that makes it; none is left over."""
    assert all(0 < (DOCS / image).stat().st_size < 200_000 for image in IMAGES)
    made = {f"images/softmax-{name}.svg" for name in plots.PLOTS}
    assert made == {image for image in IMAGES if "/softmax-" in image}


@pytest.mark.parametrize("name", QUICK_PLOTS)
def test_a_plot_is_drawn_from_a_calculation(plots: ModuleType, name: str) -> None:
    """The script draws it, with a title or label on every axis."""
    with mpl.rc_context({"backend": "Agg"}):
        figure = plots.PLOTS[name]()
    assert all(axes.get_xlabel() for axes in figure.axes)
    plt.close(figure)


def test_the_table_of_rules_is_complete() -> None:
    """Every rule with its default limit."""
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([\d.]+) \|", PAGE, flags=re.MULTILINE))
    assert {rule: float(limit) for rule, limit in rows.items()} == dict(DEFAULT_LIMITS)
