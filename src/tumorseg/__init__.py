"""Brain tumour segmentation on MRI: train, judge by patient, segment.

The names below are imported when they are first used, so that `import tumorseg` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tumorseg.datasets.lgg import read_lgg
    from tumorseg.errors import TumorsegError
    from tumorseg.evaluation.evaluate import evaluate_run
    from tumorseg.inference.model import read_model
    from tumorseg.inference.predictor import Predictor
    from tumorseg.recipe import Recipe
    from tumorseg.recipe_file import load_recipe, recipe_names
    from tumorseg.scan import Scan, Segmentation
    from tumorseg.training.fit import train

_HOMES = {
    "Predictor": "tumorseg.inference.predictor",
    "Recipe": "tumorseg.recipe",
    "Scan": "tumorseg.scan",
    "Segmentation": "tumorseg.scan",
    "TumorsegError": "tumorseg.errors",
    "evaluate_run": "tumorseg.evaluation.evaluate",
    "load_recipe": "tumorseg.recipe_file",
    "read_lgg": "tumorseg.datasets.lgg",
    "read_model": "tumorseg.inference.model",
    "recipe_names": "tumorseg.recipe_file",
    "train": "tumorseg.training.fit",
}

__all__ = [
    "Predictor",
    "Recipe",
    "Scan",
    "Segmentation",
    "TumorsegError",
    "__version__",
    "evaluate_run",
    "load_recipe",
    "read_lgg",
    "read_model",
    "recipe_names",
    "train",
]


def __getattr__(name: str) -> Any:
    if home := _HOMES.get(name):
        return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'tumorseg' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
