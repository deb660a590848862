"""Standard streams that are closed, broken or full, and locales that know no umlaut: the work is done, or one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.faults.conftest import SMOKE, hashes_of, one_error, run_of
from tests.faults.environments import in_shell

pytestmark = pytest.mark.slow

FULL = "error: cannot write to standard output (No space left on device)"
ASCII = {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": None}
UMLAUTS = "Überblick x̂"


@pytest.mark.parametrize(
    ("line", "code", "err"),
    [
        ("uadbench list models <&-", 0, ""),
        ("uadbench list models >&-", 0, ""),
        ("uadbench list models 2>&-", 0, ""),
        ("uadbench list nothing 2>&-", 2, ""),
        ("uadbench list nothing 2>/dev/full", 2, ""),
        ("uadbench list models | true", 141, ""),
        ("uadbench list models >/dev/full", 3, FULL),
        ("uadbench --version >/dev/full", 3, FULL),
    ],
)
@pytest.mark.fault("{line}")
def test_a_stream_that_cannot_be_used(line: str, code: int, err: str, tmp_path: Path, outcome) -> None:
    found = in_shell(line, tmp_path)
    assert (found[0], found[2].strip()) == (code, err)
    assert "error" not in found[1], "no message goes where output belongs"
    outcome(f"exit code {code}; {err or 'nothing on stderr'}")


STREAMS = {
    "<&- >&- 2>&-": "for n in (0, 1, 2): os.close(n)\nsys.stdin = sys.stdout = sys.stderr = None",
    "2>&1 | true": "read, write = os.pipe(); os.close(read); os.dup2(write, 1); os.dup2(write, 2)",
}


@pytest.mark.parametrize("streams", STREAMS)
@pytest.mark.fault("uadbench run ... {streams}")
def test_the_work_is_done_all_the_same(streams: str, nursery, undisturbed, tmp_path: Path, outcome) -> None:
    before = f"import os, sys\n{STREAMS[streams]}"
    code = nursery.start(*SMOKE, "--model", "mean", "--output", tmp_path / "runs", before=before).wait()
    assert code == (141 if "|" in streams else 0)
    assert hashes_of(tmp_path / "runs")["mean"] == hashes_of(undisturbed)["mean"]
    outcome(f"exit code {code}; the result is on disk, with the scores of ever")


@pytest.mark.fault("a terminal of ASCII: run, report and leaderboard in a folder with umlauts")
def test_a_terminal_of_ascii(nursery, undisturbed, tmp_path: Path, outcome) -> None:
    """As PYTHONIOENCODING=ascii makes it."""
    before = f"import os, sys; os.chdir({str(tmp_path)!r})\n" + "\n".join(
        f"sys.{name}.reconfigure(encoding='ascii', errors='strict')" for name in ("stdout", "stderr")
    )
    output = Path(shutil.copytree(undisturbed, tmp_path / UMLAUTS)).relative_to(tmp_path)
    mean = run_of(tmp_path / UMLAUTS, "mean").relative_to(tmp_path)
    commands = [
        (*SMOKE, "--model", "mean", "--output", output),
        ("leaderboard", "add", mean, "--root", "Tür"),
        ("leaderboard", "build", "--root", "Tür"),
        ("show", "vae3d"),
    ]
    for command in commands:
        code, out, err = nursery.start(*command, before=before).ended()
        assert code == 0 and out.isascii() and err.isascii(), err
        assert "\\xdcberblick" in out or command[0] != "run"
    code, _, err = nursery.start("list", "nöthing", before=before).ended()
    assert code == 2 and "n\\xf6thing" in one_error(err)
    pages = [file.read_text(encoding="utf-8") for file in (tmp_path / "Tür").rglob("*.md")]
    assert pages and not all(page.isascii() for page in pages)
    outcome("exit codes as ever, characters escaped; files are UTF-8")


@pytest.mark.fault("LC_ALL=C PYTHONUTF8=0: a folder with umlauts")
def test_a_locale_without_umlauts(tmp_path: Path, outcome) -> None:
    code, out, err = in_shell(f"uadbench new model my_net --folder '{UMLAUTS}'", tmp_path, **ASCII)
    assert code == 0 and (tmp_path / UMLAUTS / "my_net.py").is_file(), err
    assert UMLAUTS in out
    shutil.rmtree(tmp_path / UMLAUTS)
    outcome("names on disk are UTF-8 in any locale")


@pytest.mark.fault("an argument that is not UTF-8")
def test_a_name_that_is_not_utf8(tmp_path: Path, outcome) -> None:
    code, _, err = in_shell(f"uadbench {' '.join(SMOKE)} --model mean --output $'\\xdcber'", tmp_path)
    assert code == 2 and "udcdcber': not UTF-8" in one_error(err) and not list(tmp_path.iterdir())
    outcome("refused in one line before any scan is read")
