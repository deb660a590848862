"""`uadbench run`: training and evaluation of models under a protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uadbench.cli.stopping import stopped
from uadbench.errors import InputError, Unfinished
from uadbench.launch.slurm import SLURM_KEYS
from uadbench.runtime.profiling import clock, phase

if TYPE_CHECKING:
    from uadbench.launch.backend import Backend
    from uadbench.launch.plan import Request
    from uadbench.launch.sweep import Sweep
    from uadbench.runs.keys import Run
    from uadbench.runtime.progress import Progress


def run(
    model: Annotated[
        list[str],
        typer.Option(
            "--model",
            "-m",
            help="Model to run: a name, several with commas, PATH.py:Class, or 'all'. May be repeated. 'uadbench list "
            "models' lists names.",
        ),
    ],
    protocol: Annotated[
        str, typer.Option(help="Protocol: a name ('uadbench list protocols') or a TOML file.")
    ] = "quick",
    cohort: Annotated[
        str | None,
        typer.Option(
            help="Cohort to train on: 'phantom', a CAPS folder, or a .tsv or .csv table of scans. Default: that of the "
            "protocol."
        ),
    ] = None,
    test_cohort: Annotated[
        str | None, typer.Option(help="Another cohort to test on. Default: the cohort of --cohort.")
    ] = None,
    healthy: Annotated[
        str | None,
        typer.Option(help="Diagnoses of healthy people, for example CN or CN,SMC. Default: those of the protocol."),
    ] = None,
    patients: Annotated[
        str | None,
        typer.Option(help="Diagnoses of patients, for example AD or AD,MCI. Default: those of the protocol."),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(
            help="Training, validation and test participants: a ClinicaDL split folder or a .json file. Default: a "
            "split by the protocol."
        ),
    ] = None,
    simulated: Annotated[
        Path | None,
        typer.Option(help="Additional test sets: a folder of scans that ClinicaDL simulated from this cohort."),
    ] = None,
    fold: Annotated[
        str | None, typer.Option(help="Folds to run, for example 0 or 0,1 or 'all'. Default: those of the protocol.")
    ] = None,
    seed: Annotated[
        str | None, typer.Option(help="Seeds to run, for example 0 or 0,1,2. Default: those of the protocol.")
    ] = None,
    device: Annotated[
        str,
        typer.Option(help="Device to use: 'auto' (GPU if there is one), 'cpu', 'cuda', or a numbered GPU ('cuda:1')."),
    ] = "auto",
    output: Annotated[Path, typer.Option(help="Folder for results.")] = Path("runs"),
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            help="MLflow address for results: sqlite:///PATH, http://HOST:PORT, or 'none'. Default: the environment "
            "variable MLFLOW_TRACKING_URI, or a database in OUTPUT."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Set a model option (MODEL.OPTION=VALUE) or override a protocol setting "
            "(protocol.SECTION.KEY=VALUE; the result is then unranked). May be repeated.",
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="Evaluate these weights instead of training: a .safetensors file or a run folder. The result is "
            "unranked."
        ),
    ] = None,
    launcher: Annotated[
        str,
        typer.Option(help="How to execute runs: 'local' (one after another in this process) or 'dask' (in parallel)."),
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Dask: number of workers to start. Default: one per GPU, or per core without GPUs."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Threads of torch in each process. Default: torch's own choice; with Dask, cores divided by workers.",
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Dask: use the workers of an existing scheduler, tcp://HOST:PORT. Default: start workers."),
    ] = None,
    slurm: Annotated[
        str | None,
        typer.Option(
            help="Dask: start workers as Slurm jobs with these options, for example partition=gpu,time=4h. Keys: "
            f"{', '.join(SLURM_KEYS)}."
        ),
    ] = None,
    retries: Annotated[
        int, typer.Option(min=0, help="Dask: number of retries after a worker died or an unexpected error occurred.")
    ] = 2,
    time_limit: Annotated[
        str, typer.Option(help="Time limit for each run, for example 90s, 30m, 4h or 2d; a longer run fails.")
    ] = "1d",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Delete existing results of these runs and start again.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the runs, their state and cost; run nothing.")
    ] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Show how much time each phase took.")] = False,
    details: Annotated[
        bool, typer.Option("--details", help="Print all tables: restoration, detection, severities, files.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print results as JSON.")] = False,
) -> None:
    """Train models on healthy scans and score them on simulated dementias.

    Finished runs are not repeated; interrupted runs continue where they stopped.
    """
    with phase("start"):
        from uadbench.runtime.terminal import TerminalProgress

        progress = TerminalProgress()
        with progress.waiting("loading PyTorch and the models"):
            from uadbench.cli.display import announce
            from uadbench.cli.words import words
            from uadbench.launch.local import choose_device
            from uadbench.launch.plan import Request
            from uadbench.launch.preparing import fold_count, prepare
            from uadbench.launch.ready import require_models
            from uadbench.protocols.schema import load_protocol
            from uadbench.runtime.files import require_writable
            from uadbench.runtime.timeouts import seconds_of
            from uadbench.tracking import chosen_uri

            limit_s = seconds_of("--time-limit", time_limit)
            backend = _backend(launcher, workers, threads, scheduler, slurm, device)
            names = list(dict.fromkeys(name for each in model for name in _names(each, progress)))
            overrides, options = _parse_settings(settings or [])
            chosen = load_protocol(protocol, overrides)
            count = fold_count(chosen, split)
            asked = (("--fold", fold, chosen.runs.folds), ("--seed", seed, chosen.runs.seeds))
            folds, seeds = (_numbers(*each, count) for each in asked)
            if checkpoint is not None:
                folds, seeds = _only_one(names, fold, folds, seed, seeds)
            choose_device(device if backend is None else "cpu")  # refuse a missing device before scans are read
            uri = chosen_uri(tracking_uri, output)
        request = Request(
            models=tuple(names),
            protocol=chosen,
            cohort=cohort or chosen.cohort,
            folds=tuple(folds),
            seeds=tuple(seeds),
            healthy=words("--healthy", healthy),
            patients=words("--patients", patients),
            split=split,
            test_cohort=test_cohort,
            simulated=simulated,
            checkpoint=checkpoint,
        )
        prepared = prepare(request, options, output, uri, progress)
        runs = prepared.runs
    if dry_run:
        from uadbench.cli.plan import print_plan

        print_plan(runs, output, backend, fresh, as_json)
        return
    require_models(runs, output)
    require_writable(output)
    announce(progress, uri, tracking_uri)
    launch = _launcher(prepared.request, runs, output, backend, device, threads, retries)
    sweep = _swept(partial(launch, prepared.tracker, progress, fresh=fresh, limit_s=limit_s), progress, fresh)
    with phase("tables"):
        _print(sweep, uri, as_json, details, clock.seconds if profile else None)
    if sweep.failures:
        failed = "; ".join(f"{run}: {why}" for run, why in sweep.failures.items())
        raise Unfinished(f"{len(sweep.failures)} of {len(runs)} runs have no result: {failed}")


def _launcher(
    request: Request,
    runs: list[Run],
    output: Path,
    backend: Backend | None,
    device: str,
    threads: int | None,
    retries: int,
) -> Callable[..., Sweep]:
    """The function that computes the runs, in this process or on the workers of `backend`."""
    from uadbench.launch.cluster import run_on_cluster
    from uadbench.launch.local import choose_device, run_here
    from uadbench.runtime.threads import torch_threads

    if backend is not None:
        return partial(run_on_cluster, request, runs, output, backend, device, retries=retries)
    where = choose_device(device)

    def here(*arguments: Any, **options: Any) -> Sweep:
        with torch_threads(threads):
            return run_here(runs, output, where, *arguments, **options)

    return here


def _print(sweep: Sweep, uri: str | None, as_json: bool, details: bool, seconds: dict[str, float] | None) -> None:
    from uadbench.cli.outcome import print_json, print_outcome

    if as_json:
        print_json(sweep, seconds)
    else:
        print_outcome(sweep, uri, details, seconds)


def _swept(launch: Callable[..., Sweep], progress: Progress, fresh: bool) -> Sweep:
    """Execute all runs and print a line for each finished one. Raises Stopped if a signal stops it."""
    try:
        return launch(on_result=lambda outcome: progress.notice(_one_line(outcome)))
    except KeyboardInterrupt as request:
        how = "the same command again, without --fresh," if fresh else "the same command again"
        raise stopped(request, f"; give {how} to continue") from None


def _backend(
    launcher: str,
    workers: int | None,
    threads: int | None,
    scheduler: str | None,
    slurm: str | None,
    device: str,
) -> Backend | None:
    """Which workers compute the runs; None for this process. Raises InputError for options that contradict."""
    from uadbench.launch.backend import Backend, require_dask
    from uadbench.launch.local import DEVICES, choose_device
    from uadbench.launch.slurm import parse_slurm

    if launcher not in {"local", "dask"}:
        raise InputError(f"--launcher {launcher}: give local or dask")
    dask_options = {"--workers": workers, "--scheduler": scheduler, "--slurm": slurm}
    for option, value in dask_options.items():
        if value is not None and launcher == "local":
            raise InputError(f"{option} {value}: only valid with --launcher dask; add it, or leave {option} out")
    if launcher == "local":
        return None
    for option, value in (("--workers", workers), ("--slurm", slurm)):
        if scheduler is not None and value is not None:
            raise InputError(f"{option} {value}: --scheduler {scheduler} has its own workers; give only one of the two")
    require_dask()
    if ":" in device:
        raise InputError(f"--device {device}: each worker chooses its own GPU; leave the number out")
    if device not in DEVICES:
        raise InputError(f"--device {device}: no such device; give auto, cpu or cuda")
    job = None if slurm is None else parse_slurm(slurm)
    gpus = 0
    if device != "cpu" and scheduler is None and job is None:
        import torch

        gpus = torch.cuda.device_count()
        choose_device(device)
    return Backend(workers, threads, scheduler, job, gpus)


def _names(given: str, progress: Progress) -> list[str]:
    """The models of one `--model`; a path may contain commas."""
    if ".py:" in given:
        return [given]
    parts = [part.strip() for part in given.split(",") if part.strip()] or [given]
    return [name for part in parts for name in (_all_models(progress) if part == "all" else [part])]


def _all_models(progress: Progress) -> list[str]:
    """Every registered model; models whose extra is missing are left out with a warning."""
    from uadbench import registry
    from uadbench.models.extras import missing_packages

    names = []
    for name, plugin in sorted(registry.models.load_all().items()):
        extra = str(getattr(plugin, "extra", ""))
        if missing := missing_packages(extra):
            install = f"pip install 'uadbench[{extra}]'"
            progress.warning(f"{name} is skipped: it needs {' and '.join(missing)}; install with: {install}")
        else:
            names.append(name)
    return names


def _parse_settings(settings: Sequence[str]) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Divide `--set` into overrides of the protocol and options of models."""
    overrides: dict[str, str] = {}
    options: dict[str, dict[str, str]] = {}
    for setting in settings:
        target, equals, value = setting.partition("=")
        owner, dot, key = target.rpartition(".")
        if not equals or not dot or not key:
            raise InputError(f"--set {setting}: write MODEL.OPTION=VALUE or protocol.SECTION.KEY=VALUE")
        if target.startswith("protocol."):
            overrides[target.removeprefix("protocol.")] = value
        else:
            options.setdefault(owner, {})[key] = value
    return overrides, options


def _only_one(
    names: Sequence[str], fold: str | None, folds: list[int], seed: str | None, seeds: list[int]
) -> tuple[list[int], list[int]]:
    """Fold and seed for the evaluation of given weights; the first ones of the protocol by default."""
    if len(names) != 1:
        raise InputError(f"--checkpoint: weights belong to one model; give only one of {', '.join(names)}")
    for option, text, numbers in (("--fold", fold, folds), ("--seed", seed, seeds)):
        if text is not None and len(numbers) > 1:
            raise InputError(
                f"{option} {text}: --checkpoint evaluates the weights of one training; give only one number"
            )
    return folds[:1], seeds[:1]


def _numbers(option: str, text: str | None, default: Sequence[int], folds: int) -> list[int]:
    if text is None:
        return list(default)
    if option == "--fold" and text == "all":
        return list(range(folds))
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{option} {text}: give numbers from 0, such as 0 or 0,1,2") from None
    if min(numbers) < 0:
        raise InputError(f"{option} {text}: give numbers from 0, such as 0 or 0,1,2")
    return list(dict.fromkeys(numbers))


def _one_line(outcome: Any) -> str:
    from uadbench.report.words import number

    result = outcome.result
    if outcome.reused:
        done = "finished earlier"
    elif result.model.weights is not None:
        done = f"weights from a file, SHA-256 {result.model.weights[:12]}: unranked"
    else:
        done = f"trained in {result.cost.train_seconds:.0f} s"
    return f"{result.model.name}: ranking AP {number(result.headline.ap_standard)} ({done})"
