"""`uadbench leaderboard`: build the board, add results, verify what is committed."""

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

app = typer.Typer(help="The leaderboard: a pure function of committed results.", no_args_is_help=True)

Root = Annotated[Path, typer.Option("--root", help="The leaderboard's folder.")]


@app.callback()
def leaderboard() -> None:
    """The leaderboard: a pure function of committed results."""


@app.command("build")
def build(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 with a diff if it is out of date.")
    ] = False,
    root: Root = ROOT,
    readme: Annotated[Path | None, typer.Option(help="The README that shows the head. Default: beside ROOT.")] = None,
) -> None:
    """Make pages and tables from the committed results alone; the same results give the same bytes."""
    from uadbench.leaderboard.committing import DIFF_LINES, differences, generated, stale, with_head
    from uadbench.leaderboard.entries import RESULTS
    from uadbench.runtime.files import write_text
    from uadbench.runtime.parts import sweep, sweep_tree
    from uadbench.runtime.text import plain

    boards, wanted = generated(root)
    home = readme or root.parent / "README.md"
    if readme is not None and not readme.is_file():
        raise InputError(f"--readme {readme}: no such file")
    if home.is_file():
        wanted[home] = with_head(home, boards)
    if check:
        lines = differences(wanted, root)
        for line in lines[:DIFF_LINES]:
            print(plain(line))  # a diff shows what lies there
        if lines:
            more = f" ({len(lines) - DIFF_LINES} lines more)" if len(lines) > DIFF_LINES else ""
            print(f"out of date{more}; commit what this writes: {_again(root, readme)}")
            raise typer.Exit(1)
        print(f"{root}: up to date ({counted(len(wanted), 'file')})")
        return
    sweep_tree(root / RESULTS)
    for folder in {file.parent for file in wanted}:
        sweep(folder)
    for file, text in wanted.items():
        if not file.is_file() or file.read_bytes() != text.encode():
            write_text(file, text)
    for file in stale(root, wanted):
        file.unlink()
    rows = sum(len(board.rows) for board in boards)
    print(f"{root / 'index.html'}: {counted(rows, 'model')} on {counted(len(boards), 'board')}; open it in a browser")


def _again(root: Path, readme: Path | None = None) -> str:
    """The command that builds the board of this folder."""
    return command("uadbench", "leaderboard", "build", root=None if root == ROOT else root, readme=readme)


@app.command("add")
def add(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    root: Root = ROOT,
) -> None:
    """Check results and copy them in, without an id of a private cohort; 'build' then shows them."""
    from uadbench.leaderboard.committing import add as take

    for run in runs:
        entry = take(run, root)
        print(f"{entry.file}  {entry.result.model.name} fold {entry.result.fold} seed {entry.result.seed}")
    print(f"now: {_again(root)}")


@app.command("verify")
def verify(
    rerun: Annotated[list[str] | None, typer.Option("--rerun", help="Train and evaluate this row again, too.")] = None,
    protocol: Annotated[str | None, typer.Option(help="With --rerun: only rows of this protocol.")] = None,
    seed: Annotated[int | None, typer.Option(help="With --rerun: only the run of this seed.")] = None,
    cohort_seed: Annotated[
        int | None, typer.Option(help="With --rerun: on a phantom population of this seed instead.")
    ] = None,
    device: Annotated[str, typer.Option(help="'auto', 'cpu', 'cuda'.")] = "auto",
    output: Annotated[Path, typer.Option(help="Folder for the reruns.")] = Path("runs/verify"),
    root: Root = ROOT,
    as_json: Annotated[bool, typer.Option("--json", help="Print faults and reruns as JSON.")] = False,
) -> None:
    """Check that every committed result is what its cases say, and its cases those of its protocol.

    Exit code 0: all is sound, and reruns agree; 1: something does not.
    """
    from uadbench.cli.reruns import print_rerun, run_again, wanted_again
    from uadbench.launch.local import choose_device
    from uadbench.leaderboard.entries import read_entries, result_files
    from uadbench.leaderboard.rerun import keep, require_runnable, to_json
    from uadbench.leaderboard.verifying import faults_of
    from uadbench.runtime.files import require_folder
    from uadbench.runtime.terminal import TerminalProgress

    if (protocol or seed is not None or cohort_seed is not None) and not rerun:
        raise InputError("--protocol, --seed and --cohort-seed say what is run again: add --rerun MODEL")
    total = len(result_files(root))
    entries: list[Entry] = []
    wanted: list[Entry] = []
    if rerun:
        where = choose_device(device)
        with suppress(InputError):  # what is not sound is reported below
            entries = list(read_entries(root))
        wanted = wanted_again(entries, rerun, protocol, seed) if entries else []
        for entry in wanted:
            require_runnable(entry, elsewhere=cohort_seed is not None)
        require_folder(output)
    faults = faults_of(root, TerminalProgress())
    done = []
    if wanted and not faults:
        done = run_again(entries, wanted, cohort_seed, root, output, where)
    if done:
        keep(done, root)
    if as_json:
        print(json.dumps({"checked": total, "faults": faults, "reruns": [to_json(each) for each in done]}, indent=2))
    else:
        for fault in faults:
            print(f"not sound: {fault}")
        print(f"{total - len(faults)} of {total} committed results are what their cases say")
        for each in done:
            print_rerun(each)
    if faults or not all(each.holds for each in done):
        raise typer.Exit(1)
