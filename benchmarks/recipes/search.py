"""Choose the recipe of every family on tuning lesions on healthy *validation* scans; killed, it continues.

    python benchmarks/recipes/search.py runs/recipes                      # all of trials.toml, one after the other
    python benchmarks/recipes/search.py runs/recipes --model vae3d       # one family; several may run side by side
    python benchmarks/recipes/search.py runs/recipes --table             # writes quick.csv, and nothing is trained

A trial trains under the protocol with a seed that no result uses. Its score is the mean average precision of the
standard map over the tuning lesions of the validation scans, of which one half is standardised with the healthy scans
of the other. No dementia, no `unseen` blob, no test scan and no patient is looked at.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from uadbench import registry
from uadbench.cohorts.batches import Batches
from uadbench.cohorts.opening import open_cohort
from uadbench.evaluation.evaluator import Evaluator
from uadbench.evaluation.inference import observe
from uadbench.metrics import localisation
from uadbench.models.base import Model
from uadbench.models.checkpoint import build_model
from uadbench.models.source import source_digest
from uadbench.protocols.schema import load_protocol
from uadbench.runs.fold_data import FoldData, plan_fold
from uadbench.runtime.files import content_hash, keyed_seed, write_json, write_text
from uadbench.runtime.memory import keep_freed_memory
from uadbench.runtime.terminal import TerminalProgress
from uadbench.simulation.testset import SimulatedCases
from uadbench.simulation.tuning import LesionTruths, tuning_cases
from uadbench.training.loop import train

HERE = Path(__file__).parent
CPU = torch.device("cpu")
SEED = 1000
"""Of no committed result."""


def trials(names: list[str] | None) -> list[tuple[str, dict[str, Any]]]:
    """Family and whole options of every trial in trials.toml."""
    told = tomllib.loads((HERE / "trials.toml").read_text(encoding="utf-8"))
    return [
        (name, told["fixed"].get(name, {}) | options)
        for name, tried in told["trials"].items()
        if names is None or name in names
        for options in tried
    ]


def fitted(name: str, options: dict[str, Any], fold_data: FoldData, progress: TerminalProgress) -> tuple[Model, float]:
    """A model trained as a run is, and how long it took."""
    section = fold_data.protocol.training
    model = build_model(name, fold_data.protocol.lattice, options, keyed_seed("weights", SEED))
    training, validation = (fold_data.batches(part, SEED, CPU) for part in ("train", "validation"))
    started = time.monotonic()
    if model.learns_by_gradients:
        with tempfile.TemporaryDirectory() as folder:
            state = Path(folder) / "state.safetensors"
            train(
                model,
                training,
                validation,
                epochs=section.epochs,
                patience=section.patience,
                state_file=state,
                progress=progress,
                precision=section.precision,
                save_every_s=math.inf,
            )
    else:
        torch.manual_seed(keyed_seed("fit", SEED))
        with torch.no_grad():
            model.fit(training)
    return model.eval(), time.monotonic() - started


def scores(model: Model, fold_data: FoldData) -> list[float]:
    """Average precision of every tuning lesion of the validation scans, each half standardised with the other."""
    whole = fold_data.batches("validation", SEED, CPU)
    truths = LesionTruths.of(fold_data.protocol, fold_data.names("test"))
    found = []
    for half in (0, 1):
        scans, others = whole.scans[half::2], whole.scans[1 - half :: 2]
        cases = SimulatedCases(fold_data.protocol, scans)
        apart = Batches(others, whole.intensities[1 - half :: 2], whole.batch_size, SEED)
        evaluator = Evaluator.calibrated(model, cases, apart, CPU)
        for scan in scans:
            tuning = list(tuning_cases(fold_data.protocol, [scan], truths))
            batch = evaluator.batch([case.altered for case in tuning], scan)
            maps = evaluator.calibration.standard_map(observe(model, batch).anomaly_map)
            for found_map, case in zip(maps, tuning, strict=True):
                truth = evaluator.calibration.truth_in_brain(case.truth)
                found.append(float(localisation.rank(found_map[None], truth).average_precision[0]))
    return found


def write_table(table: pd.DataFrame, protocol: str) -> None:
    """Every trial as CSV, and as the table of README.md, where the chosen ones are bold."""
    best = table.groupby("model")["ap"].transform("max")
    told = table.assign(options=[json.dumps(options) for options in table["options"]])
    write_text(HERE / f"{protocol}.csv", told.to_csv(index=False))
    lines = ["| model | options | AP, validation | train, s |", "|---|---|---|---|"]
    for row, top in zip(table.itertuples(), best, strict=True):
        options = ", ".join(f"{name} {value}" for name, value in row.options.items())  # type: ignore[union-attr]
        score = f"{row.ap:.3f}" if not row.failure else str(row.failure)
        lines.append(f"| {row.model} | {options} | {f'**{score}**' if row.ap == top else score} | {row.train_s} |")
    begin, end = "<!-- trials: begin -->", "<!-- trials: end -->"
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    head, tail = readme.partition(begin)[0], readme.partition(end)[2]
    write_text(HERE / "README.md", "\n".join([f"{head}{begin}", "", *lines, "", f"{end}{tail}"]))


def main() -> None:
    """Run what has not been run, then write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="where each finished trial is kept")
    parser.add_argument("--model", action="append", help="a family of trials.toml; may be repeated (default: all)")
    parser.add_argument("--protocol", default="quick")
    parser.add_argument("--table", action="store_true", help="write the table of finished trials, train nothing")
    given = parser.parse_args()
    protocol = load_protocol(given.protocol)
    progress = TerminalProgress()
    keep_freed_memory()
    fold_data = plan_fold(open_cohort(protocol.cohort), protocol, 0, progress)
    rows = []
    for name, options in trials(given.model):
        plugin = registry.models.get(name)
        source = source_digest(plugin, *plugin.parts(options))
        key = content_hash(name, options, [source], protocol.hash, fold_data.testset_recipe, SEED)
        file = given.folder / f"{name}-{key[:12]}.json"
        if not file.is_file() and not given.table:
            try:
                model, seconds = fitted(name, options, fold_data, progress)
                found = scores(model, fold_data)
                row = {"ap": round(float(np.mean(found)), 4), "train_s": round(seconds, 1), "failure": ""}
            except Exception as error:  # what one trial does must not stop the others, and is told in the table
                row = {"ap": None, "train_s": None, "failure": " ".join(str(error).split())}
            write_json(file, {"model": name, "options": options, **row})
        if file.is_file():
            rows.append(json.loads(file.read_text(encoding="utf-8")))
            print(rows[-1], flush=True)
    if given.model is None:
        write_table(pd.DataFrame(rows), protocol.name)


if __name__ == "__main__":
    main()
