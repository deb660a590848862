"""`uadbench cite`: what to cite for results."""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from uadbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from uadbench.report.citations import Citation


def cite(
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Also cite the papers of this model. May be repeated. Default: none."),
    ] = None,
    bibtex: Annotated[bool, typer.Option("--bibtex", help="Print BibTeX entries.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the references as JSON.")] = False,
) -> None:
    """Print what to cite: uadbench, the framework, papers of models, atlas, templates and software."""
    from uadbench.report.citations import citations

    if bibtex and as_json:
        raise InputError("--bibtex and --json: give only one of the two")
    classes = {}
    if model:
        from uadbench.models.card import model_class

        classes = {plugin.registered_name: plugin for plugin in map(model_class, model)}
    found = citations(classes)
    if as_json:
        print(json.dumps([each.to_json() for each in found], indent=2, ensure_ascii=False))
    elif bibtex:
        print("\n\n".join(each.bibtex for each in found))
    else:
        _print_text(found, [name for name, plugin in classes.items() if not plugin.reference])


def _print_text(found: Sequence[Citation], without: Sequence[str]) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from uadbench.cli.fitting import terminal
    from uadbench.report.citations import GROUPS

    console = terminal()
    for group, members in groupby(found, key=lambda each: each.group):
        console.print(Text(GROUPS[group], style="bold"))
        for each in members:
            models = f" [{', '.join(each.models)}]" if each.models else ""
            console.print(Padding(Text(f"{each.text}{models}"), (0, 0, 0, 2), expand=False))
    if without:
        console.print(Text(f"no paper: {', '.join(without)}", style="dim"))
