"""Train and evaluate models from Python, with the same run folders, cache and keys as `uadbench run`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

from uadbench.api.cohorts import OpenedCohort, reference_of
from uadbench.api.completed import CompletedRun, Runs
from uadbench.api.progress import LoggedProgress
from uadbench.errors import InputError, Unfinished

if TYPE_CHECKING:
    from uadbench.models.base import Model
    from uadbench.protocols.schema import Protocol

    ModelName = str | type[Model]
    CohortName = str | Path | OpenedCohort


class RunOptions(TypedDict, total=False):
    """What `run` takes besides models, folds and seeds; see there."""

    protocol: str | Path
    cohort: CohortName | None
    healthy: Sequence[str]
    patients: Sequence[str]
    split: str | Path | None
    test_cohort: CohortName | None
    options: Mapping[str, Any] | None
    overrides: Mapping[str, Any] | None
    checkpoint: str | Path | None
    device: str
    threads: int | None
    output: str | Path
    tracking: str | None
    fresh: bool
    progress: bool


@overload
def run(model: ModelName, *, folds: None = ..., seeds: None = ..., **others: Unpack[RunOptions]) -> CompletedRun: ...
@overload
def run(
    model: ModelName, *, folds: Sequence[int], seeds: Sequence[int] | None = ..., **others: Unpack[RunOptions]
) -> Runs: ...
@overload
def run(model: ModelName, *, folds: None = ..., seeds: Sequence[int], **others: Unpack[RunOptions]) -> Runs: ...
@overload
def run(
    model: list[str] | list[type[Model]] | list[ModelName] | tuple[ModelName, ...],
    *,
    folds: Sequence[int] | None = ...,
    seeds: Sequence[int] | None = ...,
    **others: Unpack[RunOptions],
) -> Runs: ...
def run(
    model: ModelName | Sequence[ModelName],
    *,
    protocol: str | Path = "quick",
    cohort: CohortName | None = None,
    healthy: Sequence[str] = (),
    patients: Sequence[str] = (),
    split: str | Path | None = None,
    test_cohort: CohortName | None = None,
    folds: Sequence[int] | None = None,
    seeds: Sequence[int] | None = None,
    options: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    checkpoint: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    output: str | Path = "runs",
    tracking: str | None = None,
    fresh: bool = False,
    progress: bool = True,
) -> CompletedRun | Runs:
    """Train models on healthy scans and score them on simulated dementias.

    Finished runs are reused and interrupted runs are continued, also those of the command line.

    Args:
        model: A model's name, "PATH.py:Class", or a class; or a list of these.
        protocol: A protocol's name ("smoke", "quick", "paper"), or a TOML file.
        cohort: "phantom", "phantom:participants=60", the folder of a CAPS tree, a table of scans, or what
            `uadbench.cohort` returned. By default the protocol's.
        healthy: Diagnoses of healthy people, such as ["CN"]. By default the protocol's.
        patients: Diagnoses of patients, such as ["AD"]. By default the protocol's.
        split: Who trains and tests: ClinicaDL's split folder, or a split's .json.
        test_cohort: Another cohort to test on.
        folds: Folds of the split. By default the protocol's, and only its first if one model and no `seeds` are given.
        seeds: Seeds of the training. By default the protocol's, and only its first if one model and no `folds` are
            given.
        options: Options of the model, such as {"latent": 64}; with several models, model -> options.
        overrides: Changes to the protocol, such as {"training.epochs": 3}; the result is then unranked.
        checkpoint: Weights to score instead of training: a .safetensors file, or a run folder (unranked).
        device: "auto", "cpu", "cuda", "cuda:1".
        threads: Number of threads of torch; by default torch chooses.
        output: Folder for run folders.
        tracking: Address of MLflow, such as "sqlite:///runs/mlflow.db"; by default nothing is logged.
        fresh: Delete existing results of these runs and start again.
        progress: Show bars.

    Returns:
        A `CompletedRun` if one model and neither `folds` nor `seeds` are given, else `Runs`.

    Raises:
        InputError: If something is unknown or does not fit; nothing was computed then.
        Unfinished: If no run could be finished.
    """
    from uadbench.launch.local import choose_device, run_here
    from uadbench.launch.plan import Request
    from uadbench.launch.preparing import fold_count, prepare
    from uadbench.launch.ready import require_models
    from uadbench.runtime.files import require_writable
    from uadbench.runtime.threads import torch_threads
    from uadbench.tracking import chosen_uri

    several = isinstance(model, list | tuple)
    names = [name_of(each) for each in (model if isinstance(model, list | tuple) else [model])]
    single = not several and folds is None and seeds is None
    chosen, where, target = protocol_of(protocol, overrides), choose_device(device), Path(output)
    count = fold_count(chosen, None if split is None else Path(split))
    numbers = [_numbers("folds", folds, chosen.runs.folds, count), _numbers("seeds", seeds, chosen.runs.seeds)]
    if single or (checkpoint is not None and folds is None and seeds is None):
        numbers = [each[:1] for each in numbers]
    if checkpoint is not None and (len(names) > 1 or len(numbers[0]) > 1 or len(numbers[1]) > 1):
        raise InputError("checkpoint: weights are of one model, one fold and one seed; ask for one of each")
    log = LoggedProgress(bars=progress)
    request = Request(
        models=tuple(names),
        protocol=chosen,
        cohort=reference_of(cohort) or chosen.cohort,
        folds=numbers[0],
        seeds=numbers[1],
        healthy=tuple(healthy) or _healthy_of(cohort),
        patients=tuple(patients) or _patients_of(cohort),
        split=None if split is None else Path(split),
        test_cohort=reference_of(test_cohort),
        checkpoint=None if checkpoint is None else Path(checkpoint),
    )
    given = dict(options or {}) if several else {names[0]: dict(options or {})}
    uri = None if tracking is None else chosen_uri(tracking, target)
    prepared = prepare(request, given, target, uri, log)
    runs = prepared.runs
    require_models(runs, target)
    require_writable(target)
    with torch_threads(threads):
        sweep = run_here(runs, target, where, prepared.tracker, log, fresh=fresh)
    by_folder = {each.folder(target): each for each in runs}
    done = tuple(CompletedRun(each.result, each.folder, by_folder[each.folder]) for each in sweep.outcomes)
    if not done:
        raise Unfinished("; ".join(f"{label}: {why}" for label, why in sweep.failures.items()))
    return done[0] if single else Runs(done, sweep.failures)


def name_of(model: object) -> str:
    """The name by which the registry knows a model; a class that has none is registered under its own.

    Raises:
        InputError: If it is neither a name nor a class, or its name is taken by another class.
    """
    from uadbench import registry

    if isinstance(model, str):
        return model
    if not isinstance(model, type):
        raise InputError(f"{model!r}: give a model's name or class; an instance goes to uadbench.evaluate(...)")
    name = str(model.__dict__.get("registered_name", ""))
    if name and name in registry.models.names() and registry.models.get(name) is model:
        return name
    registry.models.register(model.__name__)(model)
    return model.__name__


def protocol_of(protocol: str | Path, overrides: Mapping[str, Any] | None = None) -> Protocol:
    """Read a protocol.

    Args:
        protocol: Its name, or a TOML file.
        overrides: Dotted key -> value, such as {"training.epochs": 3}.

    Raises:
        InputError: If the protocol, a key or a value is unknown.
    """
    from uadbench.protocols.schema import load_protocol

    spelled = {
        key: json.dumps(list(value) if isinstance(value, tuple) else value) for key, value in (overrides or {}).items()
    }
    return load_protocol(str(protocol), spelled)


def _numbers(
    what: str, given: Sequence[int] | None, default: Sequence[int], below: int | None = None
) -> tuple[int, ...]:
    if given is None:
        return tuple(default)
    if isinstance(given, int) or not given or min(given) < 0 or (below is not None and max(given) >= below):
        least = "numbers from 0" if below is None else f"numbers from 0 to {below - 1}"
        raise InputError(f"{what}={given!r}: give a list of {least}, such as [0, 1]")
    return tuple(dict.fromkeys(int(number) for number in given))


def _healthy_of(cohort: object) -> tuple[str, ...]:
    return cohort.healthy if isinstance(cohort, OpenedCohort) else ()


def _patients_of(cohort: object) -> tuple[str, ...]:
    return cohort.patients if isinstance(cohort, OpenedCohort) else ()
