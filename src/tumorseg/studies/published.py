"""What the systems behind the recipes reported of themselves, in their own metric."""

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

import yaml
from pydantic import TypeAdapter


@dataclass(frozen=True)
class Published:
    """One figure.

    Attributes:
        metric: key in metrics.json of the definition that was used, as far as it can be told.
        part: "train", "val" or "test".
        value: as published.
        unit: what the split dealt; with "slice", slices of one patient lie in several parts.
        note: on the split and on what is not known.
    """

    metric: str
    part: Literal["train", "val", "test"]
    value: float
    unit: Literal["patient", "slice"]
    note: str = ""


@cache
def published_figures() -> dict[str, tuple[Published, ...]]:
    """Published figures by the name of the recipe that follows the system."""
    text = (resources.files("tumorseg.studies") / "published.yaml").read_text(encoding="utf-8")
    return TypeAdapter(dict[str, tuple[Published, ...]]).validate_python(yaml.safe_load(text))


def published_of(recipe: str, part: str) -> tuple[Published, ...]:
    """What was published of a recipe's system for one part; often nothing."""
    return tuple(figure for figure in published_figures().get(recipe, ()) if figure.part == part)
