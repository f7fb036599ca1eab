"""Promises of training: what is random is replayed, what is cut off goes on, what ships is what was trained."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.random import default_rng

from small_recipe import SMALL
from tumorseg.datasets.dealing import make_split
from tumorseg.datasets.store import prepare
from tumorseg.recipe import Augmentation, Recipe
from tumorseg.recipe_file import load_recipe
from tumorseg.training.augmentation import apply, draw
from tumorseg.training.batches import PartOfStore, TrainingBatches, ValidationBatches
from tumorseg.training.checkpoints import read_checkpoint
from tumorseg.training.task import prepare as prepare_batch


def command(data: Path, run: Path, *more: str) -> list[str]:
    words = ["train", "--data", str(data), "--output", str(run), "--device", "cpu", *more]
    return [sys.executable, "-m", "tumorseg", *words, "--set", *SMALL]


def weights(run: Path) -> dict[str, torch.Tensor]:
    checkpoint = read_checkpoint(run / "checkpoints" / "last.ckpt")
    return {**checkpoint["state_dict"], **{f"now.{k}": v for k, v in checkpoint["current_model_state"].items()}}


@pytest.fixture(scope="module")
def uninterrupted(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "whole"
    done = subprocess.run(command(phantom, run), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return run


def part_of(phantom: Path, *changes: str) -> PartOfStore:
    recipe = load_recipe("default", [*SMALL, *changes])
    store = prepare(phantom)
    return PartOfStore.of(store, recipe, make_split(store, recipe.split), "train")


def test_a_run_folder_holds_all_that_a_run_was(uninterrupted: Path) -> None:
    for name in (
        "recipe.yaml",
        "split.csv",
        "environment.json",
        "log.csv",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "model/model.json",
        "model/model.onnx",
        "model/weights.safetensors",
    ):
        assert (uninterrupted / name).is_file(), name
    with open(uninterrupted / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert all(float(row["val_dice_patient"]) >= 0 for row in rows)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_that_was_cut_off_goes_on_to_the_same_weights(
    how: signal.Signals, phantom: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    run = tmp_path / "cut"
    process = subprocess.Popen(command(phantom, run), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    until = time.monotonic() + 300
    while not (run / "checkpoints" / "last.ckpt").is_file():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    time.sleep(0.3)  # into the second epoch
    process.send_signal(how)
    stderr = process.communicate(timeout=120)[1]
    assert not (run / "model").exists(), "it had ended before the signal came"
    if how is not signal.SIGKILL:
        assert process.returncode == 130, stderr
        assert "--resume" in stderr and "Traceback" not in stderr
    resumed = subprocess.run(command(phantom, run, "--resume"), capture_output=True, text=True, timeout=600)
    assert resumed.returncode == 0, resumed.stderr
    expected, got = weights(uninterrupted), weights(run)
    assert expected.keys() == got.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, got[name]), name
    assert not list(run.rglob("*.partial*"))


def test_resume_without_a_checkpoint_is_an_error_and_not_a_restart(phantom: Path, tmp_path: Path) -> None:
    run = tmp_path / "nothing"
    done = subprocess.run(command(phantom, run, "--resume"), capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "no checkpoint" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not run.exists()


def test_the_batch_of_a_step_is_the_same_whenever_it_is_asked_for(phantom: Path) -> None:
    batches = TrainingBatches(part_of(phantom), batch_size=4, step_now=lambda: 0)
    first, again = batches.batch(5), batches.batch(5)
    assert torch.equal(first.pixels, again.pixels) and torch.equal(first.low, again.low)
    other = batches.batch(6)
    assert not torch.equal(first.pixels, other.pixels)


def test_an_epoch_shows_each_slice_with_tumour_at_most_once_and_resumes_inside(phantom: Path) -> None:
    part = part_of(phantom)
    whole = TrainingBatches(part, batch_size=4, step_now=lambda: 0)
    steps = len(list(whole))
    assert steps == len(whole)
    rest = list(TrainingBatches(part, batch_size=4, step_now=lambda: steps + 2))
    assert len(rest) == steps - 2
    assert torch.equal(rest[0].pixels, whole.batch(steps + 2).pixels)


def test_devices_share_the_slices_of_an_epoch(phantom: Path) -> None:
    part = part_of(phantom)
    both = [TrainingBatches(part, batch_size=2, step_now=lambda: 0, rank=rank, world_size=2) for rank in (0, 1)]
    orders = [[tuple(batch.batch(step).owners.tolist()) for step in range(len(batch))] for batch in both]
    assert len(orders[0]) == len(orders[1])
    seen = [both[0]._order(0)[(2 * s + r) * 2 : (2 * s + r) * 2 + 2] for r in (0, 1) for s in range(len(both[0]))]
    flat = np.concatenate(seen)
    assert len(np.unique(flat)) == len(flat)


def test_validation_shows_every_slice_once(phantom: Path) -> None:
    part = part_of(phantom)
    shown = sum(len(batch.pixels) for batch in ValidationBatches(part, batch_size=7))
    assert shown == len(part.rows)


def test_what_training_sees_is_what_prediction_sees(phantom: Path) -> None:
    from tumorseg.grid import plan_grid
    from tumorseg.preprocess import normalise, statistics

    part = part_of(phantom, "sampling.subset_statistics=0", "neighbours=0")
    entry = part.store.stored[int(part.store.scan_index[part.rows[0]])]
    batch = part.assemble(np.arange(entry.shape[0]), None, None)
    images, _ = prepare_batch(batch)
    pixels = part.store.pixels(entry)
    grid = plan_grid(*pixels.shape[1:3], image_size=64)
    expected = normalise(np.stack([grid.apply(frame) for frame in pixels]), statistics(pixels, "volume-percentile"))
    np.testing.assert_allclose(images.permute(0, 2, 3, 1).numpy(), expected, atol=1e-6)


def _applied(recipe: Augmentation, images: torch.Tensor, masks: torch.Tensor, patch: int, seed: int = 0):
    channels = ("pre", "flair", "post")
    changes = draw(
        recipe, batch=len(images), channels=channels, size=images.shape[-1], patch=patch, rng=default_rng(seed)
    )
    return apply(changes, images, masks, patch=patch, fill=torch.zeros(len(images), 3), flair=1)


def test_no_augmentation_changes_nothing() -> None:
    images, masks = torch.rand(2, 3, 32, 32), torch.ones(2, 1, 32, 32)
    got_images, got_masks = _applied(Augmentation(), images, masks, 32)
    assert torch.equal(got_images, images) and torch.equal(got_masks, masks)


@pytest.mark.parametrize(("field", "axis"), [("flip_horizontal", 3), ("flip_vertical", 2)])
def test_a_flip_moves_image_and_mask_alike(field: str, axis: int) -> None:
    images = torch.rand(2, 3, 32, 32)
    masks = (torch.rand(2, 1, 32, 32) > 0.5).float()
    got_images, got_masks = _applied(Augmentation(**{field: 1.0}), images, masks, 32)
    torch.testing.assert_close(got_images, images.flip(axis), atol=1e-4, rtol=0)
    assert torch.equal(got_masks, masks.flip(axis))


def test_a_patch_is_a_piece_of_the_frame() -> None:
    frame = torch.arange(64.0 * 64).reshape(1, 1, 64, 64) / 4096
    images, masks = frame.expand(4, 3, 64, 64), torch.ones(4, 1, 64, 64)
    got, inside = _applied(Augmentation(), images, masks, 32)
    assert got.shape == (4, 3, 32, 32) and bool((inside == 1).all())
    steps = got[:, :, :, 1:] - got[:, :, :, :-1]
    torch.testing.assert_close(steps, torch.full_like(steps, 1 / 4096), atol=1e-4, rtol=0)


def test_dropped_sequences_become_flair() -> None:
    images, masks = torch.rand(8, 3, 32, 32), torch.zeros(8, 1, 32, 32)
    got, _ = _applied(Augmentation(drop_both=1.0), images, masks, 32)
    assert torch.equal(got[:, 0], images[:, 1]) and torch.equal(got[:, 2], images[:, 1])
    got, _ = _applied(Augmentation(drop_pre=1.0), images, masks, 32)
    assert torch.equal(got[:, 0], images[:, 1]) and torch.equal(got[:, 2], images[:, 2])


def test_all_augmentation_at_once_stays_finite_and_keeps_masks_binary() -> None:
    recipe: Recipe = load_recipe("default")
    images, masks = torch.rand(16, 3, 64, 64), (torch.rand(16, 1, 64, 64) > 0.5).float()
    images[0] = 0
    got, inside = _applied(recipe.augmentation, images, masks, 32, seed=3)
    assert bool(torch.isfinite(got).all())
    assert set(inside.unique().tolist()) <= {0.0, 1.0}


def test_the_exported_graph_computes_what_the_weights_compute(uninterrupted: Path, phantom: Path) -> None:
    from safetensors.torch import load_file

    from tumorseg.inference.model import read_model
    from tumorseg.inference.predictor import Predictor
    from tumorseg.inference.torch_runtime import TorchRuntime
    from tumorseg.networks import build_network

    recipe = load_recipe(uninterrupted / "recipe.yaml")
    network = build_network(recipe.network, channels=3, classes=1, stack=recipe.stack, pretrained=False)
    network.load_state_dict(load_file(uninterrupted / "model" / "weights.safetensors"))
    model = read_model(uninterrupted)
    scan = prepare(phantom).scans[0]
    onnx = Predictor(model).segment(scan)
    torch_ = Predictor(model, runtime=TorchRuntime(network)).segment(scan)
    assert np.mean(onnx.mask != torch_.mask) <= 1e-4
    assert float(np.abs(onnx.probability - torch_.probability).max()) <= 1e-3


def test_a_finished_run_is_not_trained_again(uninterrupted: Path, phantom: Path) -> None:
    before = os.stat(uninterrupted / "model" / "model.onnx").st_mtime_ns
    done = subprocess.run(command(phantom, uninterrupted, "--resume"), capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "has ended" in done.stderr
    assert os.stat(uninterrupted / "model" / "model.onnx").st_mtime_ns == before


def test_weights_of_another_run_are_taken_up(uninterrupted: Path, phantom: Path, tmp_path: Path) -> None:
    run = tmp_path / "tuned"
    words = command(phantom, run, "--init", str(uninterrupted))
    done = subprocess.run([*words, "epochs=1", "optimizer.lr=1e-9"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    first = read_checkpoint(uninterrupted / "checkpoints" / "best.ckpt")["state_dict"]
    tuned = read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]
    name = "network.encoder.conv1.weight"
    torch.testing.assert_close(first[name], tuned[name], atol=1e-5, rtol=0)


def test_a_threshold_leaves_one_half_only_for_a_gain_that_patients_agree_on() -> None:
    from tumorseg.training.choices import THRESHOLDS, nearest_equal

    chance = np.full((10, len(THRESHOLDS)), 0.8)
    chance[0, 2] = 0.81  # one patient likes 0.3 a little better
    assert nearest_equal(chance) == 0.5
    agreed = np.full((10, len(THRESHOLDS)), 0.7)
    agreed[:, 2] = 0.8
    assert nearest_equal(agreed) == pytest.approx(0.3)


def test_a_resumed_run_keeps_its_recipe_or_says_so(phantom: Path, uninterrupted: Path) -> None:
    words = [*command(phantom, uninterrupted, "--resume"), "epochs=99"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "--set would change it" in done.stderr
