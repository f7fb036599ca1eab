"""Networks that see the slices beside the one they mark: the same neighbours in training, in use and in an export."""

import gc
import json
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from numpy.typing import NDArray

from small_recipe import SMALL
from test_export_model import agrees, modern, noise
from tiny_model import write_model
from tumorseg.cli.app import run as tumorseg
from tumorseg.datasets.dealing import make_split
from tumorseg.datasets.prepared import Store
from tumorseg.datasets.store import prepare
from tumorseg.errors import RecipeError
from tumorseg.inference.model import read_model
from tumorseg.inference.predictor import Predictor
from tumorseg.networks import build_network
from tumorseg.preprocess import stacked
from tumorseg.recipe import Augmentation
from tumorseg.recipe_file import load_recipe
from tumorseg.scan import Scan
from tumorseg.training.augmentation import apply, draw
from tumorseg.training.batches import PartOfStore
from tumorseg.training.task import prepare as prepare_batch


def sees(step: int, neighbours: int) -> np.ndarray:
    """A kernel whose logit is the FLAIR of the slice at `step` from the one that is marked."""
    order = [0, *(sign * each for each in range(1, neighbours + 1) for sign in (-1, 1))]
    kernel = np.zeros((1, 3 * len(order), 1, 1), np.float32)
    kernel[0, 3 * order.index(step) + 1] = 4
    return kernel


@pytest.mark.parametrize(
    ("index", "slices", "neighbours", "expected"),
    [
        (3, 9, 0, [3]),
        (3, 9, 1, [3, 2, 4]),
        (3, 9, 2, [3, 2, 4, 1, 5]),
        (0, 9, 2, [0, 0, 1, 0, 2]),
        (8, 9, 1, [8, 7, 8]),
        (0, 1, 3, [0] * 7),
    ],
)
def test_beyond_its_ends_a_scan_goes_on_as_it_ends(
    index: int, slices: int, neighbours: int, expected: list[int]
) -> None:
    assert stacked(index, slices, neighbours) == expected


@pytest.mark.parametrize("neighbours", [1, 2])
def test_the_predictor_shows_each_slice_with_the_ones_beside_it(neighbours: int, tmp_path: Path) -> None:
    scan, last = noise(), noise().pixels.shape[0] - 1
    own = Predictor(read_model(write_model(tmp_path / "own", kernel=sees(0, 0)))).probabilities(scan)
    for step in range(-neighbours, neighbours + 1):
        kernel = sees(step, neighbours)
        model = read_model(write_model(tmp_path / f"at{step}", kernel=kernel, neighbours=neighbours))
        beside = [min(max(index + step, 0), last) for index in range(last + 1)]
        assert np.array_equal(Predictor(model).probabilities(scan), own[beside])


def test_a_lone_slice_stands_for_its_neighbours(tmp_path: Path) -> None:
    pixels = noise().pixels[:1]
    alone = Scan("s", "s", ("pre", "flair", "post"), lambda: pixels)
    answers = [
        Predictor(read_model(write_model(tmp_path / str(step), kernel=sees(step, 1), neighbours=1))).probabilities(
            alone
        )
        for step in (-1, 0, 1)
    ]
    assert np.array_equal(answers[0], answers[1]) and np.array_equal(answers[1], answers[2])


@pytest.mark.parametrize("neighbours", [0, 1])
def test_what_is_answered_is_forgotten_without_waiting_for_the_collector(neighbours: int, tmp_path: Path) -> None:
    kernel = sees(0, neighbours)
    predictor = Predictor(read_model(write_model(tmp_path / "m", kernel=kernel, neighbours=neighbours)))
    forgotten: list[weakref.ref[NDArray[np.float16]]] = []

    def scans() -> Iterator[Scan]:
        for number in range(6):
            pixels = default_rng(number).integers(0, 255, (30, 64, 64, 3), np.uint8)
            yield Scan(str(number), str(number), ("pre", "flair", "post"), lambda pixels=pixels: pixels)  # type: ignore[misc]

    gc.collect()
    gc.disable()
    try:
        for answer in predictor.segment_all(scans()):
            forgotten.append(weakref.ref(answer.probability))
        del answer
        assert len(forgotten) == 6
        assert all(memory() is None for memory in forgotten)
    finally:
        gc.enable()


@pytest.mark.parametrize("neighbours", [1, 2])
@pytest.mark.parametrize("normalization", ["volume-percentile", "slice-percentile"])
def test_the_raw_graph_finds_the_neighbours_among_its_slices(
    neighbours: int, normalization: str, tmp_path: Path
) -> None:
    kernel = default_rng(2).normal(0, 2, (1, 3 * (1 + 2 * neighbours), 3, 3)).astype(np.float32)
    fields: dict[str, Any] = {"neighbours": neighbours, "normalization": normalization}
    model = write_model(tmp_path / "m", kernel=kernel, test_time_flips=("horizontal",), **fields)
    agrees(modern(model), noise(), tmp_path)


def part_of(phantom: Path, *changes: str) -> tuple[Store, PartOfStore]:
    recipe = load_recipe("default", [*SMALL, *changes])
    store = prepare(phantom)
    return store, PartOfStore.of(store, recipe, make_split(store, recipe.split), "train")


def test_training_and_prediction_see_the_same_neighbours(phantom: Path, tmp_path: Path) -> None:
    store, part = part_of(phantom, "neighbours=1")
    entry = store.stored[int(store.scan_index[part.rows[0]])]
    scan = next(scan for scan in store.scans if scan.id == entry.id)
    model = read_model(write_model(tmp_path / "m", kernel=sees(1, 1), neighbours=1))
    predictor = Predictor(model)
    rows = np.flatnonzero((part.rows >= entry.first) & (part.rows < entry.first + entry.shape[0]))
    images, _ = prepare_batch(part.assemble(rows, None, None))
    for place, row in enumerate(rows):
        frame = predictor.frame(scan, int(part.rows[row] - entry.first))
        np.testing.assert_allclose(images[place].numpy(), frame, atol=1e-5)


def test_what_training_takes_away_of_a_volume_takes_its_neighbours_with_it(phantom: Path) -> None:
    _, part = part_of(phantom, "neighbours=1", "sampling.subset_statistics=1")
    rng, same, beside = default_rng(0), 0, 0
    for index in range(len(part.rows)):
        pixels = part.assemble(np.array([index]), None, rng).pixels[0]
        own, below, above = pixels.split(3, dim=-1)
        same += int(torch.equal(own, below)) + int(torch.equal(own, above))
        beside += 2
    assert 0.4 * beside < same < beside


def test_either_way_of_counting_slices_is_shown(phantom: Path) -> None:
    _, part = part_of(phantom, "neighbours=1", "sampling.subset_statistics=0")
    picked, rng = np.array([3]), default_rng(0)
    plain = part.assemble(picked, None, None).pixels[0].split(3, dim=-1)
    shown = [part.assemble(picked, None, rng).pixels[0].split(3, dim=-1) for _ in range(20)]
    reversed_ones = [torch.equal(one[1], plain[2]) and torch.equal(one[2], plain[1]) for one in shown]
    forwards = [torch.equal(one[1], plain[1]) and torch.equal(one[2], plain[2]) for one in shown]
    assert any(reversed_ones) and any(forwards)
    assert all(one != other for one, other in zip(reversed_ones, forwards, strict=True))


def test_neighbours_change_with_the_slice(phantom: Path) -> None:
    recipe = load_recipe("default").augmentation.model_copy(update={"noise": 0.0})
    images, masks = torch.rand(8, 3, 64, 64), torch.zeros(8, 1, 64, 64)
    changes = draw(recipe, batch=8, channels=("pre", "flair", "post"), size=64, patch=32, rng=default_rng(1))
    one, _ = apply(changes, images, masks, patch=32, fill=torch.zeros(8, 3), flair=1)
    three, _ = apply(changes, images.repeat(1, 3, 1, 1), masks, patch=32, fill=torch.zeros(8, 9), flair=1)
    torch.testing.assert_close(three, one.repeat(1, 3, 1, 1))


def test_dropped_sequences_become_each_slices_own_flair() -> None:
    images, masks = torch.rand(2, 9, 32, 32), torch.zeros(2, 1, 32, 32)
    dropping = Augmentation(drop_both=1.0)
    changes = draw(dropping, batch=2, channels=("pre", "flair", "post"), size=32, patch=32, rng=default_rng(0))
    got, _ = apply(changes, images, masks, patch=32, fill=None, flair=1)
    assert torch.equal(got, images[:, [1, 1, 1, 4, 4, 4, 7, 7, 7]])


def test_a_pretrained_network_starts_by_heeding_its_own_slice_alone() -> None:
    network = build_network(load_recipe("default").network, channels=3, classes=1, stack=3).eval()
    images = torch.rand(1, 9, 64, 64)
    others = torch.cat([images[:, :3], torch.rand(1, 6, 64, 64)], dim=1)
    assert torch.equal(network(images), network(others))


def test_faded_tumours_and_neighbours_exclude_each_other() -> None:
    with pytest.raises(RecipeError, match="fade_lesion"):
        load_recipe("default", ["neighbours=1", "augmentation.fade_lesion=0.3"])


def test_a_run_with_neighbours_is_trained_judged_exported_and_segments(phantom: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["train", "--data", str(phantom), "--output", str(run), "--device", "cpu"]
    changes = [word for change in (*SMALL, "neighbours=1", "epochs=1") for word in ("--set", change)]
    assert tumorseg([*words, *changes]) == 0
    spec = json.loads((run / "model" / "model.json").read_text())
    assert spec["neighbours"] == 1
    assert tumorseg(["evaluate", str(run)]) == 0
    # In 16 bits a network of one epoch may differ in too many pixels: all its probabilities are near the threshold.
    export = ["export", str(run), "--to", "onnx", "--fast", "--weights", "float32"]
    assert tumorseg([*export, "--output", str(tmp_path / "out")]) == 0
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert "the slice below and above" in card
    assert "smaller than 20 % of the largest one are left out" in card
    scan = next(path for path in phantom.iterdir() if path.is_dir())
    assert tumorseg(["segment", str(scan), "--model", str(tmp_path / "out"), "--output", str(tmp_path / "masks")]) == 0
