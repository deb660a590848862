"""`uadbench test-model`: contract checks of a model, and one short run under the smallest protocol."""

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
"""Time limit of the short run, in seconds; checks have the limit of `uadbench.testing`."""


def test_model(
    model: Annotated[str, typer.Argument(help="Name of a model, or PATH.py:Class for your own.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Set an option of the model: OPTION=VALUE, for example latent=16. May be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome of each check as JSON.")] = False,
) -> None:
    """Check that a model meets the contract, and run it once under protocol smoke.

    Failures are explained with file and line. No files are kept.

    Exit code 0: all checks pass. 1: a check fails. 2: no such model.
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
    """Parse OPTION=VALUE, or MODEL.OPTION=VALUE as for `uadbench run`."""
    options = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        owner, _, option = key.rpartition(".")
        if not equals or not option or (owner and owner not in owners):
            raise InputError(f"--set {setting}: write OPTION=VALUE")
        options[option] = value
    return options


def _with_options(plugin: type[Model], options: Mapping[str, Any]) -> type[Model]:
    """A subclass with these options in its recipe, from which the checks take them."""
    if not options:
        return plugin
    from uadbench.testing import RECIPE

    recipes = {RECIPE: {**plugin.recipes.get(RECIPE, {}), **options}}
    attributes = {"__module__": plugin.__module__, "__doc__": plugin.__doc__, "recipes": recipes}
    return type(plugin.__name__, (plugin,), attributes)


def _smoke(
    model: str, plugin: type[Model], options: Mapping[str, Any], ready: bool
) -> tuple[CheckOutcome, dict[str, float | None]]:
    """Run the model and the z-score once; returns the outcome, and the ranking AP of both by name."""
    from uadbench.testing import CheckOutcome, attempt

    scores: dict[str, float | None] = {}
    started = time.monotonic()
    wrong = "not tried, because checks did not end"
    if ready:
        wrong = attempt(lambda: scores.update(_scored(model, options)), plugin, SMOKE_LIMIT_S)
    about = f"The model can be trained and scored under protocol {SMOKE}."
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

    explanation = Column("requirement or failure", "prose")
    table = Fitted(Column("check", "prose"), Column("verdict", "name"), explanation, "s")
    first_checks: dict[str, str] = {}  # failure -> the first check that reports it
    for finding in findings:
        text = Text(finding.about, style="dim")
        if finding.wrong:
            first = first_checks.setdefault(finding.wrong, finding.check)
            text = Text(finding.wrong if first == finding.check else f"same as {first}")
        verdict = Text("fails", style="bold red") if finding.wrong else Text("ok", style="green")
        table.add_row(finding.check, verdict, text, f"{finding.seconds:.1f}")
    terminal().print(table)
    wrong = sum(bool(finding.wrong) for finding in findings)
    print(f"{name}: " + (f"{wrong} of {len(findings)} checks fail" if wrong else f"all {len(findings)} checks pass"))
    if scores:
        own, baseline = scores[name], scores[BASELINE]
        behind = own is not None and baseline is not None and own < baseline
        note = f"; protocol {SMOKE} has few epochs, so try protocol quick as well" if behind else ""
        listed = ", ".join(f"{model} {number(score)}" for model, score in scores.items())
        print(f"ranking AP under {SMOKE}: {listed}{note}")
