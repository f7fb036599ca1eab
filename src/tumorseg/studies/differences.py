"""What recipes do not have in common."""

from collections.abc import Mapping, Sequence
from typing import Any

from tumorseg.recipe import Recipe

_SAID = ("name", "description")


def recipe_differences(recipes: Sequence[Recipe]) -> list[tuple[str, list[str]]]:
    """The keys in which recipes differ, in the recipes' order, each with its value in every recipe as text.

    Names and descriptions are left out.
    """
    flat = [_flat(recipe.model_dump(mode="json", exclude=set(_SAID))) for recipe in recipes]
    keys = [key for key in flat[0] if any(values[key] != flat[0][key] for values in flat)]
    return [(key, [_text(values[key]) for values in flat]) for key in keys]


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Keys in dotted form, such as network.encoder."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = value
    return found


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value) or "–"
    if isinstance(value, Mapping):
        return " ".join(f"{key} {_text(item)}" for key, item in value.items() if item not in (None, [], ""))
    return f"{value:g}" if isinstance(value, float) else str(value)
