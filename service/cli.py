"""The subcommands `clipmax serve` and `clipmax verify`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from clipmax.cli import DONE, Command
from clipmax.manifest import MANIFEST_FILE
from clipmax.refusal import Refusal
from clipmax.repository import Repository
from service.settings import Settings, add_flags, flags_of


def _serve(arguments: argparse.Namespace) -> int:
    settings = Settings.read(os.environ, flags_of(arguments))
    if settings.workers > 1:
        from service import workers

        return workers.serve(settings)
    from service import server  # onnxruntime and FastAPI take a second that `clipmax --help` need not wait for

    return server.serve(settings)


def _configure_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, metavar="PATH", help="a version's folder, a model's, or the models folder")


def _verify(arguments: argparse.Namespace) -> int:
    """Check versions exactly as the service would when it loads them; the first refusal ends it."""
    from clipmax import manifest
    from service.engine.providers import Execution
    from service.engine.session import Session

    for folder in _version_folders(arguments.path):
        session = Session.load(folder, manifest.load(folder), Execution())
        found = session.manifest
        print(f"ok {folder}: {len(found.files)} files, {len(found.labels)} labels, {len(found.golden)} golden examples")
    return DONE


def _version_folders(path: Path) -> Iterator[Path]:
    """The version folders at or below a path, which may be one, a model's folder or the models folder.

    Raises:
        Refusal: there is none.
    """
    if (path / MANIFEST_FILE).exists() or path.name.isdecimal():
        folders = [path.resolve()]
    else:
        folders = [*_of_model(path.resolve()), *_of_models(path.resolve())]
    if not folders or not path.is_dir():
        raise Refusal(path, "folder", expected="a published version in it", found="none")
    yield from folders


def _of_model(folder: Path) -> list[Path]:
    repository = Repository(folder.parent)
    return [repository.folder(folder.name, version) for version in repository.versions(folder.name)]


def _of_models(root: Path) -> list[Path]:
    return [folder for name in Repository(root).names() for folder in _of_model(root / name)]


SERVE = Command(help="serve the published models over HTTP", configure=add_flags, run=_serve)
VERIFY = Command(help="check published versions as the service would", configure=_configure_verify, run=_verify)
