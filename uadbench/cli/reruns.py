"""Reruns of committed results for `uadbench leaderboard verify --rerun`: selection, execution and printing."""

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


def selected_runs(
    entries: Sequence[Entry], models: Sequence[str], protocol: str | None, seed: int | None
) -> list[Entry]:
    """Select the committed runs to repeat.

    Args:
        entries: All committed results.
        models: Names of the models.
        protocol: Only runs of this protocol; None for all.
        seed: Only runs with this seed; None for all.

    Returns:
        The selected results.

    Raises:
        InputError: If a model has no such run.
    """
    selected = []
    for name in models:
        own = [entry for entry in entries if entry.result.model.name == name]
        if not own:
            names = sorted({entry.result.model.name for entry in entries})
            raise InputError(f"--rerun {name}: no committed result of that model; {did_you_mean(name, names)}")
        chosen = [e for e in own if protocol in (None, e.result.protocol.name) and seed in (None, e.result.seed)]
        if not chosen:
            runs = "; ".join(f"{e.result.protocol.name}, seed {e.result.seed}" for e in own)
            filters = " and ".join(
                f"--{option} {value}" for option, value in (("protocol", protocol), ("seed", seed)) if value is not None
            )
            raise InputError(f"--rerun {name}: no committed run with {filters}; available: {runs}")
        selected += chosen
    return selected


def run_again(
    entries: Sequence[Entry],
    selected: Sequence[Entry],
    cohort_seed: int | None,
    root: Path,
    output: Path,
    device: torch.device,
) -> list[Rerun]:
    """Train and evaluate committed runs again.

    Args:
        entries: All committed results; those of the same row set the tolerances.
        selected: The runs to repeat.
        cohort_seed: Seed of another phantom population to use; None for the committed cohort.
        root: The leaderboard folder.
        output: Folder for the new runs.
        device: Device to compute on.

    Returns:
        The outcomes, in the order of the selected runs.
    """
    from uadbench.runtime.terminal import TerminalProgress

    done, progress = [], TerminalProgress()
    for entry in selected:
        if cohort_seed is not None:
            done.append(rerun_elsewhere(entry, cohort_seed, root, output, device, progress))
        else:
            siblings = [e for e in entries if e.result.model.name == entry.result.model.name and _alike(e, entry)]
            done.append(rerun(entry, siblings, root, output, device, progress))
    return done


def _alike(one: Entry, other: Entry) -> bool:
    """Whether two runs of a model belong to the same row."""
    first, second = one.result, other.result
    return (first.protocol.hash, first.testset.recipe, canonical(first.model.options)) == (
        second.protocol.hash,
        second.testset.recipe,
        canonical(second.model.options),
    )


def print_rerun(each: Rerun) -> None:
    """Print the outcome of a rerun: one line, and another for every metric outside its tolerance."""
    committed, again = each.entry.result, each.result
    run = f"{committed.model.name} {committed.protocol.name} fold {committed.fold} seed {committed.seed}"
    scores = f"ranking AP {_bounds(committed.headline.ap_standard, committed.headline.ap_interval)} committed, "
    scores += f"{_bounds(again.headline.ap_standard, again.headline.ap_interval)} on {again.cohort.name}"
    if not each.changes:
        print(f"{run}: {scores}: the intervals {'overlap' if each.holds else 'do not overlap'}")
        return
    same = len(each.changes) - len(each.moved)
    print(f"{run}: {scores}; {same} of {len(each.changes)} metrics agree within their tolerance")
    for change in each.moved:
        print(f"  {change.metric}: {change.baseline} -> {change.result} (tolerance {change.tolerance:.3g})")


def _bounds(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "n/a"
    return f"{value:.4f}" + ("" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]")
