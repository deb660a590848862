"""The case scores of a run: the model is evaluated scan by scan, and a killed evaluation continues."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd

from uadbench.evaluation.evaluator import Evaluator, score_scans
from uadbench.evaluation.pictures import case_volumes, scan_volumes
from uadbench.results.examples import Examples
from uadbench.results.scores import read_table, scans_put_aside, write_table
from uadbench.runs import keys
from uadbench.runs.keys import Run
from uadbench.runtime.files import write_json
from uadbench.runtime.progress import Progress
from uadbench.types import UNSEEN

PARTIAL = "evaluation"
"""Folder in a run folder with the scores of the scans that an unfinished evaluation has done."""
DRAWS = "draws.json"
WORST = 5
"""How many of the worst cases have their picture in the report."""


def case_scores(run: Run, evaluator: Evaluator, folder: Path, progress: Progress) -> pd.DataFrame:
    """One row a case; rows are put aside every few seconds so that a killed evaluation continues.

    What is on disk is not held in memory: small tables between large volumes would keep the heap from being used again.
    """
    parts = folder / PARTIAL / f"{run.eval_key[:16]}-{evaluator.device.type}"
    done = scans_put_aside(parts)
    fresh: list[pd.DataFrame] = []
    saved_at = time.monotonic()
    patients = run.fold_data.scans("patients")
    with progress.task(f"evaluating {run.name}", len(evaluator.cases.scans) + len(patients)) as task:
        if done:
            progress.notice(f"{run.name}: evaluation continues after {done} scans")
            task.advance(done)
        for rows in score_scans(evaluator, patients, skip=done):
            fresh.append(rows)
            task.advance(1)
            if time.monotonic() - saved_at > keys.SAVE_EVERY_S:
                write_table(pd.concat(fresh, ignore_index=True), parts / f"{done:06d}.parquet")
                done += len(fresh)
                fresh, saved_at = [], time.monotonic()
    stored = [read_table(file) for file in sorted(parts.glob("*.parquet"))]
    return pd.concat([*stored, *fresh, evaluator.validation_rows()], ignore_index=True)


def save_draws(evaluator: Evaluator, folder: Path) -> None:
    """What was drawn for every test scan, so that its cases can be made again from what the result stores."""
    cases = evaluator.cases
    keys = ({"participant_id": scan.participant, "session_id": scan.session} for scan in cases.scans)
    write_json(folder / DRAWS, [who | cases.draws(s).to_json() for who, s in zip(keys, cases.scans, strict=True)])


def example_pictures(run: Run, evaluator: Evaluator, table: pd.DataFrame) -> Examples:
    """One simulated case with its healthy scan, one patient, and the worst cases.

    The case is of the first test scan and the first dementia; a worst case is one of the lowest average precision
    (standard map), no two of a participant. All at the severity nearest to 30 %.
    """
    cases, section = evaluator.cases, evaluator.protocol.testsets
    severity = min(section.severities, key=lambda s: abs(s - 0.3))
    graded = table[(table["severity"] == severity) & (table["anomaly"].isin([*section.anomalies, UNSEEN]))]
    worst = graded.sort_values("ap.standard", kind="stable").drop_duplicates("participant_id").head(WORST)
    wanted = {"case": (cases.scans[0].participant, section.anomalies[0], "")}
    for place, (participant, anomaly, precision) in enumerate(
        zip(worst["participant_id"], worst["anomaly"], worst["ap.standard"], strict=True)
    ):
        wanted[f"worst{place}"] = (participant, anomaly, f", AP {precision:.2f}")
    scans = {scan.participant: scan for scan in cases.scans}
    volumes, titles = {}, {}
    for label, (participant, anomaly, note) in wanted.items():
        made = cases.cases(scans[participant])
        case = next(c for c in made if (c.anomaly, c.severity) == (anomaly, severity))
        volumes[label], titles[label] = case_volumes(evaluator, case), f"{anomaly}, severity {severity:.0%}{note}"
    for scan in run.fold_data.scans("patients")[:1]:
        volumes["patient"], titles["patient"] = scan_volumes(evaluator, scan), f"patient ({scan.group})"
    return Examples(volumes, titles, evaluator.protocol.lattice.affine, cases.brain)
