"""One process that evaluates an untrained vae3d on synthetic scans, and tells how long it took and what memory."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from uadbench import atlas
from uadbench.allocator import keep_freed_memory
from uadbench.batches import Batches
from uadbench.evaluation import Evaluator, score_scans
from uadbench.models.checkpoint import build_model
from uadbench.protocol import Protocol, load_protocol
from uadbench.testset import SimulatedCases
from uadbench.types import Scan

CPU = torch.device("cpu")
VALIDATION = 34


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


def brains(protocol: Protocol, count: int) -> list[Scan]:
    """Blurred noise in the shape of a brain: nothing here looks at what is in it."""
    brain = atlas.brain_mask(protocol.lattice)
    rng = np.random.default_rng(0)
    scans = []
    for number in range(count):
        field = ndimage.gaussian_filter(rng.standard_normal(brain.shape, dtype=np.float32), 2)
        data = (brain * (1.2 + 0.2 * field / field.std())).astype(np.float32)
        extent = (float(data.min()), float(data.max()))
        scans.append(Scan(f"sub-{number}", "ses-M000", data, protocol.lattice.affine, extent))
    return scans


def main(name: str, scans: str, dementias: str) -> None:
    """Evaluate under a protocol; the first scan is not timed. Prints JSON."""
    keep_freed_memory()
    protocol = load_protocol(name)
    chosen = protocol.testsets.anomalies[: int(dementias)]
    protocol = protocol.model_copy(update={"testsets": protocol.testsets.model_copy(update={"anomalies": chosen})})
    everybody = brains(protocol, VALIDATION + 1 + int(scans))
    intensities = [protocol.intensity_of(scan.extent) for scan in everybody[:VALIDATION]]
    validation = Batches(everybody[:VALIDATION], intensities, protocol.training.batch_size, 0)
    model = build_model("vae3d", protocol.lattice, {"width": 16} if name == "quick" else {}, 0).eval()
    cases = SimulatedCases(protocol, everybody[VALIDATION:])
    memory = Memory()
    memory.start()
    evaluator = Evaluator(model, cases, validation, CPU)
    rows = score_scans(evaluator, [])
    next(rows)
    started = time.perf_counter()
    for _ in rows:
        pass
    evaluation = time.perf_counter() - started
    batches = [
        evaluator._batch([case.altered for case in chunk], scan)
        for scan in cases.scans[1:2]
        for chunk in evaluator._chunks(scan)
    ]
    forward = []
    with torch.no_grad():
        for _ in range(3):
            started = time.perf_counter()
            for batch in batches:
                model.reconstruct(batch)
            forward.append(time.perf_counter() - started)
    seconds = sorted(forward)[1] * int(scans)
    print(json.dumps({"evaluation_s": evaluation, "forward_s": seconds, "memory_mib": memory.peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
