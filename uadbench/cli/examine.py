"""`uadbench test-model`: does a model keep the contract, and what comes of it under the smallest protocol?"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uadbench.errors import InputError

if TYPE_CHECKING:
    from uadbench.models.base import Model
    from uadbench.testing import CheckOutcome

BASELINE = "zscore"
SMOKE = "smoke"
SMOKE_LIMIT_S = 600.0
"""Within which the smoke run ends; a check has the limit of `uadbench.testing`."""


def test_model(
    model: Annotated[str, typer.Argument(help="A model's name, or PATH.py:Class.")],
    settings: Annotated[list[str] | None, typer.Option("--set", help="OPTION=VALUE. May be repeated.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Ask a model everything that the contract asks, and run it once under protocol smoke; nothing is kept.

    What goes wrong is told in words, with file and line, and the other checks go on. Exit code 0: all is good;
    1: something is not; 2: there is no such model.
    """
    from uadbench import registry
    from uadbench.models.base import Model
    from uadbench.runtime.files import temporary_place
    from uadbench.runtime.terminal import TerminalProgress
    from uadbench.testing import CHECKS, examine

    plugin = registry.models.get(model)
    if not issubclass(plugin, Model):
        raise InputError(f"{model}: class {plugin.__name__} is not a uadbench.models.base.Model")
    name = plugin.registered_name
    options = registry.check_options(name, plugin, _parse_settings(settings or [], (model, name)))
    temporary_place()  # for want of which no check of the model may fail
    progress = TerminalProgress()
    with progress.task(f"testing {name}", len(CHECKS)) as task:
        findings = []
        for finding in examine(_with_options(plugin, options)):
            findings.append(finding)
            task.advance(1, finding.check)
    smoke, scores = _smoke(model, plugin, options, ready=all(finding.ended for finding in findings))
    findings.append(smoke)
    good = not any(finding.wrong for finding in findings)
    if as_json:
        print(json.dumps({"model": name, "good": good, "checks": _rows(findings), "ranking_ap": scores}, indent=2))
    else:
        _print_findings(name, findings, scores)
    raise typer.Exit(0 if good else 1)


def _parse_settings(settings: Sequence[str], owners: tuple[str, str]) -> dict[str, str]:
    """OPTION=VALUE, or MODEL.OPTION=VALUE as `run` takes it."""
    options = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        owner, _, option = key.rpartition(".")
        if not equals or not option or (owner and owner not in owners):
            raise InputError(f"--set {setting}: write OPTION=VALUE")
        options[option] = value
    return options


def _with_options(plugin: type[Model], options: Mapping[str, Any]) -> type[Model]:
    """The same class with these options in every recipe, which is where checks take options from."""
    if not options:
        return plugin
    from uadbench.testing import RECIPE

    recipes = {RECIPE: {**plugin.recipes.get(RECIPE, {}), **options}}
    told = {"__module__": plugin.__module__, "__doc__": plugin.__doc__, "recipes": recipes}
    return type(plugin.__name__, (plugin,), told)


def _smoke(
    model: str, plugin: type[Model], options: Mapping[str, Any], ready: bool
) -> tuple[CheckOutcome, dict[str, float | None]]:
    """One run of the model and of the z-score: what went wrong, and the ranking AP of both, by name."""
    from uadbench.testing import CheckOutcome, attempt

    scores: dict[str, float | None] = {}
    started = time.monotonic()
    wrong = "was not tried: checks did not end"
    if ready:
        wrong = attempt(lambda: scores.update(_scored(model, options)), plugin, SMOKE_LIMIT_S)
    about = f"It is trained and scored under protocol {SMOKE}."
    seconds = time.monotonic() - started
    return CheckOutcome("smoke run", about, wrong, round(seconds, 2), ended=ready and seconds < SMOKE_LIMIT_S), scores


def _scored(model: str, options: Mapping[str, Any]) -> dict[str, float | None]:
    from uadbench.cohorts.opening import open_cohort
    from uadbench.launch.local import choose_device
    from uadbench.protocols.schema import load_protocol
    from uadbench.runs.fold_data import plan_fold
    from uadbench.runs.keys import Run
    from uadbench.runs.run import complete
    from uadbench.runtime.files import temporary_place
    from uadbench.runtime.terminal import TerminalProgress

    protocol = load_protocol(SMOKE)
    progress = TerminalProgress()
    fold_data = plan_fold(open_cohort(protocol.cohort), protocol, 0, progress)
    with tempfile.TemporaryDirectory(dir=temporary_place()) as folder:
        runs = [Run(model, fold_data, 0, options), Run(BASELINE, fold_data, 0)]
        outcomes = [complete(run, Path(folder), choose_device("auto"), progress) for run in runs]
    return {outcome.result.model.name: outcome.result.headline.ap_standard for outcome in outcomes}


def _rows(findings: Sequence[CheckOutcome]) -> list[dict[str, Any]]:
    return [{"ok": not finding.wrong, **asdict(finding)} for finding in findings]


def _print_findings(name: str, findings: Sequence[CheckOutcome], scores: Mapping[str, float | None]) -> None:
    from rich.text import Text

    from uadbench.cli.fitting import Column, Fitted, terminal
    from uadbench.report.words import number

    words = Column("what is asked, or what is wrong", "prose")
    table = Fitted(Column("check", "prose"), Column("verdict", "name"), words, "s")
    told: dict[str, str] = {}  # what is wrong -> the first check that says it
    for finding in findings:
        told_of = Text(finding.about, style="dim")
        if finding.wrong:
            same = told.setdefault(finding.wrong, finding.check)
            told_of = Text(finding.wrong if same == finding.check else f"the same as {same}")
        verdict = Text("wrong", style="bold red") if finding.wrong else Text("ok", style="green")
        table.add_row(finding.check, verdict, told_of, f"{finding.seconds:.1f}")
    terminal().print(table)
    wrong = sum(bool(finding.wrong) for finding in findings)
    print(f"{name}: " + (f"{wrong} of {len(findings)} checks fail" if wrong else f"all {len(findings)} checks pass"))
    if scores:
        own, baseline = scores[name], scores[BASELINE]
        behind = own is not None and baseline is not None and own < baseline
        note = f"; the few epochs of {SMOKE} may be too few for it: see protocol quick" if behind else ""
        listed = ", ".join(f"{model} {number(score)}" for model, score in scores.items())
        print(f"ranking AP under {SMOKE}: {listed}{note}")
