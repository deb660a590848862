"""Why a GPU gets a whole run: `python benchmarks/grain.py` measures training steps and says what follows from them.

Each step is measured in a process of its own: under `quick`, under `paper`, and on the paper's grid at 1 mm. Four
minutes on two cores, with 11 GB of memory; a GPU is used where there is one.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

GIB = 2**30
AT_LEAST_S = 2.0
"""Steps are timed for so long, and three of them at least."""

WARM_UP = 2
"""Steps before memory is read, and as many before steps are timed."""

SCANS = 24
"""Scans a step, in the paper."""

SETTINGS: tuple[dict[str, Any], ...] = (
    {"protocol": "quick", "precision": "bf16", "batches": (24, 3)},
    {"protocol": "paper", "precision": "float32", "batches": (24, 3)},
    {"protocol": "paper", "precision": "bf16", "batches": (24, 3)},
    {"protocol": "paper", "precision": "float32", "batches": (4, 2), "halvings": 1},
    {"protocol": "paper", "precision": "bf16", "batches": (4, 2), "halvings": 1},
)
"""Two batch sizes of each, whose difference tells what one more scan takes; `halvings` of the voxels' side."""


@dataclass(frozen=True)
class Step:
    """A training step of one batch size; bytes and seconds. `held`: weights, gradients, what the optimiser keeps."""

    grid: str
    device: str
    precision: str
    parameters: int
    held: int
    exchanged: int
    peak: int
    seconds: float


@dataclass(frozen=True)
class Grain:
    """What a model takes on one grid; `large` and `small` are steps of so many scans.

    `per_scan` is what one scan more adds to a step: bytes of memory, and seconds.
    """

    name: str
    large: Step
    small: Step
    sizes: tuple[int, int]

    @property
    def per_scan(self) -> tuple[float, float]:
        """(bytes, seconds)."""
        more = self.sizes[0] - self.sizes[1]
        return (self.large.peak - self.small.peak) / more, (self.large.seconds - self.small.seconds) / more

    def peak(self, scans: int) -> float:
        """The memory of a step of so many scans, bytes; beyond what was measured along a line."""
        return self.large.peak + (scans - self.sizes[0]) * self.per_scan[0]

    def seconds(self, scans: int) -> float:
        """Likewise its time."""
        return self.large.seconds + (scans - self.sizes[0]) * self.per_scan[1]

    @property
    def extended(self) -> bool:
        """Whether a step of SCANS scans was not measured, but follows from smaller ones."""
        return SCANS not in self.sizes

    def speedup(self, gpus: int, link: float) -> tuple[float, float, float]:
        """Of data-parallel training: how many times as fast, seconds to compute a share, seconds to exchange.

        The batch stays what it is and is divided. `link`: bytes a second between two neighbours of a ring, on which
        each GPU sends 2 (n - 1) / n times the gradients (Patarasuk and Yuan 2009, J Parallel Distrib Comput 69:117).
        """
        computing = self.seconds(math.ceil(SCANS / gpus))
        exchanging = 2 * (gpus - 1) / gpus * self.large.exchanged / link
        return self.seconds(SCANS) / (computing + exchanging), computing, exchanging


def measure(model: str, device: str, protocol: str, precision: Any, scans: int, halvings: int = 0) -> Step:
    """Train some steps on noise in this process, which must be new."""
    import torch

    from uadbench.models.checkpoint import build_model
    from uadbench.models.precision import available, computing_in
    from uadbench.protocols.schema import load_protocol
    from uadbench.registry import models
    from uadbench.runtime.memory import keep_freed_memory
    from uadbench.types import Batch, Grid

    place = torch.device(device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
    rules = load_protocol(protocol)
    x, y, z = (n << halvings for n in rules.grid.shape)
    grid = Grid((x, y, z), rules.grid.voxel_mm / 2**halvings, rules.grid.origin)
    computed_in = available(precision, place)
    before = resident("VmRSS")
    network = build_model(model, grid, models.get(model).recipes.get(rules.training.recipe, {}), seed=0).to(place)
    images = torch.rand(scans, 1, *grid.shape, generator=torch.Generator().manual_seed(0)).to(place)
    batch = Batch(images, torch.full((scans,), 70.0).to(place), torch.zeros(scans).to(place), list(range(scans)))
    network.prepare([batch])
    network.train()
    optimisers = network.optimisers()

    def step() -> float:
        started = time.perf_counter()
        losses = network.losses(batch)
        while True:
            with computing_in(computed_in, place):
                found = next(losses, None)
            if found is None:
                break
            name, loss = found
            optimisers[name].zero_grad(set_to_none=True)
            loss.backward()
            optimisers[name].step()
        if place.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    for _ in range(WARM_UP):
        step()
    peak = torch.cuda.max_memory_allocated() if place.type == "cuda" else resident("VmHWM") - before
    keep_freed_memory()  # as a run does, but memory that is kept unused is none that a step needs
    for _ in range(WARM_UP):
        step()
    taken: list[float] = []
    while len(taken) < 3 or sum(taken) < AT_LEAST_S:
        taken.append(step())
    tensors = [*network.parameters(), *network.buffers(), *(p.grad for p in network.parameters() if p.grad is not None)]
    kept = [slot for o in optimisers.values() for slots in o.state.values() for slot in slots.values()]
    tensors += [slot for slot in kept if isinstance(slot, torch.Tensor)]
    what = torch.cuda.get_device_name() if place.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    return Step(
        grid=str(grid),
        device=what,
        precision=computed_in,
        parameters=sum(p.numel() for p in network.parameters()),
        held=sum(t.numel() * t.element_size() for t in tensors),
        exchanged=sum(p.numel() * p.element_size() for p in network.parameters() if p.grad is not None),
        peak=peak,
        seconds=statistics.median(taken),
    )


def resident(what: str) -> int:
    """Memory of this process, bytes: VmRSS now, VmHWM at most so far (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(next(line for line in status.splitlines() if line.startswith(what)).split()[1])


def measured_alone(**setting: Any) -> Step:
    """`measure` in a new process."""
    command = [sys.executable, __file__, "--step", json.dumps(setting)]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Step(**json.loads(answer.splitlines()[-1]))


def grains(model: str, device: str) -> list[Grain]:
    """All of SETTINGS, measured."""
    found = []
    for setting in SETTINGS:
        sizes = setting["batches"]
        alone = {key: value for key, value in setting.items() if key != "batches"}
        steps = [measured_alone(model=model, device=device, scans=size, **alone) for size in sizes]
        name = "1 mm" if "halvings" in setting else setting["protocol"]
        found.append(Grain(name, *steps, sizes=sizes))
        told = f"{name}, {steps[0].precision}: {steps[0].seconds:.3g} s a step of {sizes[0]} scans"
        print(told, file=sys.stderr, flush=True)
    return found


def table(found: list[Grain]) -> list[str]:
    """A line for each grid and precision."""
    head = (
        f"{'':6}{'grid':24}{'computed in':>12}{'parameters':>13}{'held, GiB':>11}{'a scan, GiB':>13}"
        f"{f'{SCANS} scans, GiB':>15}{'a step, s':>11}{'a scan, s':>11}{'gradients, MB':>15}"
    )
    lines = [head]
    for each in found:
        step, mark = each.large, "*" if each.extended else " "
        lines.append(
            f"{each.name:6}{step.grid:24}{step.precision:>12}{step.parameters:13,}{step.held / GIB:11.2f}"
            f"{each.per_scan[0] / GIB:13.3f}{each.peak(SCANS) / GIB:14.1f}{mark}"
            f"{each.seconds(SCANS):10.3g}{mark}{each.seconds(SCANS) / SCANS:11.3g}"
            f"{step.exchanged / 1e6:15,.0f}"
        )
    if any(each.extended for each in found):
        lines.append("* from steps of 2 and 4 scans, along a line")
    lines.append("held: weights, gradients, and what the optimiser keeps; a scan: what one scan more adds to a step")
    return lines


def conclusions(found: list[Grain], card: float, gpus: int, link: float) -> list[str]:
    """What follows for a card of so many bytes, so many of them, and links of so many bytes a second."""
    paper, fine = (next(grain for grain in reversed(found) if grain.name == name) for name in ("paper", "1 mm"))
    return [
        f"A run fits. Under paper it takes {paper.peak(SCANS) / GIB:.1f} GiB: a card of {card / GIB:.0f} GiB holds "
        f"{int(card / paper.peak(SCANS))} of them.",
        _enough(paper, gpus),
        _divided(paper, gpus, link),
        _finer(paper, fine, card, gpus, link),
    ]


def _enough(paper: Grain, gpus: int) -> str:
    """How many runs a whole board has, and how long one of this model takes."""
    from uadbench.cohorts.opening import open_cohort
    from uadbench.protocols.schema import load_protocol
    from uadbench.registry import models
    from uadbench.runs.fold_data import plan_fold

    board = load_protocol("paper-cv")
    count, folds, seeds = len(models.names()), len(board.runs.folds), len(board.runs.seeds)
    scans = len(plan_fold(open_cohort("phantom"), board, 0).rows["train"])
    steps = board.training.epochs * math.ceil(scans / board.training.batch_size)
    runs = count * folds * seeds
    return (
        f"There are runs enough. paper-cv has {count} models x {folds} folds x {seeds} seeds = {runs}, which need "
        f"nothing of each other: {runs / gpus:.0f} for each of {gpus} GPUs. One of this model trains for {steps:,} "
        f"steps, here {steps * paper.seconds(SCANS) / 3600:.1f} hours."
    )


def _divided(paper: Grain, gpus: int, link: float) -> str:
    """What data-parallel training of the same batch would give."""
    times, computing, exchanging = paper.speedup(gpus, link)
    share = math.ceil(SCANS / gpus)
    return (
        f"A divided batch gains less. Each of {gpus} GPUs would compute {share} of {SCANS} scans, in {computing:.2g} s "
        f"instead of {paper.seconds(SCANS):.2g} s, and exchange {paper.large.exchanged / 1e6:,.0f} MB of gradients, in "
        f"{1e3 * exchanging:.0f} ms at {link / 1e9:g} GB/s: {times:.1f} times as fast as one, where {gpus} runs side "
        f"by side are {gpus} times. On a device {computing / exchanging:.0f} times as fast as this one the exchange "
        f"alone takes as long as the computing. And batch norm would see {share} scans: another recipe."
    )


def _finer(paper: Grain, fine: Grain, card: float, gpus: int, link: float) -> str:
    """What changes at 1 mm."""
    needed, (times, _, exchanging) = fine.peak(SCANS), fine.speedup(gpus, link)
    at_once = max(1, int((card - fine.peak(0)) / fine.per_scan[0]))
    divided = (
        f"a divided batch would exchange {fine.large.exchanged / 1e9:.1f} GB a step, in {1e3 * exchanging:.0f} ms, and "
        f"be {times:.1f} times as fast on {gpus} GPUs."
    )
    held = (
        "holds: the grain stays, though " + divided
        if needed <= card
        else f"does not hold: {at_once} scans at once, with gradients summed over {math.ceil(SCANS / at_once)} passes, "
        f"or activations computed twice (checkpointing), or " + divided
    )
    return (
        f"At 1 mm a scan takes {fine.per_scan[0] / paper.per_scan[0]:.1f} times the memory, weights and optimiser take "
        f"{fine.large.held / paper.large.held:.1f} times; {SCANS} scans need {needed / GIB:.0f} GiB, which a card of "
        f"{card / GIB:.0f} GiB {held}"
    )


def main() -> None:
    """Measure, print the table and what follows, or all of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="vae3d")
    parser.add_argument("--device", default="auto", help="'auto', 'cpu', 'cuda'")
    parser.add_argument("--card", type=float, default=80, metavar="GIB", help="memory of a GPU to reckon with")
    parser.add_argument("--gpus", type=int, default=8, help="how many of them")
    parser.add_argument("--link", type=float, default=25, metavar="GB/S", help="between two of them (PCIe 4.0 x16: 25)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--step", type=json.loads, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.step is not None:
        print(json.dumps(asdict(measure(**told.step))))
        return
    found = grains(told.model, told.device)
    said = conclusions(found, told.card * GIB, told.gpus, told.link * 1e9)
    if told.json:
        print(json.dumps({"grains": [asdict(each) for each in found], "conclusions": said}, indent=1))
        return
    print(f"{told.model} on {found[0].large.device}")
    print("\n".join([*table(found), "", *said]))


if __name__ == "__main__":
    main()
