"""One TOML file → one frozen run, or a refusal that names file, key, expected and found."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from clipmax.refusal import Refusal
from tests.training import tiny
from training import config, run_file

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("override", "field", "expected", "found"),
    [
        ("fit.epoch=3", "fit.epoch", "a known key (fit.epochs?)", "an unknown one"),
        ("optimiser.name=sgd", "optimiser", "a known key (optimizer?)", "an unknown one"),
        ("data.train_image=x", "data.train_image", "a known key (data.train_images?)", "an unknown one"),
        ("qqqq=1", "qqqq", "a known key", "an unknown one"),
        ("fit.epochs=0", "fit.epochs", "greater than or equal to 1", "0"),
        ("fit.epochs='3'", "fit.epochs", "a valid integer", "'3'"),
        ("fit.epochs=3.0", "fit.epochs", "a valid integer", "3.0"),
        ("fit.epochs=true", "fit.epochs", "a valid integer", "True"),
        ("fit=3", "fit", "an object", "3"),
        ("seed=-1", "seed", "greater than or equal to 0", "-1"),
        ("threads=0", "threads", "greater than or equal to 1", "0"),
        ("name=../up", "name", "String should match pattern", "'../up'"),
        ("name=3", "name", "a valid string", "3"),
        ("model.hidden=[8, 0]", "model.hidden.1", "greater than or equal to 1", "0"),
        ("model.hidden=8", "model.hidden", "a valid array", "8"),
        ("model.activation=relu6", "model.activation", "'relu', 'gelu', 'silu' or 'tanh'", "'relu6'"),
        ("model.dropout=1.0", "model.dropout", "less than 1", "1.0"),
        ("optimizer.learning_rate=nan", "optimizer.learning_rate", "a finite number", "nan"),
        ("optimizer.learning_rate=inf", "optimizer.learning_rate", "a finite number", "inf"),
        ("optimizer.learning_rate=0", "optimizer.learning_rate", "greater than 0", "0"),
        ("optimizer.learning_rate=2020-01-01", "optimizer.learning_rate", "a valid number", "'2020-01-01'"),
        ("data.validation=0", "data.validation", "greater than 0", "0"),
        ("data.validation=1", "data.validation", "less than 1", "1"),
        ("data.source=csv", "data.source", "'idx'", "'csv'"),
        ("data.labels=['one']", "data.labels", "at least 2 items", "['one']"),
        ("data.train_images=3", "data.train_images", "a valid string", "3"),
        ("data.sha256={x = 'ab'}", "data.sha256.x", "match pattern", "'ab'"),
        ("clipping.rule=norms", "clipping.rule", "agc, autoclip, layer, none, norm, value, zclip", "'norms'"),
        ("clipping.limit=0", "clipping.limit", "greater than 0", "0"),
        ("loss.name=hinge", "loss.name", "one of cross_entropy", "'hinge'"),
        ("optimizer.name=adamx", "optimizer.name", "one of adam, adamw", "'adamx'"),
        ("schedule.name=step", "schedule.name", "one of constant, cosine", "'step'"),
        ("images.augmentation.shift=1.5", "images.augmentation.shift", "less than or equal to 1", "1.5"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused(
    override: str, field: str, expected: str, found: str, tmp_path: Path
) -> None:
    """With the file, the key as the file spells it, what belongs there and what was there."""
    path = tiny.write(tmp_path)
    with pytest.raises(Refusal) as caught:
        run_file.read(path, [override])
    refusal = caught.value
    assert (refusal.where, refusal.field) == (str(path), field)
    assert expected in refusal.expected
    assert refusal.found == found


def test_a_percentile_above_100_is_refused(tmp_path: Path) -> None:
    """What a limit means depends on the rule, so the two are checked together."""
    with pytest.raises(Refusal, match=r"clipping.limit: expected a limit that autoclip can use, found 101"):
        run_file.read(tiny.write(tmp_path), ["clipping.rule=autoclip", "clipping.limit=101"])


@pytest.mark.parametrize("override", ["fit.epochs", "=3", "name.x=3", ""])
def test_an_override_that_is_none_is_refused(override: str, tmp_path: Path) -> None:
    """It must be key=value, and the key must lead through sections."""
    with pytest.raises(Refusal) as caught:
        run_file.read(tiny.write(tmp_path), [override])
    assert caught.value.where == "--set"


@pytest.mark.parametrize(
    ("content", "expected"), [(b"name = ", "TOML in UTF-8"), (b'name = "\xff"', "TOML in UTF-8"), (None, "a readable")]
)
def test_a_file_that_is_no_toml_is_refused(content: bytes | None, expected: str, tmp_path: Path) -> None:
    """Missing, broken or not UTF-8."""
    path = tmp_path / "run.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Refusal) as caught:
        run_file.read(path)
    assert (caught.value.where, caught.value.field) == (str(path), "file")
    assert expected in caught.value.expected


@pytest.mark.parametrize("missing", ["name", "data.source", "data.train_images"])
def test_a_missing_key_is_refused(missing: str, tmp_path: Path) -> None:
    """What has no default must be given."""
    path = tiny.write(tmp_path)
    key = missing.rpartition(".")[2]
    path.write_text("".join(line for line in tiny.RUN.splitlines(keepends=True) if not line.startswith(f"{key} =")))
    with pytest.raises(Refusal) as caught:
        run_file.read(path)
    assert (caught.value.field, caught.value.found) == (missing, "nothing")


def test_data_lies_beside_the_file_and_output_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a run can be started from anywhere; absolute paths stay as they are."""
    tiny.write(tmp_path / "runs" / "here")
    monkeypatch.chdir(tmp_path)
    run = run_file.read(Path("runs/here/run.toml"), ["data.test_labels=/elsewhere/labels"])
    assert isinstance(run.data, config.IdxSource)
    assert run.data.train_images == tmp_path / "runs" / "here" / "train-images"
    assert run.data.test_labels == Path("/elsewhere/labels")
    assert (run.models, run.runs) == (Path("models"), Path("runs"))


def test_overrides_are_toml_or_strings(tmp_path: Path) -> None:
    """The last one wins, and sections that the file does not have are made."""
    overrides = ["schedule.name=cosine", "fit.epochs=2", "fit.epochs=4", "model.hidden=[]", "loss.name='squared_error'"]
    run = run_file.read(tiny.write(tmp_path), overrides)
    assert (run.schedule.name, run.fit.epochs, run.model.hidden) == ("cosine", 4, ())
    assert run.loss.name == "squared_error"


def test_a_run_is_frozen(tmp_path: Path) -> None:
    """Nothing changes it on its way."""
    run = tiny.read(tmp_path)
    with pytest.raises(ValidationError):
        run.fit.epochs = 99  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize("name", ["recommended", "article"])
def test_the_shipped_runs_can_be_read(name: str) -> None:
    """And every data file that they name has its checksum."""
    run = run_file.read(ROOT / "examples" / "mnist" / f"{name}.toml")
    assert isinstance(run.data, config.IdxSource)
    files = (run.data.train_images, run.data.train_labels, run.data.test_images, run.data.test_labels)
    assert {path.name for path in files} == set(run.data.sha256)
    assert all(path.is_file() for path in files)
    assert run.fit.epochs == 10


def _fields(section: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    """Dotted name and field of a section, and of the sections inside it; `data`, which has several forms, left out."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _fields(field.annotation, f"{prefix}{name}.")
        elif (prefix, name) != ("", "data"):
            yield f"{prefix}{name}", field


def test_every_field_is_documented_with_its_default_and_no_other() -> None:
    """In docs/training.md, a row each; those of `[data]` once for each kind of source that has them."""
    document = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    sources: tuple[type[BaseModel], ...] = config.SOURCES
    own = {name for source in sources for name, _ in _fields(source, "data.")}
    known = {name for name, _ in _fields(config.Run, "")} | own
    section = document.split("## All fields")[1]
    assert set(re.findall(r"^\| `([\w.]+)`", section, re.MULTILINE)) == known
    for name, field in [*_fields(config.Run, ""), *(each for source in sources for each in _fields(source, "data."))]:
        assert f"| `{name}` | {_default(field)} | " in section


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "none" if value is None else f"`{json.dumps(value, default=str, ensure_ascii=False)}`"
