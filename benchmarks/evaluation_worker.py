"""One process that evaluates an untrained model on synthetic scans, and tells how long it took and what memory."""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from uadbench.cohorts.batches import Batches
from uadbench.evaluation.chunks import chunks_of
from uadbench.evaluation.evaluator import Evaluator, score_scans
from uadbench.models.checkpoint import build_model
from uadbench.protocols.schema import Protocol, load_protocol
from uadbench.registry import options_of
from uadbench.runtime.memory import keep_freed_memory
from uadbench.simulation.testset import SimulatedCases
from uadbench.space import atlas
from uadbench.types import Scan

CPU = torch.device("cpu")
VALIDATION = 34
DIFFERENT = 64


class Memory(threading.Thread):
    """Watches the process's own memory, mapped files left out, and keeps the most, in MiB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0.0

    def run(self) -> None:
        """Look a hundred times a second."""
        while True:
            status = Path("/proc/self/status").read_text(encoding="utf-8")
            held = next(line for line in status.splitlines() if line.startswith("RssAnon"))
            self.peak = max(self.peak, int(held.split()[1]) / 1024)
            time.sleep(0.01)


def brains(protocol: Protocol, count: int, folder: Path) -> list[Scan]:
    """Blurred noise in the shape of a brain, in a mapped file as real scans are; from the 64th on it comes again."""
    brain = atlas.brain_mask(protocol.lattice)
    rng = np.random.default_rng(0)
    volumes = np.memmap(folder / "scans", np.float32, "w+", shape=(count, *brain.shape))
    scans = []
    for number, data in enumerate(volumes):
        if number < DIFFERENT:
            field = ndimage.gaussian_filter(rng.standard_normal(brain.shape, dtype=np.float32), 2)
            data[:] = brain * (1.2 + 0.2 * field / field.std())
        else:
            data[:] = volumes[number % DIFFERENT]
        extent = (float(data.min()), float(data.max()))
        scans.append(Scan(f"sub-{number}", "ses-M000", data, protocol.lattice.affine, extent))
    return scans


def chosen(protocol: str, dementias: int = 6, severities: int = 9) -> Protocol:
    """A protocol with fewer test sets than it has; the grid of `smoke` gets the test sets of `quick`."""
    grid, sets = load_protocol(protocol), load_protocol("quick").testsets
    few = sets.model_copy(
        update={"anomalies": sets.anomalies[:dementias], "severities": sets.severities[9 - severities :]}
    )
    return grid.model_copy(update={"testsets": few})


def main(protocol: str, scans: int, model: str = "vae3d", **test_sets: Any) -> None:
    """Evaluate under a protocol; the first scan is not timed. Prints JSON."""
    keep_freed_memory()
    rules = chosen(protocol, **test_sets)
    options = {"width": 32 if protocol == "paper" else 16}
    with tempfile.TemporaryDirectory() as folder:
        everybody = brains(rules, VALIDATION + 1 + scans, Path(folder))
        intensities = [rules.intensity_of(scan.extent) for scan in everybody[:VALIDATION]]
        validation = Batches(everybody[:VALIDATION], intensities, rules.training.batch_size, 0)
        network = build_model(model, rules.lattice, {}, 0)
        if "width" in options_of(type(network)):
            network = build_model(model, rules.lattice, options, 0)
        elif not network.learns_by_gradients:
            network.fit(validation)
        cases = SimulatedCases(rules, everybody[VALIDATION:])
        memory = Memory()
        memory.start()
        evaluator = Evaluator.calibrated(network, cases, validation, CPU)
        rows = score_scans(evaluator, [])
        next(rows)
        started = time.perf_counter()
        for _ in rows:
            pass
        evaluation = time.perf_counter() - started
        forward = forward_seconds(evaluator, cases.scans[1]) * scans
    print(json.dumps({"evaluation_s": evaluation, "forward_s": forward, "memory_mib": memory.peak}))


def forward_seconds(evaluator: Evaluator, scan: Scan) -> float:
    """How long the model alone takes for a scan's cases, in the same batches; the median of three."""
    chunks = chunks_of(evaluator.cases.cases(scan), evaluator.protocol.lattice.size)
    batches = [evaluator.batch([case.altered for case in chunk], scan) for chunk in chunks]
    taken = []
    with torch.no_grad():
        for _ in range(3):
            started = time.perf_counter()
            for batch in batches:
                evaluator.model.anomaly_map(batch)
            taken.append(time.perf_counter() - started)
    return sorted(taken)[1]


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
