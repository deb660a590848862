"""The mean of other models' anomaly maps (`ensemble`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from uadbench import registry
from uadbench.errors import InputError
from uadbench.models.base import Model
from uadbench.registry import register_model
from uadbench.space.atlas import brain_mask
from uadbench.types import Batch, Grid


@register_model("ensemble")
class Ensemble(Model):
    """The mean of its members' maps, each divided by its root mean square over the brain in training scans.

    Averaging detectors with different errors is the classical ensemble (Aggarwal and Sathe 2017). Members
    are trained together on the same batches, with their own losses and the options of `recipe`; a member
    that learns by gradients keeps its last weights. The model gives a map and no reconstruction.

    Args:
        members: Names of models, separated by commas.
        recipe: Name of the recipe (see `Model.recipes`) from which the members take their options; "" for defaults.
    """

    extra = "networks"
    reference = "Aggarwal and Sathe 2017, Outlier Ensembles, Springer"
    family = "ensemble"
    recipes: ClassVar = {"quick": {"recipe": "quick"}, "paper": {"recipe": "paper"}}
    sizes: Tensor
    brain: Tensor

    def __init__(self, grid: Grid, members: str = "zscore_glm,pca_recon,vae3d,dae3d", recipe: str = "") -> None:
        super().__init__(grid)
        plugins = self.parts({"members": members})
        made = [plugin(grid, **plugin.recipes.get(recipe, {})) for plugin in plugins]
        self.members = nn.ModuleDict(
            {plugin.registered_name: model for plugin, model in zip(plugins, made, strict=True)}
        )
        self.register_buffer("sizes", torch.ones(len(made)))
        self.register_buffer("brain", torch.from_numpy(brain_mask(grid)), persistent=False)

    @classmethod
    def parts(cls, options: Mapping[str, Any]) -> tuple[type[Model], ...]:
        """The members' classes.

        Raises:
            InputError: If a name is unknown or given twice, or there is none.
        """
        names = [name.strip() for name in str(options["members"]).split(",") if name.strip()]
        if not names or len(set(names)) < len(names) or cls.registered_name in names:
            raise InputError(
                f"ensemble.members={options['members']}: name other models, each once, with commas between"
            )
        return tuple(registry.models.get(name) for name in names)

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Fit the members that learn in closed form, and prepare the others."""
        for member in self._members():
            if member.learns_by_gradients:
                member.prepare(batches)
            else:
                with torch.no_grad():
                    member.fit(batches)

    def finish(self, batches: Iterable[Batch]) -> None:
        """Compute the root mean square of each member's maps over the brain."""
        for member in self._members():
            member.finish(batches)
        squares, count = torch.zeros_like(self.sizes, dtype=torch.float64), 0
        for batch in batches:
            for place, member in enumerate(self._members()):
                squares[place] += member.anomaly_map(batch)[:, 0][:, self.brain].square().sum(dtype=torch.float64)
            count += len(batch) * int(self.brain.sum())
        self.sizes.copy_((squares / count).sqrt().clamp_min(1e-6))

    def anomaly_map(self, batch: Batch) -> Tensor:
        """The mean of the members' maps, each divided by its root mean square."""
        maps = [m.anomaly_map(batch).float() / size for m, size in zip(self._members(), self.sizes, strict=True)]
        return torch.stack(maps).mean(0)

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Every loss of every member that learns by gradients."""
        for name, member in self.members.items():
            if isinstance(member, Model) and member.learns_by_gradients:
                for loss_name, loss in member.losses(batch):
                    yield f"{name}.{loss_name}", loss

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Every optimiser of every member that learns by gradients."""
        return {
            f"{name}.{optimiser_name}": optimiser
            for name, member in self.members.items()
            if isinstance(member, Model) and member.learns_by_gradients
            for optimiser_name, optimiser in member.optimisers().items()
        }

    def _members(self) -> list[Model]:
        return [member for member in self.members.values() if isinstance(member, Model)]
