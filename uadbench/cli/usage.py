"""Errors in the use of the command line: one line that says what is wrong, with an example of correct use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typer.core import TyperGroup

from uadbench.cli.stopping import stopped
from uadbench.errors import InputError
from uadbench.runtime.commands import command

EXAMPLES = {
    "run": "uadbench run --model vae3d --protocol smoke",
    "list": "uadbench list models",
    "show": "uadbench show vae3d",
    "simulate": "uadbench simulate scan.nii.gz --anomaly ad --severity 0.3 --output simulated",
    "apply": "uadbench apply runs/phantom/smoke/vae3d/fold0-seed0-* scan.nii.gz --output applied",
    "report": "uadbench report runs/phantom/smoke/vae3d/fold0-seed0-*",
    "compare": "uadbench compare runs/phantom/smoke/*/fold0-seed0-*",
    "check": "uadbench check runs/phantom/smoke/vae3d/fold0-seed0-* --against leaderboard",
    "cite": "uadbench cite --model vae3d",
    "share": "uadbench share runs/phantom/smoke/vae3d/fold0-seed0-* --output shared",
    "score": "uadbench score mytest --name mytool",
    "track": "uadbench track runs/phantom/smoke/vae3d/fold0-seed0-*",
    "test-model": "uadbench test-model ./my_net.py:MyNet",
    "new model": "uadbench new model my_net",
    "cohort info": "uadbench cohort info phantom",
    "cohort check": "uadbench cohort check my-caps",
    "cohort split": "uadbench cohort split my-caps --output split.json",
    "cohort export": "uadbench cohort export my-caps --participants 60",
    "leaderboard build": "uadbench leaderboard build",
    "leaderboard add": "uadbench leaderboard add runs/phantom/quick/vae3d/fold0-seed0-*",
    "leaderboard verify": "uadbench leaderboard verify --rerun vae3d",
    "leaderboard reference": "uadbench leaderboard reference --protocol smoke --scans 40 --output references",
    "testset export": "uadbench testset export mytest --protocol smoke",
    "testset overlap": "uadbench testset overlap --protocol smoke",
}
"""A correct example for every command."""


class Group(TyperGroup):
    """The group of commands; wrong use raises InputError, like bad input."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Parse the options before the command."""
        self.words = list(args)
        try:
            return super().make_context(info_name, args, parent, **extra)
        except Exception as error:
            raise _plain(error, self.words) from None

    def invoke(self, ctx: Any) -> Any:
        """Parse the options of the command, and run it."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as request:
            raise stopped(request) from None
        except Exception as error:
            raise _plain(error, self.words) from None


def _plain(error: Exception, words: Sequence[str]) -> Exception:
    """An InputError for wrong use; any other error, and the request to print the help, unchanged."""
    if not hasattr(error, "format_message") or type(error).__name__ == "NoArgsIsHelpError":
        return error
    name = _command_of(error) or _command_in(words)
    message = " ".join(str(error.format_message()).split()).rstrip(".")
    example = _nearest(words) if name == "run" else EXAMPLES.get(name, "")
    return InputError(f"{message}; {f'for example: {example}' if example else 'see uadbench --help'}")


def _command_of(error: Any) -> str:
    """The name of the command in the error's context, such as `cohort export`; "" without one."""
    context, names = getattr(error, "ctx", None), list[str]()
    while context is not None and context.parent is not None:  # the outermost context is the program
        names.insert(0, str(context.info_name))
        context = context.parent
    return " ".join(names)


def _command_in(words: Sequence[str]) -> str:
    """The command at the beginning of the arguments; "" for none."""
    return next((name for name in EXAMPLES if list(words[: len(name.split())]) == name.split()), "")


def _nearest(words: Sequence[str]) -> str:
    """A command with every model among the arguments: `run vae3d` was meant as `run --model vae3d`."""
    from uadbench import registry

    names = {*registry.models.names(), "all"}
    models = [word for word in words if word in names or ".py:" in word]
    return command("uadbench", "run", model=models) if models else EXAMPLES["run"]
