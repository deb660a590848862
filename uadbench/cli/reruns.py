"""Committed rows run again from the command line, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from uadbench.errors import InputError
from uadbench.leaderboard.entries import Entry
from uadbench.leaderboard.rerun import Rerun, rerun, rerun_elsewhere
from uadbench.registry import did_you_mean
from uadbench.runtime.files import canonical

if TYPE_CHECKING:
    import torch


def wanted_again(
    entries: Sequence[Entry], models: Sequence[str], protocol: str | None, seed: int | None
) -> list[Entry]:
    """Every committed run of these models, or those of one protocol or seed.

    Raises:
        InputError: For a model that has no such run.
    """
    wanted = []
    for name in models:
        own = [entry for entry in entries if entry.result.model.name == name]
        if not own:
            known = sorted({entry.result.model.name for entry in entries})
            raise InputError(f"--rerun {name}: no committed result of that model; {did_you_mean(name, known)}")
        chosen = [e for e in own if protocol in (None, e.result.protocol.name) and seed in (None, e.result.seed)]
        if not chosen:
            runs = "; ".join(f"{e.result.protocol.name}, seed {e.result.seed}" for e in own)
            asked = " and ".join(
                f"--{option} {value}" for option, value in (("protocol", protocol), ("seed", seed)) if value is not None
            )
            raise InputError(f"--rerun {name}: no committed run with {asked}; there are: {runs}")
        wanted += chosen
    return wanted


def run_again(
    entries: Sequence[Entry],
    wanted: Sequence[Entry],
    cohort_seed: int | None,
    root: Path,
    output: Path,
    device: torch.device,
) -> list[Rerun]:
    """The wanted runs, trained and evaluated again; `entries` hold their siblings."""
    from uadbench.runtime.terminal import TerminalProgress

    done, progress = [], TerminalProgress()
    for entry in wanted:
        if cohort_seed is not None:
            done.append(rerun_elsewhere(entry, cohort_seed, root, output, device, progress))
        else:
            siblings = [e for e in entries if e.result.model.name == entry.result.model.name and _alike(e, entry)]
            done.append(rerun(entry, siblings, root, output, device, progress))
    return done


def _alike(one: Entry, other: Entry) -> bool:
    """Whether two runs belong to one row."""
    first, second = one.result, other.result
    return (first.protocol.hash, first.testset.recipe, canonical(first.model.options)) == (
        second.protocol.hash,
        second.testset.recipe,
        canonical(second.model.options),
    )


def print_rerun(each: Rerun) -> None:
    """A line, and one for every metric that moved."""
    committed, again = each.entry.result, each.result
    who = f"{committed.model.name} {committed.protocol.name} fold {committed.fold} seed {committed.seed}"
    told = f"ranking AP {_bounds(committed.headline.ap_standard, committed.headline.ap_interval)} committed, "
    told += f"{_bounds(again.headline.ap_standard, again.headline.ap_interval)} on {again.cohort.name}"
    if not each.changes:
        print(f"{who}: {told}: the intervals {'meet' if each.holds else 'do not meet'}")
        return
    same = len(each.changes) - len(each.moved)
    print(f"{who}: {told}; {same} of {len(each.changes)} metrics are the same")
    for change in each.moved:
        print(f"  {change.metric}: {change.baseline} -> {change.result} (tolerance {change.tolerance:.3g})")


def _bounds(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "n/a"
    return f"{value:.4f}" + ("" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]")
