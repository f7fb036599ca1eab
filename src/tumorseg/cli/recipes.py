"""`tumorseg recipes`: the recipes that ship, or one of them in full."""

import re
from typing import Annotated

import typer

EXAMPLE = "tumorseg recipes default"


def recipes(
    name: Annotated[str | None, typer.Argument(help="A recipe's name or YAML file; without it, list all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON for programs.")] = False,
) -> None:
    """List the recipes that ship, or show every field of one."""
    from tumorseg.cli.console import aligned, emit, emit_json
    from tumorseg.networks import weights_at_hand
    from tumorseg.recipe_file import dump_recipe, load_recipe, recipe_names

    if name is not None:
        recipe = load_recipe(name)
        if as_json:
            emit_json(recipe.model_dump(mode="json"))
        else:
            emit(dump_recipe(recipe))
        return
    shipped = [
        (recipe, weights_at_hand(recipe.network.encoder, recipe.network.weights))
        for recipe in map(load_recipe, recipe_names())
    ]
    if as_json:
        emit_json(
            [
                {"name": recipe.name, "description": recipe.description, "weights_at_hand": at_hand}
                for recipe, at_hand in shipped
            ]
        )
    else:
        emit(aligned((recipe.name, _brief(recipe.description, at_hand=at_hand)) for recipe, at_hand in shipped))


def _brief(description: str, *, at_hand: bool) -> str:
    """The first sentence of a description, and what is missing to run the recipe here."""
    first = re.split(r"\.\s+(?=[A-Z])", " ".join(description.split()), maxsplit=1)[0].rstrip(".")
    return first if at_hand else f"{first} [weights unavailable here]"
