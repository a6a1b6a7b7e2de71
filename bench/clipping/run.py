"""Which clipping rules rescue which bad set-ups, and what the usual MNIST run leaves a clip to do.

    python bench/clipping/run.py            # about five minutes on one core; writes README.md and two plots beside it

Its own loop on purpose: two epochs, no validation, no schedule, so that nothing but the clip can rescue a run.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from clipmax import idx
from training.clipping import RULES, NormHistory

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "examples" / "mnist"
BATCH = 128


@dataclass(frozen=True, kw_only=True)
class Regime:
    """How a run is set up; `scale` multiplies pixels that are 0..1."""

    name: str
    optimizer: str = "sgd"
    rate: float = 0.5
    momentum: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Clip:
    rule: str = "none"
    limit: float = 1.0
    after_step: bool = False

    @property
    def name(self) -> str:
        if self.rule == "none":
            return "none"
        return f"{self.rule} {self.limit:g}" + (" after step" if self.after_step else "")


@dataclass(kw_only=True)
class Trace:
    """What one run showed, step by step and at its end."""

    norms: list[float] = field(default_factory=list)
    largest: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    fired: int = 0
    accuracy: float = math.nan
    weights: Tensor = field(default_factory=lambda: torch.zeros(0))

USUAL = Regime(name="usual: Adam 1e-3, pixels 0..1", optimizer="adam", rate=1e-3)
HARSH = (
    Regime(name="SGD 0.5"),
    Regime(name="SGD 0.5, momentum 0.9", momentum=0.9),
    Regime(name="SGD 0.1 on raw 0..255", rate=0.1, scale=255.0),
    Regime(name="SGD 0.5 on raw 0..255", scale=255.0),
    Regime(name="SGD 0.01 on raw 0..255", rate=0.01, scale=255.0),
    Regime(name="Adam 1e-3 on raw", optimizer="adam", rate=1e-3, scale=255.0),
    Regime(name="Adam 1e-1 on raw", optimizer="adam", rate=1e-1, scale=255.0),
    Regime(name="SGD 2", rate=2.),
)


def images(part: str, scale: float) -> Tensor:
    pixels = torch.from_numpy(idx.read(DATA / f"{part}-images-idx3-ubyte.gz"))
    return pixels.flatten(1).float() / 255 * scale


def labels(part: str) -> Tensor:
    return torch.from_numpy(idx.read(DATA / f"{part}-labels-idx1-ubyte.gz")).long()
def mlp():
    return nn.Sequential(nn.Linear(784,256),nn.ReLU(),nn.Linear(256,128),nn.ReLU(),nn.Linear(128,10))
def run(regime,clip,seed,epochs,data):
    x,y,tx,ty=data
    torch.manual_seed(seed); m=mlp(); ps=list(m.parameters())
    opt=torch.optim.Adam(ps,lr=regime.rate) if regime.optimizer=="adam" else torch.optim.SGD(ps,lr=regime.rate,momentum=regime.momentum)
    h=NormHistory(); tr=Trace(); bad=False
    for e in range(epochs):
        for b in torch.randperm(len(x)).split(BATCH):
            l=cross_entropy(m(x[b]),y[b]); opt.zero_grad(); l.backward()
            if clip.after_step: opt.step()
            c=RULES[clip.rule](ps,clip.limit,h)
            if not clip.after_step: opt.step()
            tr.norms.append(c.norm.item()); tr.largest.append(c.largest.item()); tr.losses.append(l.item()); tr.fired+=bool(c.fired)
            if not math.isfinite(tr.losses[-1]): bad=True; break
        if bad: break
    with torch.no_grad(): tr.accuracy=(m(tx).argmax(1)==ty).float().mean().item()
    return tr
if __name__=="__main__":
    torch.set_num_threads(1)
    x,y,tx,ty=images("train",1.),labels("train"),images("t10k",1.),labels("t10k")
    a=time.time(); tr=run(USUAL,Clip(rule="value"),0,1,(x,y,tx,ty)); print(time.time()-a, max(tr.largest),tr.fired,tr.accuracy,len(tr.norms),flush=True)
    for r in HARSH:
        d=(x*r.scale,y,tx*r.scale,ty)
        print(r.name,flush=True)
        for c in [Clip(),Clip(rule="value"),Clip(rule="value",limit=.01),Clip(rule="norm"),Clip(rule="agc",limit=.01),Clip(rule="agc",limit=.1)]:
            o=[run(r,c,s,1,d) for s in (0,1)]
            print("  ",c.name,[(round(t.accuracy,3),round(max(t.norms),1),round(t.fired/len(t.norms),2),len(t.norms)) for t in o],flush=True)
