"""`uadbench leaderboard`: add results, build the pages, and verify committed results."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uadbench.errors import InputError
from uadbench.runtime.commands import command
from uadbench.runtime.plurals import counted

if TYPE_CHECKING:
    from uadbench.leaderboard.entries import Entry

ROOT = Path("leaderboard")

app = typer.Typer(help="Add results to a leaderboard, build its pages, and verify it.", no_args_is_help=True)

Root = Annotated[Path, typer.Option("--root", help="Leaderboard folder.")]


@app.callback()
def leaderboard() -> None:
    """Add results to a leaderboard, build its pages, and verify it."""


@app.command("build")
def build(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; print a diff and exit with code 1 if files are out of date.")
    ] = False,
    root: Root = ROOT,
    readme: Annotated[
        Path | None,
        typer.Option(help="README that shows the top of the first board. Default: README.md beside the folder."),
    ] = None,
) -> None:
    """Build the pages and tables of a leaderboard from its committed results.

    The same results always give the same files.
    """
    from uadbench.leaderboard.committing import DIFF_LINES, differences, generated, stale, with_head
    from uadbench.leaderboard.entries import RESULTS
    from uadbench.runtime.files import write_text
    from uadbench.runtime.parts import sweep, sweep_tree
    from uadbench.runtime.text import plain

    boards, contents = generated(root)
    home = readme or root.parent / "README.md"
    if readme is not None and not readme.is_file():
        raise InputError(f"--readme {readme}: no such file")
    if home.is_file():
        contents[home] = with_head(home, boards)
    if check:
        lines = differences(contents, root)
        for line in lines[:DIFF_LINES]:
            print(plain(line))  # a diff quotes the files on disk
        if lines:
            more = f" ({len(lines) - DIFF_LINES} more lines)" if len(lines) > DIFF_LINES else ""
            print(f"out of date{more}; run this command and commit the files: {_again(root, readme)}")
            raise typer.Exit(1)
        print(f"{root}: up to date ({counted(len(contents), 'file')})")
        return
    sweep_tree(root / RESULTS)
    for folder in {file.parent for file in contents}:
        sweep(folder)
    for file, text in contents.items():
        if not file.is_file() or file.read_bytes() != text.encode():
            write_text(file, text)
    for file in stale(root, contents):
        file.unlink()
    rows = sum(len(board.rows) for board in boards)
    print(f"{root / 'index.html'}: {counted(rows, 'model')} on {counted(len(boards), 'board')}; open it in a browser")


def _again(root: Path, readme: Path | None = None) -> str:
    """The command that builds the board of this folder."""
    return command("uadbench", "leaderboard", "build", root=None if root == ROOT else root, readme=readme)


@app.command("add")
def add(
    runs: Annotated[list[Path], typer.Argument(help="Run folders to add.")],
    root: Root = ROOT,
) -> None:
    """Check results and add them to a leaderboard.

    Ids of private cohorts are never copied. Run 'uadbench leaderboard build'
    afterwards to update the pages.
    """
    from uadbench.leaderboard.committing import add as take

    for run in runs:
        entry = take(run, root)
        print(f"{entry.file}  {entry.result.model.name} fold {entry.result.fold} seed {entry.result.seed}")
    print(f"next: {_again(root)}")


@app.command("verify")
def verify(
    rerun: Annotated[
        list[str] | None,
        typer.Option(
            "--rerun",
            help="Also train and evaluate this model's committed runs again, for example vae3d. May be repeated.",
        ),
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="With --rerun: only runs of this protocol. Default: all protocols.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="With --rerun: only runs with this seed. Default: all seeds.")
    ] = None,
    cohort_seed: Annotated[
        int | None,
        typer.Option(help="With --rerun: use a phantom population with this seed instead of the committed cohort."),
    ] = None,
    device: Annotated[
        str, typer.Option(help="With --rerun: device to use; 'auto' (GPU if there is one), 'cpu' or 'cuda'.")
    ] = "auto",
    output: Annotated[Path, typer.Option(help="With --rerun: folder for the new runs.")] = Path("runs/verify"),
    root: Root = ROOT,
    as_json: Annotated[bool, typer.Option("--json", help="Print faults and reruns as JSON.")] = False,
) -> None:
    """Verify every committed result, and optionally rerun models.

    Recomputes all aggregates from the committed scores of the cases, and
    compares the cases with those of protocol and cohort.

    Exit code 0: all results pass and all reruns agree. 1: a result or a rerun
    fails.
    """
    from uadbench.cli.reruns import print_rerun, run_again, selected_runs
    from uadbench.launch.local import choose_device
    from uadbench.leaderboard.entries import read_entries, result_files
    from uadbench.leaderboard.rerun import keep, require_runnable, to_json
    from uadbench.leaderboard.verifying import faults_of
    from uadbench.runtime.files import require_folder
    from uadbench.runtime.terminal import TerminalProgress

    if (protocol or seed is not None or cohort_seed is not None) and not rerun:
        raise InputError("--protocol, --seed and --cohort-seed select runs to repeat: add --rerun MODEL")
    total = len(result_files(root))
    entries: list[Entry] = []
    selected: list[Entry] = []
    if rerun:
        where = choose_device(device)
        with suppress(InputError):  # `faults_of` reports invalid results below
            entries = list(read_entries(root))
        selected = selected_runs(entries, rerun, protocol, seed) if entries else []
        for entry in selected:
            require_runnable(entry, elsewhere=cohort_seed is not None)
        require_folder(output)
    faults = faults_of(root, TerminalProgress())
    done = []
    if selected and not faults:
        done = run_again(entries, selected, cohort_seed, root, output, where)
    if done:
        keep(done, root)
    if as_json:
        print(json.dumps({"checked": total, "faults": faults, "reruns": [to_json(each) for each in done]}, indent=2))
    else:
        for fault in faults:
            print(f"failed: {fault}")
        print(f"{total - len(faults)} of {total} committed results pass all checks")
        for each in done:
            print_rerun(each)
    if faults or not all(each.holds for each in done):
        raise typer.Exit(1)


@app.command("reference")
def reference(
    protocol: Annotated[str, typer.Option(help="Protocol: a name or a TOML file.")] = "quick",
    cohort: Annotated[str | None, typer.Option(help="A phantom, for example phantom:seed=7. Default: phantom.")] = None,
    scans: Annotated[int, typer.Option(help="Number of healthy scans to fit the filter on.")] = 3000,
    device: Annotated[str, typer.Option(help="'auto' (GPU if there is one), 'cpu' or 'cuda'.")] = "auto",
    output: Annotated[
        Path | None, typer.Option(help="Folder for the reference. Default: the one that ships with uadbench.")
    ] = None,
    work: Annotated[Path, typer.Option(help="Folder for unfinished work; the same command continues it.")] = Path(
        "runs/reference"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print the reference as JSON.")] = False,
) -> None:
    """Compute the near-ideal reference of a protocol: a lower bound on what can be found.

    The model wiener, a linear filter, is fitted on thousands of healthy scans
    of participants that are not in the cohort, and scored on the test sets.
    Runs, reports and boards with the same test sets then show its score.
    """
    from uadbench.cohorts.opening import open_cohort
    from uadbench.launch.local import choose_device
    from uadbench.leaderboard.reference import ReferenceFit
    from uadbench.protocols.schema import load_protocol
    from uadbench.report.words import bounded
    from uadbench.results.near_ideal import FOLDER
    from uadbench.runs.fold_data import plan_fold
    from uadbench.runtime.files import require_folder, write_text
    from uadbench.runtime.terminal import TerminalProgress

    progress, chosen, folder = TerminalProgress(), load_protocol(protocol), output or FOLDER
    for each in (folder, work):
        require_folder(each)
    fold_data = plan_fold(open_cohort(cohort or chosen.cohort), chosen, 0, progress)
    done = ReferenceFit(fold_data, scans, work, choose_device(device), progress).compute()
    text = done.model_dump_json(indent=1) + "\n"
    write_text(folder / done.file, text)
    if as_json:
        print(text, end="")
        return
    first, second = done.halves
    print(
        f"near-ideal {bounded(done.ap)} with {done.scans} scans; with one half of them {first:.3f}, with the other "
        f"{second:.3f}"
    )
    print(f"written to {folder / done.file}")
