"""Which recipes a study trains, as one types them: `default`, `mine.yaml`, `unet-plain:loss=bce;epochs=20`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tumorseg.errors import RecipeError
from tumorseg.recipe import Recipe
from tumorseg.recipe_file import load_recipe

_OPENING, _CLOSING = "([{", ")]}"
_UNFIT = re.compile(r"[^\w.=+-]+")


@dataclass(frozen=True)
class Entry:
    """One recipe of a study.

    Attributes:
        label: what tables call it, and the name of its run folder.
        recipe: every choice, the changes applied.
        changed: whether it differs from the recipe whose name it bears.
    """

    label: str
    recipe: Recipe
    changed: bool


def read_entries(text: str, settings: Sequence[str] = ()) -> tuple[Entry, ...]:
    """Read what `--recipes` names.

    Args:
        text: entries separated by commas. Each is a recipe's name or YAML file, and after a colon its own changes,
            `key=value` separated by semicolons; commas within brackets separate nothing.
        settings: changes of all entries, as `--set` takes them; an entry's own come on top.

    Raises:
        RecipeError: an entry is empty, unknown or named twice, or a key or value is wrong.
    """
    entries = tuple(_entry(part.strip(), settings) for part in _outside_brackets(text, ","))
    labels = [entry.label for entry in entries]
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise RecipeError(f"--recipes names {twice} twice", next_step="leave one out, or change a key of one of them")
    return entries


def _entry(text: str, settings: Sequence[str]) -> Entry:
    source, _, changes = text.partition(":")
    source = source.strip()
    if not source:
        raise RecipeError(
            "--recipes has an entry without a recipe", next_step="write e.g. --recipes default,unet-plain"
        )
    own = [change.strip() for change in _outside_brackets(changes, ";") if change.strip()]
    recipe = load_recipe(source, [*settings, *own])
    name = Path(source).stem if source.endswith((".yaml", ".yml")) else source
    return Entry(label_of("+".join((name, *own))), recipe, changed=recipe != load_recipe(source))


def label_of(text: str) -> str:
    """The text with what a folder's name should not hold as underscores."""
    return _UNFIT.sub("_", text).strip("_.") or "run"


def _outside_brackets(text: str, separator: str) -> list[str]:
    """The pieces between separators that no bracket encloses."""
    pieces, depth = [""], 0
    for sign in text:
        depth += (sign in _OPENING) - (sign in _CLOSING)
        if sign == separator and depth <= 0:
            pieces.append("")
        else:
            pieces[-1] += sign
    return pieces
