"""Any torch module or function, scored like a registered model."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from uadbench.api.cohorts import OpenedCohort
from uadbench.api.completed import CompletedRun
from uadbench.api.datasets import ScanDataset, fold_data_of
from uadbench.api.progress import LoggedProgress
from uadbench.errors import InputError
from uadbench.evaluation.inference import observe
from uadbench.models.base import Model, ReconstructionModel
from uadbench.models.initial_state import Initial
from uadbench.runs.keys import Run
from uadbench.training.loop import Curve
from uadbench.types import Batch, Grid

ALIKE = 1e-3
"""The largest difference between maps computed alone and in a batch, relative to the largest value of the map."""

Kind = Literal["reconstruction", "map"]
Fit = Callable[[Any, ScanDataset, ScanDataset], object]


def evaluate(
    module: Callable[[Tensor], Any],
    *,
    kind: Kind = "reconstruction",
    fit: Fit | None = None,
    protocol: str | Path = "quick",
    cohort: str | Path | OpenedCohort | None = None,
    healthy: Sequence[str] = (),
    fold: int = 0,
    overrides: dict[str, Any] | None = None,
    name: str | None = None,
    device: str = "auto",
    output: str | Path | None = None,
    progress: bool = True,
) -> CompletedRun:
    """Score a module in memory on a protocol's test sets; the result is unranked.

    Args:
        module: Takes images (N, 1, X, Y, Z) float32 in the models' unit, and returns tensors of the same shape. Of a
            tuple or list the first element counts, as of variational autoencoders; of a dictionary the element
            "reconstruction" or "map". A `torch.nn.Module` is put into eval mode, without gradients.
        kind: What it returns: a "reconstruction" of each image as if healthy, or a "map" that is higher where uptake is
            more suspicious of being too low.
        fit: Called as `fit(module, train, validation)` before the evaluation, with two datasets of healthy scans
            (1, X, Y, Z); see `uadbench.train_dataset`.
        protocol: A protocol's name, or a TOML file.
        cohort: As for `uadbench.run`; by default the protocol's.
        healthy: Diagnoses of healthy people; by default the protocol's.
        fold: The fold of the split.
        overrides: Changes to the protocol.
        name: What the result calls the module; by default its class or function.
        device: "auto", "cpu", "cuda", "cuda:1".
        output: Folder for the run folder; by default a temporary one, which is removed with the returned object.
        progress: Show bars.

    Returns:
        The run. Each call evaluates anew: nothing is known of the module's code by which it could be recognised.

    Raises:
        InputError: If something is unknown or does not fit, or the module mixes the scans of a batch.
        Unfinished: If the module's answers have another shape, or are not finite.
    """
    from uadbench.launch.local import choose_device, prepare_process
    from uadbench.runs.run import complete
    from uadbench.runtime.files import require_folder, require_writable, temporary_place

    if not callable(module) or isinstance(module, type):
        raise InputError(f"{module!r}: give a module or a function; a class goes to uadbench.run(...)")
    if kind not in ("reconstruction", "map"):
        raise InputError(f"kind={kind!r}: give 'reconstruction' or 'map'")
    where = choose_device(device)
    fold_data = fold_data_of(
        protocol, cohort=cohort, healthy=healthy, fold=fold, overrides=overrides, progress=progress
    )
    if fit is not None:
        fit(module, *(ScanDataset(fold_data.protocol, fold_data.scans(part)) for part in ("train", "validation")))
    label = name or _called(module)
    keeps = tempfile.TemporaryDirectory(prefix="uadbench-", dir=temporary_place()) if output is None else None
    target = Path(keeps.name if keeps is not None else cast(Any, output))
    require_folder(target)
    require_writable(target)
    run = ModuleRun(label, fold_data, seed=0, module=module, kind=kind)
    prepare_process()
    _require_each_alone(run, where)
    outcome = complete(run, target, where, LoggedProgress(bars=progress))
    return CompletedRun(outcome.result, outcome.folder, None, keeps)


def _require_each_alone(run: ModuleRun, device: torch.device) -> None:
    """Refuse a module whose answer for a scan depends on the scans beside it: cases of one person share a batch.

    Raises:
        InputError: If it does.
    """
    batch = next(iter(run.fold_data.batches("validation", run.seed, device)))
    model, _ = run.prepared(device)
    model.eval()
    together = observe(model, batch)
    first = Batch(batch.images[:1], batch.age[:1], batch.sex[:1], batch.seeds[:1])
    alone = observe(model, first)
    apart = float((together.anomaly_map[:1] - alone.anomaly_map).abs().max())
    if apart > ALIKE * max(1e-6, float(together.anomaly_map.abs().max())):
        raise InputError(
            f"{run.model}: its answer for a scan depends on the other scans of a batch (by {apart:.2g}); "
            "process each scan on its own"
        )


def _called(module: Callable[[Tensor], Any]) -> str:
    name = getattr(module, "__name__", type(module).__name__)
    return "function" if name == "<lambda>" else str(name)


@dataclass(frozen=True)
class ModuleRun(Run):
    """The run of a module in memory: nothing is trained, and no other run is ever equal to it.

    Attributes:
        module: What is evaluated.
        kind: What it returns.
    """

    module: Callable[[Tensor], Any] = field(kw_only=True)
    kind: Kind = field(kw_only=True)

    @cached_property
    def plugin(self) -> type[Model]:
        """A model class of the module's name, which no registry knows."""
        base = WrappedReconstruction if self.kind == "reconstruction" else WrappedMap
        return cast(type[Model], type(self.model, (base,), {"registered_name": self.model, "__module__": __name__}))

    @cached_property
    def all_options(self) -> dict[str, Any]:
        """None: how the module was made is not known here."""
        return {}

    @cached_property
    def source(self) -> str | None:
        """None: the code of a module in memory is not known."""
        return None

    @cached_property
    def initial(self) -> Initial:
        """The initial state is unknown."""
        return Initial(None, ())

    @property
    def unranked(self) -> str | None:
        """Why the result is not ranked."""
        return "a module in memory: what it learnt from is not known"

    @cached_property
    def fit_key(self) -> str:
        """A random key, so that no other run counts as the same."""
        return uuid.uuid4().hex * 2

    def prepared(self, device: torch.device) -> tuple[Model, Curve]:
        """The module as a model; how it was trained is not known."""
        wrapped = cast(Any, self.plugin)(self.fold_data.protocol.lattice, self.module)
        return wrapped.to(device), Curve()


class _Wrapped(Model):
    """What a reconstructing and a mapping module have in common."""

    def __init__(self, grid: Grid, module: Callable[[Tensor], Any]) -> None:
        super().__init__(grid)
        self.module = module if isinstance(module, nn.Module) else _Function(module)

    def answers(self, batch: Batch, key: str) -> Tensor:
        answer = self.module(batch.images)
        if isinstance(answer, tuple | list):
            answer = answer[0]
        if isinstance(answer, dict):
            if key not in answer:
                raise InputError(f"the module returned a dictionary without '{key}', but with: {', '.join(answer)}")
            answer = answer[key]
        if not isinstance(answer, Tensor):
            raise InputError(f"the module returned a {type(answer).__name__}; return a tensor (N, 1, X, Y, Z)")
        return answer.float()


class WrappedReconstruction(_Wrapped, ReconstructionModel):
    """A module that reconstructs."""

    def reconstruct(self, batch: Batch) -> Tensor:
        """What the module makes of the images, (N, 1, X, Y, Z) float32."""
        return self.answers(batch, "reconstruction")


class WrappedMap(_Wrapped):
    """A module that gives an anomaly map."""

    def anomaly_map(self, batch: Batch) -> Tensor:
        """What the module makes of the images, (N, 1, X, Y, Z) float32."""
        return self.answers(batch, "map")


class _Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: Tensor) -> Any:
        return self.function(images)
