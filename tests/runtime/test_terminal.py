"""What a terminal shows while a command starts, and what a pipe does not."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from uadbench.runtime.terminal import Terminal, TerminalProgress

RUN = ("run", "--model", "none_such", "--protocol", "smoke")


def test_a_pipe_shows_nothing_while_waiting(capfd) -> None:
    with TerminalProgress().waiting("loading"):
        pass
    assert capfd.readouterr() == ("", "")


def test_a_terminal_shows_the_text_and_can_show_bars_afterwards() -> None:
    progress = TerminalProgress()
    progress.console = Terminal(force_terminal=True, width=80, color_system=None)
    with progress.console.capture() as captured:
        with progress.waiting("loading [x]"):
            progress.notice("meanwhile")
        with progress.task("bars", 1) as task:
            task.advance()
    text = captured.get()
    assert text.index("loading [x] ...") < text.index("meanwhile") < text.index("1/1")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_run_says_something_before_it_has_loaded_torch(tmp_path: Path) -> None:
    """The first text comes in less than half of the time until the first error that needs all imports."""
    import pty

    code = "import sys; from uadbench.cli.main import main; main(sys.argv[1:])"
    started = time.monotonic()
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.execv(sys.executable, [sys.executable, "-c", code, *RUN])
    shown, first = b"", 0.0
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # the program has ended
            break
        if not part:
            break
        first = first or time.monotonic() - started
        shown += part
    os.waitpid(child, 0)
    assert b"loading PyTorch" in shown and b"no model is called 'none_such'" in shown
    assert first < (time.monotonic() - started) / 2
