"""Wrong use of the command line: one line that says what is wrong, and a command that is right."""

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
    "report": "uadbench report runs/phantom/smoke/vae3d/fold0-seed0-*",
    "compare": "uadbench compare runs/phantom/smoke/*/fold0-seed0-*",
    "check": "uadbench check runs/phantom/smoke/vae3d/fold0-seed0-* --against leaderboard",
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
    "testset export": "uadbench testset export mytest --protocol smoke",
}
"""For every command a right use of it."""


class Group(TyperGroup):
    """The commands; wrong use is an InputError, as bad input is."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Read the options before the command."""
        self.given = list(args)
        try:
            return super().make_context(info_name, args, parent, **extra)
        except Exception as error:
            raise _plain(error, self.given) from None

    def invoke(self, ctx: Any) -> Any:
        """Read the command's own options, and run it."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as request:
            raise stopped(request) from None
        except Exception as error:
            raise _plain(error, self.given) from None


def _plain(error: Exception, given: Sequence[str]) -> Exception:
    """An InputError for wrong use; any other error as it is, and that which only prints the help."""
    if not hasattr(error, "format_message") or type(error).__name__ == "NoArgsIsHelpError":
        return error
    name = _command_of(error) or _command_in(given)
    told = " ".join(str(error.format_message()).split()).rstrip(".")
    right = _nearest(given) if name == "run" else EXAMPLES.get(name, "")
    return InputError(f"{told}; {f'for example: {right}' if right else 'see uadbench --help'}")


def _command_of(error: Any) -> str:
    """`cohort export`, of the error's context; "" where it has none."""
    context, names = getattr(error, "ctx", None), list[str]()
    while context is not None and context.parent is not None:  # the first is the program, whatever it is called
        names.insert(0, str(context.info_name))
        context = context.parent
    return " ".join(names)


def _command_in(given: Sequence[str]) -> str:
    """The command that words begin with; "" for none."""
    return next((name for name in EXAMPLES if list(given[: len(name.split())]) == name.split()), "")


def _nearest(given: Sequence[str]) -> str:
    """`run vae3d` was meant as `run --model vae3d`: every word that is a model."""
    from uadbench import registry

    known = {*registry.models.names(), "all"}
    models = [word for word in given if word in known or ".py:" in word]
    return command("uadbench", "run", model=models) if models else EXAMPLES["run"]
