"""Every recipe that ships goes the whole way: trained, packaged, judged and used, on small synthetic data."""

import json
from pathlib import Path

import pytest

from matlab_files import write_set
from tumorseg.evaluation.evaluate import evaluate_run
from tumorseg.inference.batch import segment_listing
from tumorseg.inference.inputs import find_inputs
from tumorseg.inference.model import read_model
from tumorseg.inference.predictor import Predictor
from tumorseg.recipe import Recipe
from tumorseg.recipe_file import load_recipe, recipe_names
from tumorseg.training.fit import train

SIZE = 64


def small(name: str) -> Recipe:
    """The recipe on a small grid, for one epoch a stage, from random weights; narrow where it has no encoder."""
    recipe = load_recipe(name)
    features = tuple(8 * 2**stage for stage in range(len(recipe.network.features) or 5))
    changes: dict[str, object] = {"weights": "none"}
    if recipe.network.encoder == "none":
        changes["features"] = features
    elif recipe.network.name != "segformer":  # whose decoder has no stages
        changes["decoder_channels"] = (32, 16, 16, 8, 8)
    return recipe.model_copy(
        update={
            "image_size": SIZE,
            "patch_size": None,
            "batch_size": 4,
            "epochs": 1,
            "stages": tuple(stage.model_copy(update={"epochs": 1}) for stage in recipe.stages),
            "validate_every": 1,
            "test_time_flips": recipe.test_time_flips[:1],
            "network": recipe.network.model_copy(update=changes),
        }
    )


@pytest.fixture(scope="module")
def figshare_like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("figshare"), slices=40)


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_trains_is_judged_and_segments(name: str, phantom: Path, figshare_like: Path, tmp_path: Path) -> None:
    recipe = small(name)
    of_figshare = name.startswith("figshare")
    run = train(recipe, figshare_like if of_figshare else phantom, tmp_path / "run", device="cpu")
    folder = evaluate_run(run)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert 0 <= metrics["dice_patient"]["mean"] <= 1
    assert (folder / "report.html").stat().st_size > 10_000
    assert ("per_class" in metrics) == (len(recipe.classes) > 1)
    spec = read_model(run).spec
    assert (spec.recipe, spec.filters, spec.classes) == (name, recipe.filters, recipe.classes)
    first = next(phantom.iterdir()) if next(phantom.iterdir()).is_dir() else sorted(phantom.glob("TCGA*"))[0]
    outcome = segment_listing(find_inputs([first]), Predictor(read_model(run)), tmp_path / "masks")
    assert not outcome.failures
    assert len(list((tmp_path / "masks").rglob("*_mask.tif"))) == sum(len(result.masks) for result in outcome.results)
