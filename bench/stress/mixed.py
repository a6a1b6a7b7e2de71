"""Bad rows among good ones, from many clients at once."""

from __future__ import annotations

import argparse
import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from place import Found, started

from tests import artifacts


def mixed(folder: Path, arguments: argparse.Namespace) -> Found:
    """Every answer against the row's answer when it is alone; one request in ten has a bad row."""
    root = folder / "models"
    artifacts.publish(root)
    rows = artifacts.rows(500, seed=11)
    with started(root, folder) as running:
        count = asyncio.run(_ask_all(running.url, rows, arguments.batches))
    text = (
        f"{count['batches']:,} requests of 1 to 8 rows from 32 clients: {count['good']:,} answered, "
        f"{count['bad']:,} with a bad row refused; "
        f"{count['rows']:,} rows compared with their answer alone: {count['wrong']} wrong, "
        f"{count['unequal']} not equal bit for bit; {count['failed']} failed"
    )
    return text, not (count["wrong"] or count["failed"])


async def _ask_all(url: str, rows: list[list[float]], batches: int) -> dict[str, int]:
    count = dict.fromkeys(("batches", "good", "bad", "rows", "wrong", "unequal", "failed"), 0)
    limits = httpx.Limits(max_connections=32)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
        alone = [await _one(http, row) for row in rows]
        await asyncio.gather(
            *(_ask(http, rows, alone, batches=batches // 32, seed=seed, count=count) for seed in range(32))
        )
    return count


async def _one(http: httpx.AsyncClient, row: list[float]) -> Any:
    return (await http.post("/predict", json={"instances": [row]})).json()["predictions"][0]["top"]


BAD: tuple[Callable[[list[Any]], object], ...] = (
    lambda row: row.pop(),
    lambda row: row.__setitem__(3, "1.5"),
    lambda row: row.__setitem__(3, None),
    lambda row: row.__setitem__(3, [1]),
    lambda row: row.append(True),
)


async def _ask(
    http: httpx.AsyncClient,
    rows: list[list[float]],
    alone: list[Any],
    *,
    batches: int,
    seed: int,
    count: dict[str, int],
) -> None:
    chance = random.Random(seed)  # the same requests again
    for _ in range(batches):
        picked = [chance.randrange(len(rows)) for _ in range(chance.randint(1, 8))]
        instances: list[list[Any]] = [list(rows[index]) for index in picked]
        is_bad = chance.random() < 0.1
        if is_bad:
            chance.choice(BAD)(chance.choice(instances))
        answer = await http.post("/predict", json={"instances": instances})
        count["batches"] += 1
        if answer.status_code != (422 if is_bad else 200):
            count["failed"] += 1
            continue
        count["bad" if is_bad else "good"] += 1
        if not is_bad:
            _compare(answer.json()["predictions"], [alone[index] for index in picked], count)


def _compare(found: list[Any], expected: list[Any], count: dict[str, int]) -> None:
    for prediction, alone in zip(found, expected, strict=True):
        here = {one["label"]: one["probability"] for one in prediction["top"]}
        there = {one["label"]: one["probability"] for one in alone}
        count["rows"] += 1
        count["unequal"] += here != there
        count["wrong"] += here.keys() != there.keys() or any(abs(here[key] - there[key]) > 1e-6 for key in here)
