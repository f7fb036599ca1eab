"""Several classes: told apart by softmax, named in the mask, scored each by itself and all together."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tiny_model import write_model
from tumorseg.datasets.prepared import Store
from tumorseg.errors import RecipeError
from tumorseg.evaluation.class_rows import class_rows
from tumorseg.evaluation.judgement import json_ready, judge
from tumorseg.inference.model import read_model
from tumorseg.inference.predictor import Predictor
from tumorseg.postprocess import postprocess
from tumorseg.recipe import Cleaning, Recipe
from tumorseg.recipe_file import load_recipe
from tumorseg.scan import Scan, Segmentation
from tumorseg.training.fit import fitted_to
from tumorseg.training.task import SegmentationTask

CHANNELS = ("pre", "flair", "post")


def two_class_kernel() -> NDArray[np.float32]:
    """Logits (background, a, b): bright in pre-contrast is a, bright in post-contrast is b, all dark is neither."""
    kernel = np.zeros((3, 3, 1, 1), np.float32)
    kernel[1, 0] = kernel[2, 2] = 20
    return kernel


TWO_CLASSES: dict[str, Any] = {
    "kernel": two_class_kernel(),
    "bias": np.array([0, -10, -10], np.float32),
    "classes": ("a", "b"),
}


def two_tumours() -> Scan:
    pixels = np.zeros((2, 64, 64, 3), np.uint8)
    pixels[:, 5:25, 5:25, 0] = 200
    pixels[:, 30:60, 30:60, 2] = 200
    return Scan("s", "p", CHANNELS, lambda: pixels)


@pytest.fixture
def predictor(tmp_path: Path) -> Predictor:
    return Predictor(read_model(write_model(tmp_path / "m", **TWO_CLASSES)))


def test_the_mask_names_the_most_probable_class(predictor: Predictor) -> None:
    answer = predictor.segment(two_tumours())
    assert answer.probability.shape == (2, 64, 64, 2)
    assert (answer.mask[:, 5:25, 5:25] == 1).all() and (answer.mask[:, 30:60, 30:60] == 2).all()
    assert np.count_nonzero(answer.mask) == 2 * (20 * 20 + 30 * 30)
    assert answer.probability.sum(-1).max() <= 1.001
    assert answer.measurements["tumour_voxels"] == 2 * (400 + 900)


def test_flips_and_other_frames_keep_every_class_in_its_place(tmp_path: Path) -> None:
    plain = read_model(write_model(tmp_path / "plain", **TWO_CLASSES))
    flipped = read_model(write_model(tmp_path / "flip", test_time_flips=("horizontal", "vertical"), **TWO_CLASSES))
    wide = np.zeros((1, 64, 96, 3), np.uint8)
    wide[0, 10:30, 10:40, 0] = 200
    wide[0, 40:60, 50:90, 2] = 200
    scan = Scan("w", "p", CHANNELS, lambda: wide)
    one, two = Predictor(plain).segment(scan).mask, Predictor(flipped).segment(scan).mask
    assert np.array_equal(one, two)
    assert (one[0, 15:25, 15:35] == 1).all() and (one[0, 45:55, 55:85] == 2).all()


def test_classes_share_one_threshold_and_are_cleaned_together() -> None:
    probability = np.zeros((2, 20, 20, 2), np.float16)
    probability[0, 2:10, 2:6] = (0.4, 0.2)
    probability[0, 2:10, 6:10] = (0.1, 0.5)
    probability[0, 15, 15] = (0.9, 0.0)
    mask = postprocess(probability, threshold=0.55, cleaning=Cleaning(min_component_voxels=5))
    assert (mask[0, 2:10, 2:6] == 1).all() and (mask[0, 2:10, 6:10] == 2).all() and mask[0, 15, 15] == 0


def test_small_components_are_not_taken_from_a_lone_slice_whose_tumour_may_be_large() -> None:
    probability = np.zeros((2, 20, 20), np.float16)
    probability[0, 3:6, 3:6] = 0.9
    cleaning = Cleaning(min_component_voxels=10)
    assert not postprocess(probability, threshold=0.5, cleaning=cleaning).any()
    assert postprocess(probability[:1], threshold=0.5, cleaning=cleaning).sum() == 9


def test_opening_removes_threads_and_closing_fills_gaps() -> None:
    probability = np.zeros((1, 40, 40), np.float16)
    probability[0, 5:25, 5:25] = 1
    probability[0, 10, 25:38] = 1
    probability[0, 14:16, 5:25] = 0
    opened = postprocess(probability, threshold=0.5, cleaning=Cleaning(opening=2))
    assert opened[0, 10, 32] == 0 and opened[0, 8, 8] == 1
    closed = postprocess(probability, threshold=0.5, cleaning=Cleaning(closing=3))
    assert closed[0, 14, 15] == 1 and closed[0, 10, 32] == 1
    largest = postprocess(probability, threshold=0.5, cleaning=Cleaning(largest_component=True))
    assert largest[0, 8, 8] in (0, 1) and len(np.unique(largest)) == 2


def segmentation(patient: str, mask: NDArray[np.uint8]) -> Segmentation:
    scan = Scan(f"{patient}-scan", patient, CHANNELS, lambda: np.zeros((*mask.shape, 3), np.uint8))
    return Segmentation(scan, mask, np.zeros(mask.shape, np.float16))


def test_each_class_is_scored_over_the_patients_who_have_it() -> None:
    reference_a = np.zeros((1, 8, 8), np.uint8)
    reference_a[0, :4] = 1
    reference_b = np.zeros((1, 8, 8), np.uint8)
    reference_b[0, :4] = 2
    mistaken = reference_b.copy()
    mistaken[0, :2] = 1  # half of it is called a
    pairs = [(segmentation("p1", reference_a.copy()), reference_a), (segmentation("p2", mistaken), reference_b)]
    metrics = judge(pairs, classes=("a", "b"), segmented=True).metrics
    assert metrics["dice_patient"]["mean"] == 1.0  # any tumour
    a, b = (metrics["dice_patient_by_class"][name] for name in ("a", "b"))
    assert np.isnan([*a["ci95"], *b["ci95"]]).all()  # of one patient there is no interval
    assert a | {"ci95": None} == b | {"ci95": None}
    a, b = metrics["per_class"]["a"], metrics["per_class"]["b"]
    assert a["dice_patient"] | {"ci95": None} == {"mean": 1.0, "median": 1.0, "ci95": None, "n": 1, "left_out": 0}
    assert b["dice_patient"]["mean"] == pytest.approx(2 * 16 / (16 + 32))
    assert (a["absent_class_fpr"], b["absent_class_fpr"]) == (1.0, 0.0)
    assert a["precision"] == pytest.approx(32 / 48)
    json.dumps(json_ready(metrics), allow_nan=False)
    rows = class_rows(metrics)
    assert [row.name for row in rows] == ["a", "b"] and rows[0].named and rows[1].own_mean == b["dice_patient"]["mean"]


def test_a_model_of_one_class_is_still_judged_by_the_class_of_the_patient() -> None:
    reference = np.zeros((1, 8, 8), np.uint8)
    reference[0, :4] = 2
    predicted = (reference > 0).astype(np.uint8)
    predicted[0, :2] = 0
    metrics = judge([(segmentation("p", predicted), reference)], classes=("a", "b")).metrics
    assert metrics["dice_patient_by_class"]["b"]["mean"] == pytest.approx(2 / 3)
    assert metrics["dice_patient_by_class"]["a"]["n"] == 0 and math.isnan(metrics["dice_patient_by_class"]["a"]["mean"])
    assert "per_class" not in metrics
    assert not class_rows(metrics)[1].named


def test_one_class_leaves_the_metrics_as_they_were() -> None:
    reference = np.ones((1, 8, 8), np.uint8)
    metrics = judge([(segmentation("p", reference), reference)]).metrics
    assert not {"per_class", "dice_patient_by_class"} & metrics.keys()


@pytest.mark.parametrize(
    ("changes", "key"),
    [(["classes=[left, right]"], "classes"), (["channels=[flair, t2]"], "channels")],
)
def test_classes_and_channels_that_the_data_lack_are_named(changes: list[str], key: str, phantom: Path) -> None:
    from tumorseg.datasets.store import prepare

    store: Store = prepare(phantom)
    with pytest.raises(RecipeError, match=key):
        fitted_to(store, load_recipe("default", changes))
    assert fitted_to(store, load_recipe("default")).channels == CHANNELS
    assert fitted_to(store, load_recipe("default", ["channels=[flair]"])).channels == ("flair",)


def test_a_recipe_counts_its_logits() -> None:
    assert Recipe(name="r").logits == 1
    assert Recipe(name="r", classes=("a", "b", "c")).logits == 4
    with pytest.raises(ValueError, match="twice"):
        Recipe(name="r", classes=("a", "a"))


def test_the_loss_sees_class_indices_and_one_class_sees_tumour_or_not() -> None:
    masks = torch.tensor([[[[0.0, 1.0, 2.0]]]])
    several = load_recipe("default", ["classes=[a, b]", "loss=dice+ce"])
    for recipe, expected in (
        (several, torch.tensor([[[0, 1, 2]]])),
        (load_recipe("default"), torch.tensor([[[[0.0, 1.0, 1.0]]]])),
    ):
        task = SegmentationTask(
            recipe, torch.nn.Conv2d(3, recipe.logits, 1), channels=CHANNELS, steps_per_epoch=1, validation_patients=1
        )
        assert torch.equal(task._target(masks), expected)
