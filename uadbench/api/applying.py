"""A trained model applied to scans, from Python."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from uadbench.api.completed import CompletedRun
from uadbench.api.progress import LoggedProgress

if TYPE_CHECKING:
    from uadbench.application.writing import Applied
    from uadbench.runtime.progress import Progress


def apply(
    run: CompletedRun | str | PathLike[str],
    scans: str | PathLike[str] | Sequence[str | PathLike[str]],
    output: str | PathLike[str],
    *,
    suvr: Literal["as-is", "cerebellum-pons"] = "as-is",
    nan: Literal["refuse", "zero"] = "refuse",
    viewer: bool = True,
    model: str | None = None,
    progress: bool = True,
) -> list[Applied]:
    """Apply the trained model of a run to scans. Research software: the output is no diagnosis.

    For each scan these files are written, volumes on the scan's own lattice: reconstruction, native map, standard map
    (NIfTI), a table of AAL3 regions (TSV), a picture in three planes (PNG), an interactive viewer (HTML), a summary
    (JSON).

    Args:
        run: A completed run, or its run folder.
        scans: NIfTI files in MNI space, tables of scans (.tsv, .csv), or CAPS trees.
        output: Folder for the files.
        suvr: Take the values of files as SUVR, or divide each scan by its mean over cerebellum and pons.
        nan: Refuse files with voxels that are NaN or infinite, or set these to 0.
        viewer: Write the viewer.
        model: PATH.py:Class, if the run was of a model in a file.
        progress: Show a bar.

    Returns:
        For each scan: score, percentile among healthy validation scans, regions, doubts, files.

    Raises:
        InputError: If the run or a scan cannot be used.
        Unfinished: If an output of the model is not finite, or the disk is full.
    """
    folder = run.folder if isinstance(run, CompletedRun) else Path(run)
    if model is None and isinstance(run, CompletedRun) and run._run is not None:
        model = run._run.model
    given = [scans] if isinstance(scans, str | PathLike) else list(scans)
    references = [str(each) for each in given]
    return apply_run(folder, references, Path(output), suvr, nan, viewer, model, LoggedProgress(bars=progress))


def apply_run(
    folder: Path,
    references: Sequence[str],
    output: Path,
    suvr: Literal["as-is", "cerebellum-pons"],
    nan: Literal["refuse", "zero"],
    viewer: bool,
    model: str | None,
    progress: Progress,
) -> list[Applied]:
    """What `apply` and `uadbench apply` do; see `apply`.

    Raises:
        InputError: If the run or a scan cannot be used.
        Unfinished: If an output of the model is not finite, or the disk is full.
    """
    from uadbench.application.inputs import wanted_scans
    from uadbench.application.trained import TrainedModel
    from uadbench.application.writing import apply_to, output_files
    from uadbench.cohorts.findings import collecting, in_lines
    from uadbench.metrics.compiled.decorator import compiling_announced
    from uadbench.runtime.files import require_inside, require_not_read, require_writable

    wanted = wanted_scans(references, suvr, nan)
    trained = TrainedModel.read(folder, model)
    for each in wanted:
        targets = output_files(each.label, output).values()
        require_inside(output, *targets)
        for target in targets:
            require_not_read(target, *(other.file for other in wanted))
    require_writable(output)
    done = []
    with compiling_announced(progress), progress.task("applying", len(wanted)) as task:
        for each in wanted:
            with collecting(fatal=False) as findings:
                applied = apply_to(trained, each, output, viewer)
            for line in [*in_lines(findings), *(f"{each.label}: {doubt}" for doubt in applied.doubts)]:
                progress.warning(line)
            done.append(applied)
            task.advance(1, each.label)
    return done
