"""Time and memory of a run on 3,010 scans: `python benchmarks/large_cohort.py FOLDER`.

301 participants with ten sessions each, in a table of NIfTI files of 80 x 96 x 80 at 2 mm. The phantom's scans of 64
visits are written once; the other names are hard links to them. Under `paper` 2,370 scans train, 34 validate, 30 test.
FOLDER needs 10 GB: files, and the cohort's cache.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pandas as pd

from uadbench.cohorts.io.forms import mni
from uadbench.cohorts.io.nifti import write_volume
from uadbench.cohorts.phantom import Phantom
from uadbench.protocols.schema import load_protocol

PARTICIPANTS, SESSIONS, DIFFERENT = 301, 10, 64


def write_table(folder: Path) -> Path:
    """Files and table, where they are not there yet."""
    table = folder / "scans.csv"
    if table.is_file():
        return table
    phantom = Phantom(patients=0)
    for number, scan in enumerate(phantom.scans(load_protocol("paper").lattice, phantom.participants[:DIFFERENT])):
        write_volume(folder / "files" / f"content-{number:02d}.nii.gz", scan.data, mni(scan.affine))
    rows = []
    for index in range(PARTICIPANTS * SESSIONS):
        person, visit = divmod(index, SESSIONS)
        who, when = f"sub-{person:04d}", f"ses-M{12 * visit:03d}"
        name = f"files/{who}_{when}_pet.nii.gz"
        os.link(folder / "files" / f"content-{index % DIFFERENT:02d}.nii.gz", folder / name)
        rows.append((who, when, name, "CN", 60 + person % 30 + visit, "FM"[person % 2]))
    columns = ["participant_id", "session_id", "path", "diagnosis", "age", "sex"]
    pd.DataFrame(rows, columns=columns).to_csv(table, index=False)
    return table


def run(folder: Path, table: Path, output: str) -> tuple[float, float]:
    """Seconds and GiB of one run; the memory is the most that was resident, mapped files included."""
    command = ["uadbench", "run", "--model", "mean", "--protocol", "paper", "--cohort", str(table)]
    command += ["--output", str(folder / output), "--tracking-uri", "none"]
    started = time.monotonic()
    environment = {**os.environ, "UADBENCH_CACHE": str(folder / "cache")}
    child = os.posix_spawnp("uadbench", command, environment)
    _, status, usage = os.wait4(child, 0)
    if status:
        sys.exit("the run failed")
    return time.monotonic() - started, usage.ru_maxrss / 2**20


def main() -> None:
    """Make the table, run twice: with an empty cache, and with a full one."""
    folder = Path(sys.argv[1])
    table = write_table(folder)
    for output in ("cold", "warm"):
        seconds, gib = run(folder, table, output)
        print(f"{output}: {seconds:.0f} s, at most {gib:.2f} GiB resident", flush=True)


if __name__ == "__main__":
    main()
