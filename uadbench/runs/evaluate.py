"""Evaluation of a run: scores of every case, resumable scan by scan; stored draws; example pictures."""

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
"""Folder in a run folder with the scores of an unfinished evaluation."""
DRAWS = "draws.json"
WORST = 5
"""Number of worst cases with a picture in the report."""


def case_scores(run: Run, evaluator: Evaluator, folder: Path, progress: Progress) -> pd.DataFrame:
    """Score every case, one row per case; rows are stored every few seconds, so that an interrupted evaluation resumes.

    Stored rows are not kept in memory: small tables between large volumes would fragment the heap.
    """
    parts = folder / PARTIAL / f"{run.eval_key[:16]}-{evaluator.device.type}"
    done = scans_put_aside(parts)
    fresh: list[pd.DataFrame] = []
    saved_at = time.monotonic()
    patients, audit = run.fold_data.scans("patients"), run.fold_data.scans("audit")
    with progress.task(f"evaluating {run.name}", len(evaluator.cases.scans) + len(patients) + len(audit)) as task:
        if done:
            progress.notice(f"{run.name}: evaluation continues after {done} scans")
            task.advance(done)
        for rows in score_scans(evaluator, patients, audit, skip=done):
            fresh.append(rows)
            task.advance(1)
            if time.monotonic() - saved_at > keys.SAVE_EVERY_S:
                write_table(pd.concat(fresh, ignore_index=True), parts / f"{done:06d}.parquet")
                done += len(fresh)
                fresh, saved_at = [], time.monotonic()
    stored = [read_table(file) for file in sorted(parts.glob("*.parquet"))]
    return pd.concat([*stored, *fresh, evaluator.validation_rows()], ignore_index=True)


def save_draws(evaluator: Evaluator, folder: Path) -> None:
    """Store the draws of every test scan, so that its cases can be recomputed from the run folder."""
    cases = evaluator.cases
    keys = ({"participant_id": scan.participant, "session_id": scan.session} for scan in cases.scans)
    write_json(folder / DRAWS, [who | cases.draws(s).to_json() for who, s in zip(keys, cases.scans, strict=True)])


def example_pictures(run: Run, evaluator: Evaluator, table: pd.DataFrame) -> Examples:
    """Volumes of one simulated case with its healthy scan, of one patient, and of the worst cases.

    The first is the case of the first test scan and the first dementia. The worst cases have the lowest average
    precision (standard map), with at most one per participant. All have the severity nearest to 30 %.
    """
    cases, section = evaluator.cases, evaluator.protocol.testsets
    severity = min(section.severities, key=lambda s: abs(s - 0.3))
    graded = table[(table["severity"] == severity) & (table["anomaly"].isin([*section.anomalies, UNSEEN]))]
    worst = graded.sort_values("ap.standard", kind="stable").drop_duplicates("participant_id").head(WORST)
    chosen = {"case": (cases.scans[0].participant, section.anomalies[0], "")}
    for rank, (participant, anomaly, precision) in enumerate(
        zip(worst["participant_id"], worst["anomaly"], worst["ap.standard"], strict=True)
    ):
        chosen[f"worst{rank}"] = (participant, anomaly, f", AP {precision:.2f}")
    scans = {scan.participant: scan for scan in cases.scans}
    volumes, titles = {}, {}
    for label, (participant, anomaly, note) in chosen.items():
        case = next(c for c in cases.cases(scans[participant]) if (c.anomaly, c.severity) == (anomaly, severity))
        volumes[label] = case_volumes(evaluator, case)
        titles[label] = f"{anomaly}, severity {severity:.0%} (effective {case.effective_reduction:.0%}){note}"
    for scan in run.fold_data.scans("patients")[:1]:
        volumes["patient"], titles["patient"] = scan_volumes(evaluator, scan), f"patient ({scan.group})"
    return Examples(volumes, titles, evaluator.protocol.lattice.affine, cases.brain)
