"""The one way from a scan to its mask: the same answer however scans are batched, and on the scan's own grid."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiny_model import lopsided_kernel, write_model
from tumorseg.errors import DataError, ModelError, TumorsegError
from tumorseg.grid import Box
from tumorseg.inference import scratch
from tumorseg.inference.cutting import DARK, LEAST_PIXELS, LEAST_SIDE, PHASE, STEP, lit_box
from tumorseg.inference.measure import measure
from tumorseg.inference.model import read_model, write_spec
from tumorseg.inference.onnx_runtime import MOST_LANES, OnnxRuntime
from tumorseg.inference.predictor import AHEAD, ROUND, Predictor
from tumorseg.inference.runtime import Float32
from tumorseg.postprocess import apply_threshold, blend_slices, drop_small_components, fill_slice_holes, postprocess
from tumorseg.recipe import Cleaning
from tumorseg.scan import Scan

UNNAMED = ("pre", "flair", "post")


def scan_of(pixels: np.ndarray, channels: tuple[str, ...] = UNNAMED, **fields: object) -> Scan:
    return Scan("s", "p", channels, lambda: pixels, **fields)  # type: ignore[arg-type]


def random_scan(slices: int, height: int = 64, width: int = 64, seed: int = 0) -> Scan:
    return scan_of(np.random.default_rng(seed).integers(0, 256, (slices, height, width, 3), dtype=np.uint8))


def blob_scan(height: int = 64, width: int = 64, slices: int = 3) -> tuple[Scan, np.ndarray]:
    """A dark frame with one bright rectangle in FLAIR, and where that is."""
    pixels = np.full((slices, height, width, 3), 10, np.uint8)
    inside = np.zeros((slices, height, width), bool)
    inside[1:, height // 4 : height // 2, width // 4 : width // 2] = True
    pixels[inside, 1] = 200
    return scan_of(pixels), inside


class Batched:
    """A runtime that is given several slices at once."""

    def __init__(self, inner: OnnxRuntime, batch_size: int) -> None:
        self.inner, self.batch_size, self.lanes, self.seen = inner, batch_size, 1, list[int]()

    def __call__(self, batch: Float32) -> Float32:
        self.seen.append(len(batch))
        return self.inner(batch)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


@pytest.fixture
def lopsided(tmp_path: Path) -> Path:
    return write_model(tmp_path / "lopsided", kernel=lopsided_kernel())


# --- the way through ---


def test_a_bright_region_is_found_where_it_is(model: Path) -> None:
    scan, inside = blob_scan()
    answer = Predictor(read_model(model)).segment(scan)
    assert answer.scan is scan
    assert answer.mask.dtype == np.uint8
    assert answer.probability.dtype == np.float16
    assert np.array_equal(answer.mask.astype(bool), inside)
    assert answer.measurements["tumour_voxels"] == inside.sum()
    assert answer.measurements["tumour_slices"] == 2
    assert answer.measurements["components"] == 1
    assert answer.warnings == ()


@pytest.mark.parametrize(("height", "width"), [(128, 128), (200, 120), (32, 32), (50, 97)])
def test_a_frame_of_another_size_is_answered_on_its_own_grid(model: Path, height: int, width: int) -> None:
    scan, inside = blob_scan(height, width)
    mask = Predictor(read_model(model)).segment(scan).mask.astype(bool)
    assert mask.shape == inside.shape
    assert 2 * (mask & inside).sum() / (mask.sum() + inside.sum()) > 0.9


def test_a_frame_of_one_pixel_is_answered(model: Path) -> None:
    assert Predictor(read_model(model)).segment(random_scan(1, 1, 1)).mask.shape == (1, 1, 1)


def test_the_head_is_cut_out_and_put_back(tmp_path: Path) -> None:
    pixels = np.zeros((2, 128, 128, 3), np.uint8)
    pixels[:, 30:90, 40:100] = 60
    pixels[:, 50:60, 60:75, 1] = 250
    folder = write_model(tmp_path / "model", crop="head", image_size=96)
    mask = Predictor(read_model(folder)).segment(scan_of(pixels)).mask
    expected = pixels[..., 1] == 250
    assert 2 * (mask * expected).sum() / (mask.sum() + expected.sum()) > 0.85


@pytest.mark.parametrize("normalization", ["volume-percentile", "slice-percentile", "imagenet"])
@pytest.mark.parametrize("batch_size", [1, 3, 4, 100])
def test_a_slice_is_answered_the_same_with_whatever_company(
    tmp_path: Path, normalization: str, batch_size: int
) -> None:
    read = read_model(write_model(tmp_path / "model", kernel=lopsided_kernel(), normalization=normalization))
    scans = [random_scan(slices, seed=slices) for slices in (1, 5, 2, 1, 7)]
    runtime = Batched(OnnxRuntime(read.graphs[0]), batch_size)
    together = list(Predictor(read, runtime=runtime).segment_all(scans))
    assert [answer.scan for answer in together] == scans
    assert max(runtime.seen) <= batch_size
    assert sum(runtime.seen) == 16
    for scan, answer in zip(scans, together, strict=True):
        assert np.array_equal(Predictor(read).probabilities(scan), answer.probability)


def test_scans_are_read_only_as_answers_are_taken(model: Path) -> None:
    opened = []

    def scans() -> Iterator[Scan]:
        for index in range(100):
            opened.append(index)
            yield random_scan(1, seed=index)

    answers = Predictor(read_model(model)).segment_all(scans())
    next(answers)
    assert len(opened) <= (1 + AHEAD) * ROUND * MOST_LANES < 100


def test_flips_are_averaged_as_probabilities(lopsided: Path, tmp_path: Path) -> None:
    scan = random_scan(2)
    mirrored = scan_of(scan.pixels[:, :, ::-1].copy())
    plain = Predictor(read_model(lopsided))
    flipping = Predictor(
        read_model(write_model(tmp_path / "f", kernel=lopsided_kernel(), test_time_flips=("horizontal",)))
    )
    expected = (plain.probabilities(scan).astype(float) + plain.probabilities(mirrored)[:, :, ::-1].astype(float)) / 2
    assert np.abs(flipping.probabilities(scan) - expected).max() < 1e-3
    assert np.array_equal(flipping.probabilities(scan), flipping.probabilities(mirrored)[:, :, ::-1])


def test_a_higher_temperature_draws_probabilities_to_the_middle(lopsided: Path, tmp_path: Path) -> None:
    scan = random_scan(1)
    cool = Predictor(read_model(lopsided)).probabilities(scan).astype(float)
    warm = Predictor(read_model(write_model(tmp_path / "w", kernel=lopsided_kernel(), temperature=2.0)))
    certain = np.clip(cool, 1e-3, 1 - 1e-3)
    expected = 1 / (1 + np.exp(-np.log(certain / (1 - certain)) / 2))
    inner = (cool > 1e-2) & (cool < 1 - 1e-2)
    assert np.abs(warm.probabilities(scan) - expected)[inner].max() < 5e-3


def test_the_mask_is_what_postprocessing_makes_of_the_probabilities(tmp_path: Path) -> None:
    cleaning = {"min_component_voxels": 4, "fill_holes": True}
    folder = write_model(tmp_path / "m", kernel=lopsided_kernel(), threshold=0.3, postprocessing=cleaning)
    answer = Predictor(read_model(folder)).segment(random_scan(3))
    again = postprocess(answer.probability, threshold=0.3, cleaning=Cleaning(min_component_voxels=4, fill_holes=True))
    assert np.array_equal(answer.mask, again)


def test_large_arrays_go_to_the_disk_and_nothing_changes(lopsided: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = scan_of(random_scan(4).pixels, ("post", "flair", "pre"))
    in_memory = Predictor(read_model(lopsided)).segment(scan)
    monkeypatch.setattr(scratch.allocate, "__kwdefaults__", {"budget": 100})
    spilled = Predictor(read_model(lopsided)).segment(scan)
    assert isinstance(spilled.probability, np.memmap)
    assert np.array_equal(spilled.probability, in_memory.probability)
    assert np.array_equal(spilled.mask, in_memory.mask)


# --- sequences ---


def test_named_channels_are_brought_into_the_networks_order(lopsided: Path) -> None:
    scan = random_scan(2)
    turned = scan_of(scan.pixels[..., [2, 0, 1]], ("post", "pre", "flair"))
    predictor = Predictor(read_model(lopsided))
    assert np.array_equal(predictor.probabilities(scan), predictor.probabilities(turned))


def test_a_missing_sequence_is_replaced_by_flair_and_said(lopsided: Path) -> None:
    pixels = random_scan(2).pixels
    predictor = Predictor(read_model(lopsided))
    alone = predictor.segment(scan_of(pixels[..., 1:2], ("flair",)))
    copied = predictor.segment(scan_of(pixels[..., [1, 1, 1]]))
    assert np.array_equal(alone.probability, copied.probability)
    assert any("pre-contrast and post-contrast missing" in warning for warning in alone.warnings)


def test_sequences_without_flair_are_an_error_that_names_the_option(model: Path) -> None:
    with pytest.raises(DataError, match="--channels"):
        Predictor(read_model(model)).segment(scan_of(random_scan(1).pixels[..., :2], ("pre", "post")))


def test_a_scan_that_fails_is_told_and_left_out(model: Path) -> None:
    bad = scan_of(random_scan(1).pixels[..., :2], ("pre", "post"))
    scans = [random_scan(2), bad, random_scan(3)]
    told: list[tuple[Scan, TumorsegError]] = []
    answers = list(Predictor(read_model(model)).segment_all(scans, failed=lambda *entry: told.append(entry)))
    assert [answer.scan for answer in answers] == [scans[0], scans[2]]
    assert [scan for scan, _ in told] == [bad]


def test_an_empty_answer_is_said(model: Path) -> None:
    answer = Predictor(read_model(model)).segment(scan_of(np.zeros((2, 64, 64, 3), np.uint8)))
    assert answer.mask.sum() == 0
    assert [warning.code for warning in answer.warnings] == ["empty"]
    assert np.isnan(answer.measurements["mean_probability"])


# --- postprocessing and measures ---


def test_the_threshold_is_exceeded_not_reached() -> None:
    probability = np.array([[[0.49, 0.5, 0.51]]], np.float16)
    assert apply_threshold(probability, 0.5).tolist() == [[[0, 0, 1]]]


def test_slices_lend_each_other_probability() -> None:
    probability = np.array([1, 0, 0, 0.5], np.float16).reshape(4, 1, 1)
    blend_slices(probability, 0.2)
    np.testing.assert_allclose(probability.ravel(), [0.9, 0.1, 0.05, 0.45], atol=1e-3)


def test_what_is_faint_in_three_slices_is_not_blended() -> None:
    probability = np.full((5, 6, 7), 0.04, np.float16)
    probability[1, 2, 3] = 0.9
    before = probability.copy()
    blend_slices(probability, 0.2)
    assert probability[1, 2, 3] == pytest.approx(0.8 * 0.9 + 0.2 * 0.04, abs=1e-3)
    assert probability[0, 2, 3] == probability[2, 2, 3] == pytest.approx(0.1 * 0.9 + 0.9 * 0.04, abs=1e-3)
    changed = probability != before
    assert changed.sum() == 3
    blend_slices(probability[3:], 0.2)
    np.testing.assert_array_equal(probability[3:], before[3:])


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.floats(0, 0.99), st.booleans())
def test_blending_keeps_the_sum_and_knows_no_up_and_down(seed: int, slices: int, share: float, classes: bool) -> None:
    shape = (slices, 5, 4, 2) if classes else (slices, 5, 4)
    before = np.random.default_rng(seed).uniform(0.06, 1, shape).astype(np.float16)
    after, reversed_after = before.copy(), before[::-1].copy()
    blend_slices(after, share)
    blend_slices(reversed_after, share)
    np.testing.assert_array_equal(after[::-1], reversed_after)
    np.testing.assert_allclose(after.sum(axis=0, dtype=float), before.sum(axis=0, dtype=float), atol=2e-3 * slices)
    assert np.all(after >= before.min(axis=0) - 1e-3) and np.all(after <= before.max(axis=0) + 1e-3)
    if slices == 1 or share == 0:
        np.testing.assert_array_equal(after, before)


def test_a_scan_is_blended_once_it_is_whole_and_not_with_the_next(tmp_path: Path) -> None:
    fields: dict[str, object] = {"threshold": 0.4}
    plain = Predictor(read_model(write_model(tmp_path / "plain", **fields)))
    blended = Predictor(read_model(write_model(tmp_path / "blended", blend=0.4, **fields)))
    scans = [random_scan(slices, seed=slices) for slices in (5, 1, 11)]
    for scan, answer in zip(scans, blended.segment_all(scans), strict=True):
        expected = plain.probabilities(scan)
        blend_slices(expected, 0.4)
        np.testing.assert_array_equal(answer.probability, expected)
        np.testing.assert_array_equal(blended.probabilities(scan), expected)
        np.testing.assert_array_equal(answer.mask, postprocess(expected, threshold=0.4))


def test_components_hang_together_by_corners_across_slices() -> None:
    mask = np.zeros((3, 6, 6), np.uint8)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[2, 2, 2] = 1
    mask[0, 5, 5] = 1
    kept = drop_small_components(mask, 2)
    assert kept.sum() == 3
    assert kept[0, 5, 5] == 0
    assert drop_small_components(mask, 1) is mask
    assert drop_small_components(mask, 4).sum() == 0


def test_what_shows_in_too_few_slices_is_dropped_where_there_are_enough() -> None:
    mask = np.zeros((8, 9, 9), np.uint8)
    mask[1:4, 0, 0] = 1
    mask[3:5, 4, 4] = 1
    mask[6, 6:9, 6:9] = 1
    assert [drop_small_components(mask, 0, min_slices=slices).sum() for slices in (0, 1, 2, 3, 4)] == [14, 14, 5, 3, 14]
    assert drop_small_components(mask, 3, min_slices=2).sum() == 3
    probability = mask.astype(np.float16)
    thick = Cleaning(min_component_slices=2)
    assert postprocess(probability, threshold=0.5, cleaning=thick).sum() == 5
    few = postprocess(probability[4:], threshold=0.5, cleaning=thick)
    np.testing.assert_array_equal(few, mask[4:])


def test_a_tumour_that_shows_in_one_slice_alone_is_not_dropped_with_nothing_left() -> None:
    mask = np.zeros((8, 9, 9), np.uint8)
    mask[3, 2:6, 2:6] = 1
    mask[6, 8, 8] = 1
    assert drop_small_components(mask, 0, min_slices=2).sum() == 17
    assert drop_small_components(mask, 0, min_slices=2, min_share=0.2).sum() == 16
    assert drop_small_components(mask, 2, min_slices=2).sum() == 16
    assert drop_small_components(mask, 17, min_slices=2).sum() == 0
    mask[4:6, 0, 0] = 1
    assert drop_small_components(mask, 0, min_slices=2, min_share=0.2).sum() == 2


def test_what_is_small_beside_the_largest_component_is_dropped_where_there_are_enough_slices() -> None:
    mask = np.zeros((8, 12, 12), np.uint8)
    mask[1:6, 0:4, 0:5] = 1  # 100 voxels
    mask[2:4, 6:9, 6:9] = 1  # 18
    mask[5:7, 9:11, 1:6] = 1  # 20
    mask[7, 11, 11] = 1
    left = [int(drop_small_components(mask, 0, min_share=share).sum()) for share in (0, 0.01, 0.02, 0.2, 0.201, 1)]
    assert left == [139, 139, 138, 120, 100, 100]
    assert drop_small_components(mask, 101, min_share=0.5).sum() == 0
    # The share is of what the other rules leave: a large component in too few slices sets no scale.
    flat = mask.copy()
    flat[0] = 1
    flat[1:, :5] = 0
    assert drop_small_components(flat, 0, min_slices=2, min_share=0.2).sum() == 38
    one_piece = Cleaning(min_component_share=0.2)
    probability = mask.astype(np.float16)
    assert postprocess(probability, threshold=0.5, cleaning=one_piece).sum() == 120
    np.testing.assert_array_equal(postprocess(probability[3:], threshold=0.5, cleaning=one_piece), mask[3:])


def test_holes_are_filled_within_a_slice_only() -> None:
    mask = np.zeros((2, 7, 7), np.uint8)
    mask[0, 1:6, 1:6] = 1
    mask[0, 3, 3] = 0
    mask[1, 1:6, 1:6] = 1
    mask[1, 3, 3:] = 0
    filled = fill_slice_holes(mask)
    assert filled[0, 3, 3] == 1
    assert filled[1, 3, 3] == 0


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.integers(0, 4), st.floats(0, 1))
def test_cleaning_only_removes_and_filling_only_adds(seed: int, least: int, slices: int, share: float) -> None:
    mask = (np.random.default_rng(seed).random((3, 9, 8)) > 0.6).astype(np.uint8)
    clean = partial(drop_small_components, min_voxels=least, min_slices=slices, min_share=share)
    cleaned, filled = clean(mask), fill_slice_holes(mask)
    assert np.all(cleaned <= mask)
    assert np.all(filled >= mask)
    assert np.array_equal(clean(cleaned), cleaned)
    assert measure(cleaned)["components"] <= measure(mask)["components"]


def test_millilitres_are_given_only_where_spacing_is_known() -> None:
    mask = np.ones((2, 10, 10), np.uint8)
    assert "tumour_ml" not in measure(mask)
    assert measure(mask, spacing=(5.0, 1.0, 2.0))["tumour_ml"] == pytest.approx(2.0)


# --- models ---


def test_a_model_is_read_from_a_run_its_folder_or_its_file(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "run" / "model")
    assert read_model(tmp_path / "run") == read_model(folder) == read_model(folder / "model.json")


def test_a_changed_file_is_refused(model: Path) -> None:
    with open(model / "model.onnx", "ab") as file:
        file.write(b"x")
    with pytest.raises(ModelError, match="SHA-256"):
        read_model(model)
    (model / "model.onnx").unlink()
    with pytest.raises(ModelError, match="missing"):
        read_model(model)


@pytest.mark.parametrize("name", ["../model.onnx", "model.pkl", "/etc/passwd", "model.pt"])
def test_a_model_names_only_safe_files_beside_it(model: Path, name: str) -> None:
    spec = json.loads((model / "model.json").read_text())
    spec["files"][name] = "0" * 64
    (model / "model.json").write_text(json.dumps(spec))
    with pytest.raises(ModelError, match="do not use"):
        read_model(model)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not a model.json"),
        ('{"format": 2}', "newer"),
        ('{"format": 1}', "key 'name'"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_model_json_is_refused(model: Path, content: str, message: str) -> None:
    (model / "model.json").write_text(content)
    with pytest.raises(ModelError, match=message):
        read_model(model)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        read_model(tmp_path / "none")
    with pytest.raises(ModelError, match="not a model"):
        read_model(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ModelError, match="--resume"):
        read_model(tmp_path)


def test_a_graph_that_is_none_or_not_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(ModelError, match="not a graph"):
        OnnxRuntime(tmp_path / "model.onnx")


def test_a_network_of_several_outputs_is_refused(tmp_path: Path) -> None:
    kernel = np.concatenate([lopsided_kernel()] * 2)
    with pytest.raises(ModelError, match="belong together"):
        Predictor(read_model(write_model(tmp_path / "m", kernel=kernel))).segment(random_scan(1))


def test_values_that_are_not_finite_are_an_error(tmp_path: Path) -> None:
    kernel = np.full((1, 3, 1, 1), np.inf, np.float32)
    with pytest.raises(ModelError, match="not finite"):
        Predictor(read_model(write_model(tmp_path / "m", kernel=kernel))).segment(random_scan(1))


def test_a_device_that_is_not_there_is_an_error(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ModelError, match="--device cpu"):
        Predictor(read_model(model), device="cuda")


# --- torch ---


def test_both_runtimes_agree(lopsided: Path) -> None:
    torch = pytest.importorskip("torch")
    from tiny_model import OFFSET
    from tumorseg.inference.torch_runtime import TorchRuntime

    network = torch.nn.Conv2d(3, 1, 3, padding=1)
    with torch.no_grad():
        network.weight.copy_(torch.from_numpy(lopsided_kernel()))
        network.bias.fill_(-OFFSET)
    read = read_model(lopsided)
    scans = [random_scan(3), random_scan(2, seed=5)]
    in_torch = Predictor(read, runtime=TorchRuntime(network, device="cpu", batch_size=4))
    for ours, theirs in zip(Predictor(read).segment_all(scans), in_torch.segment_all(scans), strict=True):
        assert np.abs(ours.probability.astype(float) - theirs.probability).max() < 2e-3
        assert np.mean(ours.mask != theirs.mask) <= 1e-4
        assert np.array_equal(in_torch.probabilities(ours.scan), theirs.probability)


# --- the fast way ---


def head_scan(slices: int = 3, seed: int = 0) -> Scan:
    """A lit head in the dark, with one brighter rectangle in FLAIR; the last slice is dark altogether."""
    pixels = np.random.default_rng(seed).integers(0, 8, (slices, 256, 256, 3)).astype(np.uint8)
    pixels[:-1, 60:184, 80:220] = 90
    pixels[:-1, 100:120, 120:150, 1] = 250
    return scan_of(pixels)


@settings(deadline=None)
@given(st.integers(0, 255), st.integers(0, 255), st.integers(3, 256), st.integers(3, 256))
def test_the_box_holds_all_that_is_lit_and_networks_can_halve_it(top: int, left: int, down: int, across: int) -> None:
    flair = np.zeros((256, 256), np.float32)
    flair[top : top + down, left : left + across] = 1
    box = lit_box(flair)
    if box is None:
        assert min(256 - top, 256 - left) < LEAST_PIXELS
        return
    assert box.height % STEP == box.width % STEP == 0
    assert min(box.height, box.width) >= LEAST_SIDE
    assert box.top % PHASE == box.left % PHASE == 0
    assert 0 <= box.top < box.bottom <= 256
    assert 0 <= box.left < box.right <= 256
    assert flair[box.top : box.bottom, box.left : box.right].sum() == flair.sum()


def test_a_frame_that_is_smaller_than_the_least_box_is_taken_whole() -> None:
    flair = np.zeros((64, 96), np.float32)
    flair[20:30, 20:30] = 1
    assert lit_box(flair) == Box(0, 64, 0, 96)


def test_what_is_dark_has_no_box() -> None:
    assert lit_box(np.full((64, 96), DARK, np.float32)) is None


def fast_model(folder: Path, **fields: object) -> Path:
    way = {"cut": True, "loss": 0.0, "patients": 1}
    return write_model(folder, kernel=lopsided_kernel(), image_size=256, fast=way, **fields)


def test_the_fast_way_computes_the_lit_part_as_ever_and_none_of_the_dark(tmp_path: Path) -> None:
    read = read_model(fast_model(tmp_path / "m", test_time_flips=("horizontal",)))
    unflipped = read_model(fast_model(tmp_path / "u"))
    scan = head_scan()
    fast, whole = Predictor(read, fast=True).segment(scan), Predictor(unflipped).segment(scan)
    assert np.array_equal(fast.probability[:2, 65:180, 85:215], whole.probability[:2, 65:180, 85:215])
    assert fast.probability[2].max() == 0
    assert fast.probability[:, :30].max() == 0
    assert np.array_equal(Predictor(read).probabilities(scan), Predictor(read).segment(scan).probability)


def test_mirror_images_are_left_out_where_the_plain_one_shows_nothing(tmp_path: Path) -> None:
    way = {"test_time_flips": ("horizontal",), "flips_above": 0.4, "loss": 0.0, "patients": 1}
    fields: dict[str, object] = {"kernel": lopsided_kernel(), "image_size": 256, "threshold": 0.41}
    sparing = read_model(write_model(tmp_path / "f", test_time_flips=("horizontal",), fast=way, **fields))
    unflipped = read_model(write_model(tmp_path / "u", **fields))
    scan = head_scan()
    fast, whole = Predictor(sparing, fast=True).segment(scan), Predictor(sparing).segment(scan)
    plain = Predictor(unflipped).probabilities(scan)
    assert plain[:2].max(axis=(1, 2)).min() > 0.4 > plain[2].max()
    assert np.array_equal(fast.probability[:2], whole.probability[:2])
    assert np.array_equal(fast.probability[2], plain[2])
    assert not np.array_equal(whole.probability[2], plain[2])
    assert fast.measurements["flip_disagreement"] == whole.measurements["flip_disagreement"]


def test_a_model_without_a_fast_way_is_refused_by_name(model: Path) -> None:
    with pytest.raises(ModelError, match="no fast way"):
        Predictor(read_model(model), fast=True)


def test_slices_side_by_side_are_answered_as_one_after_the_other(
    lopsided: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = [random_scan(slices, seed=slices) for slices in (9, 1, 30)]
    monkeypatch.setattr("tumorseg.inference.onnx_runtime.available_cores", lambda: 1)
    alone = [Predictor(read_model(lopsided)).probabilities(scan) for scan in scans]
    monkeypatch.setattr("tumorseg.inference.onnx_runtime.available_cores", lambda: 4)
    together = Predictor(read_model(lopsided)).segment_all(scans)
    for answer, probability in zip(together, alone, strict=True):
        assert np.array_equal(answer.probability, probability)


@pytest.mark.parametrize("kind", [np.int8, np.uint32, np.int32, np.int64, np.uint64, np.float16, np.float64])
def test_every_type_of_number_is_resampled(model: Path, kind: type) -> None:
    scan, _ = blob_scan(50, 97)
    pixels = (scan.pixels // 2).astype(kind)
    assert np.array_equal(
        Predictor(read_model(model)).segment(scan_of(pixels)).mask,
        Predictor(read_model(model)).segment(scan_of(pixels.astype(np.float32))).mask,
    )


def test_eight_bits_lose_little_and_are_chosen_only_then(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime.quantization")
    from tumorseg.training.fast_way import FAST_NAME, MOST_LOSS, with_fast_way

    scans = []
    for seed in range(3):
        scan = head_scan(seed=seed)
        scans.append(
            replace(scan, patient=str(seed), read_reference=lambda scan=scan: (scan.pixels[..., 1] == 250) * 1)
        )
    opened = read_model(write_model(tmp_path / "m", image_size=256))
    spec = with_fast_way(opened, opened.graphs[0], scans, scans)
    assert spec.fast is not None
    assert spec.fast.graph == FAST_NAME
    assert spec.fast.loss <= MOST_LOSS
    assert spec.fast.patients == 3
    write_spec(opened.folder, spec)
    again = Predictor(read_model(opened.folder), fast=True).segment(scans[0])
    assert np.array_equal(again.mask != 0, scans[0].pixels[..., 1] == 250)


def test_where_every_fast_way_loses_too_much_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tumorseg.training import fast_way

    monkeypatch.setattr(fast_way, "MOST_LOSS", -1.0)
    scan = replace(head_scan(), read_reference=lambda: np.ones((3, 256, 256), np.uint8))
    opened = read_model(write_model(tmp_path / "m", image_size=256))
    spec = fast_way.with_fast_way(opened, opened.graphs[0], [scan], [scan])
    assert spec.fast is None
    assert spec.files == opened.spec.files
    assert not (opened.folder / fast_way.FAST_NAME).exists()


def test_patients_whom_no_network_saw_say_what_mirror_images_are_worth(tmp_path: Path) -> None:
    from tumorseg.training.fast_way import Trial, with_fast_way

    scan = replace(head_scan(), read_reference=lambda: (head_scan().pixels[..., 1] == 250) * 1)
    flips: dict[str, object] = {"image_size": 256, "test_time_flips": ("horizontal",)}
    opened = read_model(write_model(tmp_path / "m", **flips))
    alone = with_fast_way(opened, opened.graphs[0], [scan], [scan], trained_on=True)
    assert alone.fast is not None and alone.fast.test_time_flips == ("horizontal",) and alone.fast.trained_on
    fold = read_model(write_model(tmp_path / "fold", **flips))
    trial = Trial(fold, [scan], [scan, replace(scan, patient="other")])
    spec = with_fast_way(opened, opened.graphs[0], [scan], [scan], trained_on=True, rehearsals=[trial])
    assert spec.fast is not None and spec.fast.test_time_flips == () and not spec.fast.trained_on
    assert spec.fast.patients == 2
    assert not (fold.folder / "fast.onnx").exists()
    assert set(spec.files) == {"model.onnx", "fast.onnx"}


def test_a_way_that_loses_on_the_network_that_ships_is_not_taken_whatever_those_before_say(tmp_path: Path) -> None:
    from tumorseg.training.fast_way import Trial, with_fast_way

    even = replace(head_scan(), read_reference=lambda: (head_scan().pixels[..., 1] == 250) * 1)
    flips: dict[str, object] = {"image_size": 256, "test_time_flips": ("horizontal",)}
    lopsided = read_model(write_model(tmp_path / "m", kernel=lopsided_kernel(), threshold=0.1, **flips))
    whole = Predictor(lopsided).segment(even).mask
    own = replace(even, read_reference=lambda: whole)
    assert not np.array_equal(
        Predictor(read_model(fast_model(tmp_path / "p", threshold=0.1))).segment(even).mask, whole
    )
    fold = read_model(write_model(tmp_path / "fold", **flips))
    trial = Trial(fold, [even], [even])
    spec = with_fast_way(lopsided, lopsided.graphs[0], [own], [own], trained_on=True, rehearsals=[trial])
    assert spec.fast is not None and spec.fast.test_time_flips == ("horizontal",)
