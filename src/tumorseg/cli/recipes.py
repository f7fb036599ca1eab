"""`tumorseg recipes`: the recipes that ship, or one of them in full."""

from typing import Annotated

import typer

EXAMPLE = "tumorseg recipes default"


def recipes(
    name: Annotated[str | None, typer.Argument(help="A recipe's name or YAML file; without it, list all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON for programs.")] = False,
) -> None:
    """List the recipes that ship, or show every field of one."""
    from tumorseg.cli.console import aligned, emit, emit_json
    from tumorseg.recipe import dump_recipe, load_recipe, recipe_names

    if name is not None:
        recipe = load_recipe(name)
        if as_json:
            emit_json(recipe.model_dump(mode="json"))
        else:
            emit(dump_recipe(recipe))
        return
    shipped = [load_recipe(each) for each in recipe_names()]
    if as_json:
        emit_json([{"name": recipe.name, "description": recipe.description} for recipe in shipped])
    else:
        emit(aligned((recipe.name, " ".join(recipe.description.split())) for recipe in shipped))
