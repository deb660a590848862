"""Results into the leaderboard, and what is generated from them onto the disk."""

from __future__ import annotations

import difflib
from pathlib import Path

from uadbench.errors import InputError
from uadbench.leaderboard import render
from uadbench.leaderboard.boards import Board, boards
from uadbench.leaderboard.entries import RESULTS, Entry, place, read_cases, read_entries
from uadbench.runtime.files import require_apart, require_inside, write_together
from uadbench.runtime.parts import is_part, sweep_tree

GENERATED = ("index.html", "README.md", "leaderboard.csv", "leaderboard.json")
MODELS = "models"
DIFF_LINES = 60


def add(run: Path, root: Path) -> Entry:
    """Take a run folder into the leaderboard: checked and slimmed, without an id of a private cohort.

    Raises:
        InputError: With the reason, for a result that is not what its cases say, of an incomplete or changed test set,
            or with an id in it; nothing is written then.
    """
    from uadbench.leaderboard import checks
    from uadbench.leaderboard.entries import check_cases, in_lines, read_untrusted, slim, slim_means
    from uadbench.protocols.schema import stored_protocol
    from uadbench.results.anonymise import refuse_private, require_irreversible, shareable
    from uadbench.results.schema import RESULT
    from uadbench.results.scores import SCORES, put_table

    folder = run if run.is_dir() else run.parent
    told = Entry(folder / RESULT, read_untrusted(folder / RESULT))
    protocol = stored_protocol(folder, told.result.protocol.name)
    if protocol.hash != told.result.protocol.hash:
        raise InputError(f"{folder}: its protocol is not the one that its result tells of")
    require_apart(folder, root / RESULTS)
    require_irreversible(str(run), told.result)
    label, cases = str(run), read_cases(folder / SCORES)
    check_cases(told, cases)
    checks.require_real(label, told.result, slim(cases), protocol)
    checks.require_honest(label, told.result, cases, protocol)
    result, table = shareable(folder)
    rows = slim(table)
    result = slim_means(checks.recomputed(result, rows, protocol))
    refuse_private(folder, result, rows)
    entry = Entry(root / RESULTS / place(result), result)
    require_inside(root, entry.file, checks.protocol_file(root, result))
    for part in (RESULTS, checks.PROTOCOLS):
        sweep_tree(root / part)
    checks.keep_protocol(root, result, protocol)
    text = in_lines(result)
    write_together(
        {
            entry.scores_file: lambda partial: put_table(rows, partial),
            entry.file: lambda partial: partial.write_text(text, encoding="utf-8"),
        }
    )
    return entry


def generated(root: Path) -> tuple[list[Board], dict[Path, str]]:
    """The boards of a leaderboard folder, and the content of every file that is made from them."""
    found = boards(list(read_entries(root)), root)
    wanted = {root / name: text for name, text in render.files(found).items()}
    require_inside(root, root / MODELS / "index.html", *wanted)
    return found, wanted


def stale(root: Path, wanted: dict[Path, str]) -> list[Path]:
    """Pages of models that are no more."""
    pages = (file for file in sorted((root / MODELS).rglob("*.html")) if not is_part(file.relative_to(root)))
    return [file for file in pages if file not in wanted]


def differences(wanted: dict[Path, str], root: Path) -> list[str]:
    """A diff, a line each, between what is on the disk and what should be; empty where they are equal."""
    lines: list[str] = []
    for file, text in wanted.items():
        present = file.read_bytes() if file.is_file() else b""
        if present != text.encode():
            one, other = present.decode(errors="replace").splitlines(True), text.splitlines(True)
            changed = difflib.unified_diff(one, other, str(file), f"{file} (built)", n=1)
            lines += [line.rstrip("\n") for line in changed] or [f"{file}: its bytes differ"]
    lines += [f"{file}: is of a model that is no more" for file in stale(root, wanted)]
    return [line[:200] for line in lines]


def with_head(readme: Path, found: list[Board]) -> str:
    """The project's README with the head of the board between its marks.

    Raises:
        InputError: Where it has none.
    """
    text = readme.read_text(encoding="utf-8")
    before, begin, rest = text.partition(render.BEGIN)
    _, end, after = rest.partition(render.END)
    if not begin or not end:
        raise InputError(f"{readme}: has no lines '{render.BEGIN}' and '{render.END}', between which the head stands")
    return f"{before}{begin}\n{render.head(found)}\n{end}{after}"
