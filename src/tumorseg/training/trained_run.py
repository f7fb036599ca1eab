"""A run as it was trained: its model, its recipe, its split, and its network in torch."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from tumorseg.datasets.split import Split, read_split
from tumorseg.errors import ModelError
from tumorseg.inference.model import Model, read_model
from tumorseg.networks import build_network
from tumorseg.networks.state_file import read_state
from tumorseg.recipe import Recipe
from tumorseg.recipe_file import load_recipe
from tumorseg.training.joined import Joined

WEIGHTS_NAME = "weights.safetensors"


@dataclass(frozen=True)
class TrainedRun:
    """A run folder whose training ended.

    Attributes:
        folder: where it lies.
        model: the run's own.
        recipe: that it was trained by.
        split: who trained, validated and was tested.
        networks: files of weights, one for each member of an ensemble.
    """

    folder: Path
    model: Model
    recipe: Recipe
    split: Split
    networks: tuple[Path, ...]

    def network(self) -> nn.Module:
        """The network with its trained weights, in evaluation mode; those of an ensemble as one.

        Raises:
            ModelError: the weights are not those of the recipe's network.
        """
        members = [self.member(index) for index in range(len(self.networks))]
        if not self.model.spec.members:
            return members[0]
        return Joined(members, temperature=self.model.spec.temperature).eval()

    def member(self, index: int) -> nn.Module:
        """One of an ensemble's networks, or the only one, as `network`."""
        spec = self.model.spec
        built = build_network(
            self.recipe.network, channels=len(spec.channels), classes=spec.logits, stack=spec.stack, pretrained=False
        )
        try:
            built.load_state_dict(read_state(self.networks[index]))
        except RuntimeError as error:
            raise ModelError(
                f"{self.networks[index]} does not hold the weights of the network in recipe.yaml",
                next_step="restore the run as it was trained",
            ) from error
        return built.eval()


def open_run(run: Path) -> TrainedRun:
    """Open a run with all that an export reads of it.

    Raises:
        ModelError: `run` is no run folder, its training did not end, or its weights are gone.
    """
    model = read_model(run)
    if not (run / "recipe.yaml").is_file() or model.folder != run / "model":
        raise ModelError(f"{run} is no run folder", next_step="give a folder that tumorseg train wrote")
    if model.spec.members:
        networks = tuple(run / "members" / str(n) / "model" / WEIGHTS_NAME for n in range(len(model.spec.members)))
    else:
        networks = (model.folder / WEIGHTS_NAME,)
    if missing := [path for path in networks if not path.is_file()]:
        raise ModelError(
            f"{missing[0]} is missing, so that the export cannot be compared with the network",
            next_step="restore the run as it was trained",
        )
    return TrainedRun(run, model, load_recipe(run / "recipe.yaml"), read_split(run / "split.csv"), networks)
