"""Every recipe that ships goes the whole way: trained, packaged, judged and used, on small synthetic data."""

import json
from pathlib import Path

import pytest

from matlab_files import write_set
from small_recipe import shrunk
from tumorseg.evaluation.evaluate import evaluate_run
from tumorseg.inference.batch import segment_listing
from tumorseg.inference.inputs import find_inputs
from tumorseg.inference.model import read_model
from tumorseg.inference.predictor import Predictor
from tumorseg.recipe_file import load_recipe, recipe_names
from tumorseg.training.fit import train


@pytest.fixture(scope="module")
def figshare_like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("figshare"), slices=40)


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_trains_is_judged_and_segments(name: str, phantom: Path, figshare_like: Path, tmp_path: Path) -> None:
    recipe = shrunk(load_recipe(name))
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
    assert len(list((tmp_path / "masks").rglob("*_mask.tif"))) == outcome.masks
