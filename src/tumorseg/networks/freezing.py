"""What a stage of training may freeze."""

from collections.abc import Iterable

from torch import nn

from tumorseg.errors import RecipeError


def can_freeze(network: nn.Module, part: str) -> bool:
    """Whether the network has a part of this name, such as "encoder", that training can hold still."""
    return part in dict(network.named_children())


def refuse_freezing(network: nn.Module, parts: Iterable[str]) -> None:
    """Raise where a stage would freeze what the network does not have.

    Raises:
        RecipeError: names the first such part.
    """
    for part in parts:
        if not can_freeze(network, part):
            raise RecipeError(
                f"key 'stages': this network has no {part} to freeze",
                next_step="remove 'freeze' from the stages, or take a network with an encoder, such as unet",
            )
