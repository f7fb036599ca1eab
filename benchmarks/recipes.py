"""Every recipe on a few real slices: trained, evaluated, used, with its time per epoch and its peak memory.

    python benchmarks/recipes.py --data kaggle_3m [--figshare figshare] [--recipes A,B] [--output runs/recipes]

Takes some patients of each set with the slices around their largest tumour, trains each recipe to the letter on them
but for its length (one epoch a stage), and writes a table as Markdown. Seconds per epoch are what the images/s of that
short training make of all the slices that an epoch over the training part of the whole set shows.
"""

import argparse
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

# Imported before the forks, so that no recipe pays for them.
import tumorseg.evaluation.report
import tumorseg.inference.batch
import tumorseg.inference.onnx_runtime
import tumorseg.training.fit  # noqa: F401
from tumorseg.datasets.dealing import make_split
from tumorseg.datasets.prepared import Store
from tumorseg.datasets.store import prepare
from tumorseg.errors import ModelError, TumorsegError
from tumorseg.evaluation.evaluate import evaluate_run, read_log
from tumorseg.inference.batch import segment_listing
from tumorseg.inference.inputs import find_inputs
from tumorseg.inference.model import read_model
from tumorseg.inference.predictor import Predictor
from tumorseg.recipe import Recipe
from tumorseg.recipe_file import load_recipe, recipe_names
from tumorseg.training.batches import PartOfStore, TrainingBatches
from tumorseg.training.fit import fitted_to, train

PATIENTS, SLICES = 8, 8


def few_lgg(store: Store, folder: Path) -> Path:
    """Copy the slices around the largest tumour section of a few patients."""
    for entry in store.stored[:: len(store.stored) // PATIENTS][:PATIENTS]:
        rows = slice(entry.first, entry.first + entry.shape[0])
        middle = int(store.tumour_pixels[rows].argmax())
        first = min(max(0, middle - SLICES // 2), max(0, entry.shape[0] - SLICES))
        home = folder / "kaggle_3m" / entry.id
        home.mkdir(parents=True)
        for source in map(Path, entry.sources[first : first + SLICES]):
            shutil.copy(source, home)
            shutil.copy(source.with_name(f"{source.stem}_mask{source.suffix}"), home)
    return folder


def few_figshare(store: Store, folder: Path) -> Path:
    """Copy a few slices of some patients of each class."""
    folder.mkdir(parents=True)
    for index in range(len(store.classes)):
        holders = [store.stored[int(store.scan_index[row])] for row in np.flatnonzero(store.class_pixels[:, index])]
        for patient in list(dict.fromkeys(entry.patient for entry in holders))[:3]:
            for entry in [entry for entry in holders if entry.patient == patient][:SLICES]:
                shutil.copy(entry.sources[0], folder)
    return folder


def shortened(recipe: Recipe) -> Recipe:
    """One epoch, or one in each stage."""
    stages = tuple(stage.model_copy(update={"epochs": 1}) for stage in recipe.stages)
    return recipe.model_copy(update={"epochs": 1, "stages": stages, "validate_every": 1})


def slices_per_epoch(recipe: Recipe, store: Store) -> int:
    """What an epoch over the training part of the whole set shows."""
    fitted = fitted_to(store, recipe)
    size = recipe.batch_size if recipe.batch_size != "auto" else 16
    part = PartOfStore.of(store, fitted, make_split(store, fitted.split), "train")
    return len(TrainingBatches(part, batch_size=size, step_now=lambda: 0)) * size


def run_one(recipe: Recipe, data: Path, output: Path) -> dict[str, float]:
    """Train, evaluate and use one recipe; MATLAB's files are no inputs of `segment`."""
    began = time.monotonic()
    train(shortened(recipe), data, output)
    rate = [row["images_per_second"] for row in read_log(output / "log.csv")][-1]
    folder = evaluate_run(output)
    if recipe.name.startswith("figshare"):
        masks = 0
    else:
        one = next(entry for entry in sorted((data / "kaggle_3m").iterdir()))
        outcome = segment_listing(find_inputs([one]), Predictor(read_model(output)), output / "masks")
        masks = outcome.masks
    pooled = json.loads((folder / "metrics.json").read_text())["dice_pooled"]
    parameters = json.loads((output / "environment.json").read_text())["parameters"]
    took = time.monotonic() - began
    return {"rate": rate, "parameters": parameters, "pooled": pooled, "masks": masks, "took": took}


def in_a_child(recipe: Recipe, data: Path, output: Path) -> tuple[dict[str, float] | str, float]:
    """What `run_one` gives or why it could not, and the child's peak memory in GiB."""
    answer = output.with_suffix(".json")
    child = os.fork()
    if child == 0:
        try:
            said: dict[str, float] | str = run_one(recipe, data, output)
        except ModelError:
            said = "not run: weights unavailable"
        except TumorsegError as error:
            said = f"failed: {error}"
        except BaseException as error:
            said = f"failed: {type(error).__name__}: {error}"
        answer.write_text(json.dumps(said))
        os._exit(0)
    _, _, used = os.wait4(child, 0)
    scale = 2**30 if sys.platform == "darwin" else 2**20
    return json.loads(answer.read_text()), used.ru_maxrss / scale


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--figshare", type=Path)
    parser.add_argument("--recipes", default="")
    parser.add_argument("--output", type=Path, default=Path("runs/recipes"))
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.ERROR)
    options.output.mkdir(parents=True)
    lgg = prepare(options.data)
    lgg_few = few_lgg(lgg, options.output / "lgg")
    figshare = prepare(options.figshare) if options.figshare else None
    figshare_few = few_figshare(figshare, options.output / "figshare") if figshare else None
    print(
        "| recipe | weights, M | images/s | an epoch of the whole set | peak memory, GiB | |\n|---|--:|--:|--:|--:|---|"
    )
    for name in options.recipes.split(",") if options.recipes else recipe_names():
        recipe = load_recipe(name)
        of_figshare = name.startswith("figshare")
        store, data = (figshare, figshare_few) if of_figshare else (lgg, lgg_few)
        if store is None or data is None:
            print(f"| {name} | | | | | not run: needs --figshare |", flush=True)
            continue
        said, memory = in_a_child(recipe, data, options.output / name)
        if isinstance(said, str):
            print(f"| {name} | | | | | {said} |", flush=True)
            continue
        seconds = slices_per_epoch(recipe, store) / said["rate"]
        epoch = f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
        print(
            f"| {name} | {said['parameters'] / 1e6:.1f} | {said['rate']:.2g} | {epoch} | {memory:.1f} | |", flush=True
        )


if __name__ == "__main__":
    main()
