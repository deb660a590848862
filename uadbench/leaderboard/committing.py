"""Adding results to the leaderboard folder, and keeping its generated files up to date."""

from __future__ import annotations

import difflib
from pathlib import Path

from uadbench.errors import InputError
from uadbench.leaderboard import render
from uadbench.leaderboard.boards import Board, boards
from uadbench.leaderboard.entries import RESULTS, Entry, read_cases, read_entries, result_path
from uadbench.runtime.files import require_apart, require_inside, write_together
from uadbench.runtime.parts import is_part, sweep_tree

GENERATED = ("index.html", "README.md", "leaderboard.csv", "leaderboard.json")
MODELS = "models"
DIFF_LINES = 60


def add(run: Path, root: Path) -> Entry:
    """Check a run and copy its result into the leaderboard, reduced in size and without ids of a private cohort.

    Args:
        run: The run folder, or its `result.json`.
        root: The leaderboard folder.

    Returns:
        The committed result.

    Raises:
        InputError: If the result does not match its cases, the test sets are incomplete or changed, or it contains a
            private id; nothing is written then.
    """
    from uadbench.leaderboard import checks
    from uadbench.leaderboard.entries import check_cases, in_lines, read_untrusted, slim, slim_means
    from uadbench.protocols.schema import stored_protocol
    from uadbench.results.anonymise import refuse_private, shareable
    from uadbench.results.schema import RESULT
    from uadbench.results.scores import SCORES, put_table

    folder = run if run.is_dir() else run.parent
    submitted = Entry(folder / RESULT, read_untrusted(folder / RESULT))
    protocol = stored_protocol(folder, submitted.result.protocol.name)
    if protocol.hash != submitted.result.protocol.hash:
        raise InputError(f"{folder}: its protocol.json is not the protocol that its result.json names")
    require_apart(folder, root / RESULTS)
    label, cases = str(run), read_cases(folder / SCORES)
    check_cases(submitted, cases)
    checks.require_real(label, submitted.result, slim(cases), protocol)
    checks.require_honest(label, submitted.result, cases, protocol)
    result, table = shareable(folder)
    rows = slim(table)
    result = slim_means(checks.recomputed(result, rows, protocol))
    refuse_private(folder, result, rows)
    entry = Entry(root / RESULTS / result_path(result), result)
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
    """Generate every file of a leaderboard folder from its committed results, without writing.

    Args:
        root: The leaderboard folder.

    Returns:
        The boards, and the content of every generated file by its path.
    """
    ranked = boards(list(read_entries(root)), root)
    contents = {root / name: text for name, text in render.files(ranked).items()}
    require_inside(root, root / MODELS / "index.html", *contents)
    return ranked, contents


def stale(root: Path, contents: dict[Path, str]) -> list[Path]:
    """List the pages of models that are no longer on a board.

    Args:
        root: The leaderboard folder.
        contents: The generated files.

    Returns:
        Existing pages that are not among the generated files.
    """
    pages = (file for file in sorted((root / MODELS).rglob("*.html")) if not is_part(file.relative_to(root)))
    return [file for file in pages if file not in contents]


def differences(contents: dict[Path, str], root: Path) -> list[str]:
    """Compare the files on disk with the generated ones.

    Args:
        contents: The generated files.
        root: The leaderboard folder.

    Returns:
        The lines of a diff; empty if all files are up to date.
    """
    lines: list[str] = []
    for file, text in contents.items():
        present = file.read_bytes() if file.is_file() else b""
        if present != text.encode():
            one, other = present.decode(errors="replace").splitlines(True), text.splitlines(True)
            changed = difflib.unified_diff(one, other, str(file), f"{file} (built)", n=1)
            lines += [line.rstrip("\n") for line in changed] or [f"{file}: bytes differ"]
    lines += [f"{file}: page of a model that is no longer on a board" for file in stale(root, contents)]
    return [line[:200] for line in lines]


def with_head(readme: Path, ranked: list[Board]) -> str:
    """Insert the top of the first board into the project's README.

    Args:
        readme: The README file.
        ranked: The boards.

    Returns:
        The text of the README with the table between its two marks.

    Raises:
        InputError: If the README lacks the marks.
    """
    text = readme.read_text(encoding="utf-8")
    before, begin, rest = text.partition(render.BEGIN)
    _, end, after = rest.partition(render.END)
    if not begin or not end:
        raise InputError(f"{readme}: add the lines '{render.BEGIN}' and '{render.END}' where the table should appear")
    return f"{before}{begin}\n{render.head(ranked)}\n{end}{after}"
