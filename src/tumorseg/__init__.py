"""Brain tumour segmentation on MRI: train, judge by patient, segment.

The names below are imported when they are first used, so that `import tumorseg` costs nothing. docs/api.md shows them
all at work.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tumorseg.api.data import explore, export, fetch
    from tumorseg.api.dataset import Dataset, make_phantom, open_dataset, split
    from tumorseg.api.evaluation import Evaluation, evaluate, evaluate_masks
    from tumorseg.api.model import Model, SegmentedScan, export_model, load_model
    from tumorseg.api.picture import Picture
    from tumorseg.api.run import Run, open_run, train
    from tumorseg.api.show import show
    from tumorseg.api.studies import Study, audit_leakage, compare, crossval, slurm_script
    from tumorseg.api.table import Table
    from tumorseg.datasets.lgg import read_lgg
    from tumorseg.datasets.split import Split
    from tumorseg.errors import TumorsegError
    from tumorseg.evaluation.evaluate import evaluate_run
    from tumorseg.inference.model import read_model
    from tumorseg.inference.predictor import Predictor
    from tumorseg.recipe import Recipe
    from tumorseg.recipe_file import load_recipe, recipe_names
    from tumorseg.scan import Scan, Segmentation

_HOMES = {
    "Dataset": "tumorseg.api.dataset",
    "Evaluation": "tumorseg.api.evaluation",
    "Model": "tumorseg.api.model",
    "Picture": "tumorseg.api.picture",
    "Predictor": "tumorseg.inference.predictor",
    "Recipe": "tumorseg.recipe",
    "Run": "tumorseg.api.run",
    "Scan": "tumorseg.scan",
    "Segmentation": "tumorseg.scan",
    "SegmentedScan": "tumorseg.api.model",
    "Split": "tumorseg.datasets.split",
    "Study": "tumorseg.api.studies",
    "Table": "tumorseg.api.table",
    "TumorsegError": "tumorseg.errors",
    "audit_leakage": "tumorseg.api.studies",
    "compare": "tumorseg.api.studies",
    "crossval": "tumorseg.api.studies",
    "evaluate": "tumorseg.api.evaluation",
    "evaluate_masks": "tumorseg.api.evaluation",
    "evaluate_run": "tumorseg.evaluation.evaluate",
    "explore": "tumorseg.api.data",
    "export": "tumorseg.api.data",
    "export_model": "tumorseg.api.model",
    "fetch": "tumorseg.api.data",
    "load_model": "tumorseg.api.model",
    "load_recipe": "tumorseg.recipe_file",
    "make_phantom": "tumorseg.api.dataset",
    "open_dataset": "tumorseg.api.dataset",
    "open_run": "tumorseg.api.run",
    "read_lgg": "tumorseg.datasets.lgg",
    "read_model": "tumorseg.inference.model",
    "recipe_names": "tumorseg.recipe_file",
    "show": "tumorseg.api.show",
    "slurm_script": "tumorseg.api.studies",
    "split": "tumorseg.api.dataset",
    "train": "tumorseg.api.run",
}

__all__ = [
    "Dataset",
    "Evaluation",
    "Model",
    "Picture",
    "Predictor",
    "Recipe",
    "Run",
    "Scan",
    "Segmentation",
    "SegmentedScan",
    "Split",
    "Study",
    "Table",
    "TumorsegError",
    "__version__",
    "audit_leakage",
    "compare",
    "crossval",
    "evaluate",
    "evaluate_masks",
    "evaluate_run",
    "explore",
    "export",
    "export_model",
    "fetch",
    "load_model",
    "load_recipe",
    "make_phantom",
    "open_dataset",
    "open_run",
    "read_lgg",
    "read_model",
    "recipe_names",
    "show",
    "slurm_script",
    "split",
    "train",
]


def __getattr__(name: str) -> Any:
    if home := _HOMES.get(name):
        return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'tumorseg' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
