"""Disturbances of pixels, and the study of how models bear them."""

import csv
import json
import math
import shutil

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorseg.cli.app import run as tumorseg
from tumorseg.datasets.phantom import write_phantom
from tumorseg.datasets.split import Split, read_split, split_patients, write_split
from tumorseg.datasets.store import prepare
from tumorseg.disturbances import DISTURBANCES, HEAD, disturb, scale_of
from tumorseg.errors import DataError, ModelError, OutputError, RecipeError
from tumorseg.evaluation.evaluate import evaluate_run
from tumorseg.recipe_file import dump_recipe, load_recipe
from tumorseg.scan import Scan
from tumorseg.studies.robustness import OUTPUTS, disturb_runs
from tumorseg.studies.robustness_cases import KEYS, families_of
from tumorseg.studies.robustness_result import UNDISTURBED

BY_KEY = {each.key: each for each in DISTURBANCES}


def head(dtype=np.uint8, shape=(3, 40, 48, 3)):
    """A bright ellipse on black with texture, and a reference within it; the values fill 0 to 200."""
    rows, columns = np.mgrid[: shape[1], : shape[2]]
    inside = ((rows - 20) / 16) ** 2 + ((columns - 24) / 18) ** 2 < 1
    texture = np.random.default_rng(1).uniform(80, 200, shape)
    reference = np.zeros(shape[:3], np.uint8)
    reference[:, 10:18, 12:26] = 1
    return (texture * inside[..., None]).astype(dtype), reference


def disturbed(key, strength, pixels, reference, *, seed=5):
    drawn = BY_KEY[key].draw(strength, pixels.shape, np.random.default_rng(seed))
    return disturb(pixels, reference, drawn, scale_of(pixels))


@pytest.mark.parametrize("key", BY_KEY)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_a_disturbance_keeps_shape_and_type_and_leaves_what_it_was_given(key, dtype):
    pixels, reference = head(dtype)
    before = pixels.copy(), reference.copy()
    for strength in BY_KEY[key].strengths:
        changed, moved = disturbed(key, strength, pixels, reference)
        assert changed.shape == pixels.shape and changed.dtype == pixels.dtype
        assert moved.shape == reference.shape and moved.dtype == np.uint8
        assert np.isfinite(changed).all() and not np.array_equal(changed, pixels)
    np.testing.assert_array_equal(pixels, before[0])
    np.testing.assert_array_equal(reference, before[1])


@pytest.mark.parametrize("key", BY_KEY)
def test_the_same_seed_gives_the_same_pixels(key):
    pixels, reference = head()
    one, other = (disturbed(key, BY_KEY[key].strengths[2], pixels, reference) for _ in range(2))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.parametrize("key", BY_KEY)
def test_a_greater_strength_takes_the_image_further_away(key):
    pixels, reference = head(np.float32)
    away = [
        np.abs(disturbed(key, strength, pixels, reference)[0] - pixels).mean() for strength in BY_KEY[key].strengths
    ]
    assert len(away) == 5 and sorted(away) == away and away[0] < away[-1]


@pytest.mark.parametrize("key", sorted(set(BY_KEY) - {"blur"}))
def test_nothing_changes_at_the_neutral_strength(key):
    pixels, reference = head(np.float32)
    changed, moved = disturbed(key, BY_KEY[key].neutral, pixels, reference)
    np.testing.assert_allclose(changed, pixels, atol=0.02)
    np.testing.assert_array_equal(moved, reference)


@given(sigma=st.floats(0.02, 0.3))
def test_noise_is_rician(sigma):
    pixels = np.zeros((2, 96, 96, 1), np.float32)
    pixels[:, :, 48:] = 1
    changed, _ = disturbed("noise", sigma, pixels, np.zeros(pixels.shape[:3], np.uint8))
    dark, bright = changed[:, :, :48], changed[:, :, 48:]
    assert dark.min() >= 0
    assert dark.mean() == pytest.approx(sigma * math.sqrt(math.pi / 2), rel=0.05)
    assert (bright**2).mean() == pytest.approx(1 + 2 * sigma**2, rel=0.05)


@pytest.mark.parametrize("ratio", BY_KEY["bias"].strengths)
@pytest.mark.parametrize("slices", [1, 7])
def test_a_bias_field_spans_its_ratio_and_is_the_same_for_all_sequences(ratio, slices):
    pixels = np.ones((slices, 64, 80, 2), np.float32)
    pixels[:, 0, 0] = 0  # so that 0 is black
    scale = scale_of(pixels)
    scale.low[:], scale.span[:] = 0, 1
    drawn = BY_KEY["bias"].draw(ratio, pixels.shape, np.random.default_rng(3))
    changed, _ = disturb(pixels, np.zeros(pixels.shape[:3], np.uint8), drawn, scale)
    rows, columns = np.linspace(-1, 1, 64)[:, None], np.linspace(-1, 1, 80)[None]
    seen = changed[:, (rows**2 + columns**2 <= HEAD**2)]
    assert changed.max() <= 1
    assert seen.max() / seen.min() == pytest.approx(ratio, rel=0.08)
    np.testing.assert_array_equal(changed[..., 0], changed[..., 1])


def test_ghosts_are_copies_a_quarter_of_the_frame_away():
    pixels = np.zeros((1, 64, 64, 1), np.float32)
    pixels[0, 31, 31] = 1
    scale = scale_of(pixels)
    scale.low[:], scale.span[:] = 0, 1
    drawn = BY_KEY["ghosts"].draw(0.8, pixels.shape, np.random.default_rng(0))
    changed, _ = disturb(pixels, np.zeros((1, 64, 64), np.uint8), drawn, scale)
    across = max(changed[0, :, 31, 0], changed[0, 31, :, 0], key=lambda line: np.abs(line[10:22]).sum())
    assert across[31] == pytest.approx(0.8, abs=0.05)
    for copy in (31 - 16, 31 + 16, (31 + 32) % 64):
        assert across[copy] == pytest.approx(0.2, abs=0.05)


def test_contrast_keeps_black_and_white_and_the_order_of_tissues():
    pixels = np.linspace(0, 1, 4096, dtype=np.float32).reshape(1, 64, 64, 1)
    scale = scale_of(pixels)
    scale.low[:], scale.span[:] = 0, 1
    for seed in range(4):
        drawn = BY_KEY["contrast"].draw(2.0, pixels.shape, np.random.default_rng(seed))
        values = disturb(pixels, np.zeros((1, 64, 64), np.uint8), drawn, scale)[0].ravel()
        assert values[0] == 0 and values[-1] == pytest.approx(1) and (np.diff(values) >= 0).all()
        assert values[1024] == pytest.approx(
            min((0.25**2, 0.25**0.5), key=lambda each: abs(each - values[1024])), abs=0.01
        )


def test_what_only_smooths_leaves_a_plain_area_as_it_is():
    pixels = np.full((1, 48, 48, 5), 90, np.uint8)
    pixels[:, :8] = 0
    reference = np.zeros((1, 48, 48), np.uint8)
    for key in ("blur", "downsampling"):
        changed, moved = disturbed(key, 2.0, pixels, reference)
        assert (changed[:, 24:] == 90).all() and moved is reference


def test_the_reference_turns_with_the_image():
    reference = head()[1]
    pixels = np.repeat(reference[..., None] * np.uint8(200), 3, axis=-1)
    changed, moved = disturbed("rotation", 30.0, pixels, reference)
    assert not np.array_equal(moved, reference)
    overlap = (changed[..., 0] > 100) == (moved > 0)
    assert overlap.mean() > 0.99
    square = cv2.resize(pixels[0, ..., 0], (41, 41), interpolation=cv2.INTER_NEAREST)[None, ..., None]
    mask = (square[..., 0] > 0).astype(np.uint8)
    turned, turned_mask = disturbed("rotation", 90.0, square, mask)
    quarter = min((1, 3), key=lambda times: np.abs(np.rot90(mask[0], times) - turned_mask[0].astype(int)).sum())
    np.testing.assert_array_equal(turned_mask[0], np.rot90(mask[0], quarter))
    np.testing.assert_array_equal(turned[0, ..., 0], np.rot90(square[0, ..., 0], quarter))


def a_scan(pixels, reference, channels=("pre", "flair", "post")):
    return Scan("CS_1_1999", "CS_1", channels, lambda: pixels, lambda: reference)


def test_of_three_sequences_five_ways_of_missing_are_tried():
    (family,) = families_of(("pre", "flair", "post"), ("missing",))
    pixels, reference = head()
    scan = a_scan(pixels, reference)
    found = {case.label: case.change(scan, scale_of(pixels)) for case in family.cases}
    assert list(found) == ["no pre", "no post", "no pre and post", "pre and post black", "FLAIR black"]
    assert found["no pre"].channels == ("flair", "post")
    np.testing.assert_array_equal(found["no pre"].pixels, pixels[..., 1:])
    assert found["no pre and post"].channels == ("flair",)
    black = found["FLAIR black"]
    assert black.channels == scan.channels and not black.pixels[..., 1].any()
    np.testing.assert_array_equal(black.pixels[..., [0, 2]], pixels[..., [0, 2]])
    for changed in found.values():
        np.testing.assert_array_equal(changed.reference, reference)


def test_a_lone_sequence_cannot_be_missing():
    assert [family.key for family in families_of(("post",))] == list(BY_KEY)
    with pytest.raises(RecipeError, match="cannot lack"):
        families_of(("post",), ("missing",))
    without_flair = families_of(("t1", "t2"), ("missing",))[0]
    assert [case.label for case in without_flair.cases] == ["t1 black", "t2 black"]


def test_every_graded_disturbance_has_five_strengths():
    for family in families_of(("flair",)):
        assert len(family.cases) == 5 and family.graded
    with pytest.raises(RecipeError, match="choose from noise, blur"):
        families_of(("flair",), ("noise", "fog"))


def test_a_case_draws_alike_at_every_strength_and_otherwise_for_every_scan():
    pixels, reference = head(np.float32)
    family = next(each for each in families_of(("flair",)) if each.key == "rotation")
    scan, other = a_scan(pixels, reference), Scan("CS_3", "CS_3", ("pre", "flair", "post"), lambda: pixels)
    weak, strong = (case.change(scan, scale_of(pixels)).reference for case in family.cases[1:3])
    middle = [float(np.argwhere(each)[:, 2].mean()) for each in (reference, weak, strong)]
    assert (middle[1] - middle[0]) * (middle[2] - middle[0]) > 0
    noise = next(each for each in families_of(("flair",)) if each.key == "noise").cases[2]
    other = Scan("CS_3", "CS_3", scan.channels, lambda: pixels, lambda: reference)
    assert not np.array_equal(noise.change(scan, scale_of(pixels)).pixels, noise.change(other, scale_of(pixels)).pixels)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two run folders as train leaves them, of one split and a data set of few slices; read only."""
    from test_evaluate import write_model

    folder = tmp_path_factory.mktemp("runs")
    write_phantom(folder, patients=6, slices=4, seed=7)
    phantom = folder / "kaggle_3m"
    first = folder / "first"
    write_model(first / "model")
    recipe = load_recipe("default", ["split.test=0.25", "split.validation=0.25"])
    write_split(first / "split.csv", split_patients(prepare(phantom).candidates, recipe.split))
    (first / "recipe.yaml").write_text(dump_recipe(recipe))
    (first / "environment.json").write_text(json.dumps({"data": str(phantom), "dataset": "kaggle_3m"}))
    second = shutil.copytree(first, folder / "second")
    spec = json.loads((second / "model" / "model.json").read_text())
    (second / "model" / "model.json").write_text(json.dumps(spec | {"threshold": 0.999}))
    return first, second


@pytest.fixture(scope="module")
def studied(runs, tmp_path_factory):
    """The first run in every case; read only."""
    output = tmp_path_factory.mktemp("studies") / "robust"
    return disturb_runs(runs[:1], output, device="cpu", command=("tumorseg", "robustness")), output


@pytest.fixture(scope="module")
def compared(runs, tmp_path_factory):
    """Both runs in some cases; read only."""
    output = tmp_path_factory.mktemp("studies") / "robust"
    return disturb_runs(runs, output, only=("contrast", "missing"), device="cpu"), output


def read_rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_study_leaves_a_page_and_tables(studied):
    found, output = studied
    assert {path.name for path in output.iterdir()} == set(OUTPUTS)
    written = json.loads((output / "robustness.json").read_text())
    assert [each["key"] for each in written["disturbances"]] == list(KEYS)
    assert len(read_rows(output / "robustness.csv")) == 1 + 8 * 5
    assert len(read_rows(output / "patients.csv")) == (1 + 8 * 5) * len(found.patients)


def test_several_runs_stand_side_by_side(compared):
    found, output = compared
    written = json.loads((output / "robustness.json").read_text())
    assert [model["label"] for model in written["models"]] == ["first", "second"]
    assert {row["model"] for row in read_rows(output / "robustness.csv")} == {"first", "second"}
    assert not np.array_equal(found.dice("first"), found.dice("second"))
    page = (output / "report.html").read_text()
    assert "Model by model" in page and page.count('<svg class="chart"') == 1 + 2
    assert '<span class="badge">B</span>second' in page


def test_the_undisturbed_score_is_that_of_evaluate(compared, runs, tmp_path):
    _, output = compared
    for run in runs:
        folder = evaluate_run(run, "val", output=tmp_path / run.name)
        expected = json.loads((folder / "metrics.json").read_text())
        written = json.loads((output / "robustness.json").read_text())["models"][runs.index(run)][UNDISTURBED]
        assert written["dice_patient_mean"] == expected["dice_patient"]["mean"]
        assert written["dice_pooled"] == expected["dice_pooled"]
        assert written["change_mean"] == 0


def test_only_patients_of_the_part_are_judged(studied, runs):
    assert studied[0].patients == read_split(runs[0] / "split.csv").patients("val")


def test_a_model_that_looks_at_flair_alone_bears_everything_but_black_flair_among_missing_sequences(studied):
    found, _ = studied
    (family,) = (each for each in found.families if each.key == "missing")
    plain = found.dice("first")
    for case in family.cases[:4]:
        np.testing.assert_array_equal(found.dice("first", case.key), plain)
    assert found.mean("first", family.cases[4].key) == 0
    assert found.worst_of("first", family).label == "FLAIR black"


def test_the_worst_of_all_is_a_strength_and_no_missing_sequence(studied):
    found, _ = studied
    family, case = found.worst("first")
    assert family.graded
    assert found.mean("first", case.key) == min(
        found.mean("first", each.key) for other in found.families if other.graded for each in other.cases
    )


def test_what_is_borne_is_followed_by_a_greater_loss(studied):
    found, _ = studied
    for family in found.families:
        held = found.borne("first", family)
        changes = [found.change("first", case.key).mean for case in family.cases]
        count = 0 if held is None else held.step
        assert all(change >= -0.05 for change in changes[:count])
        assert count == len(changes) or changes[count] < -0.05
        assert found.mean("first", found.worst_of("first", family).key) == min(
            found.mean("first", case.key) for case in family.cases
        )


def test_the_page_is_whole_and_fetches_nothing(studied):
    found, output = studied
    page = (output / "report.html").read_text()
    assert "http://" not in page and "https://" not in page and "<script" not in page
    for family in found.families:
        assert f"{family.label}" in page and family.cases[-1].label in page
    assert page.count("data:image/jpeg") == 7 * 6
    assert page.count('<svg class="chart"') == 7 + 2


def test_a_single_disturbance_can_be_chosen_and_a_study_repeated(runs, tmp_path, capsys):
    output = tmp_path / "robust"
    line = ["robustness", str(runs[0]), "--only", "blur", "--output", str(output), "--device", "cpu"]
    for _ in range(2):
        assert tumorseg(line) == 0
    assert "undisturbed" in capsys.readouterr().out
    written = json.loads((output / "robustness.json").read_text())
    assert [each["key"] for each in written["disturbances"]] == ["blur"]
    assert not (runs[0] / "evaluation").exists()


def test_a_look_at_the_test_part_is_counted_once_under_each_run(runs, tmp_path):
    copies = [shutil.copytree(run, tmp_path / run.name) for run in runs]
    found = disturb_runs(copies, tmp_path / "robust", part="test", only=("rotation",), device="cpu")
    assert found.readings == {"first": 1, "second": 1}
    for run in copies:
        assert len(json.loads((run / "evaluation" / "readings.json").read_text())) == 1
    assert "was read 1 time, this one included" in (tmp_path / "robust" / "report.html").read_text()


class StopsAfter:
    """Progress that is interrupted after some scans, and remembers how many there were to be."""

    def __init__(self, scans=None):
        self.left, self.total = scans, 0

    def track(self, items, *, what, total=None):
        for item in items:
            if what.startswith("Segmenting"):
                self.total = total
                if self.left == 0:
                    raise KeyboardInterrupt
                self.left = None if self.left is None else self.left - 1
            yield item


def test_a_study_that_was_stopped_goes_on_and_ends_as_if_it_had_not_been(compared, runs, tmp_path, capsys):
    output, options = tmp_path / "robust", {"only": ("contrast", "missing"), "device": "cpu"}
    with pytest.raises(KeyboardInterrupt):
        disturb_runs(runs, output, progress=StopsAfter(5), **options)
    assert {path.name for path in output.iterdir()} == {"unfinished"}
    with pytest.raises(OutputError, match="go on with --resume"):
        disturb_runs(runs, output, **options)
    with pytest.raises(OutputError, match="differs in models, part, scans"):
        disturb_runs(runs[:1], output, part="train", data=None, resume=True, **options)
    kept = sorted((output / "unfinished").glob("*.npz"))
    kept[0].write_bytes(b"half a file")
    watched = StopsAfter()
    found = disturb_runs(runs, output, resume=True, progress=watched, **options)
    whole, _ = compared
    patients = len(whole.patients)
    assert watched.total == (2 * 11 - (len(kept) - 1)) * patients and len(kept) == 5 // patients
    assert {path.name for path in output.iterdir()} == set(OUTPUTS)
    for (label, key), counts in whole.counts.items():
        np.testing.assert_array_equal(found.counts[label, key].tp, counts.tp)
        np.testing.assert_array_equal(found.counts[label, key].fp, counts.fp)
    for key, shot in whole.shots.items():
        np.testing.assert_array_equal(found.shots[key].predicted, shot.predicted)
        np.testing.assert_array_equal(found.shots[key].image, shot.image)
    assert tumorseg(["robustness", str(runs[0]), "--output", str(output), "--resume"]) == 2
    assert "is finished" in capsys.readouterr().err


def test_going_on_with_a_look_at_the_test_part_is_no_further_look(runs, tmp_path):
    run = shutil.copytree(runs[0], tmp_path / "run")
    options = {"part": "test", "only": ("blur",), "device": "cpu"}
    with pytest.raises(KeyboardInterrupt):
        disturb_runs([run], tmp_path / "robust", progress=StopsAfter(2), **options)
    found = disturb_runs([run], tmp_path / "robust", resume=True, **options)
    assert list(found.readings.values()) == [1]
    assert len(json.loads((run / "evaluation" / "readings.json").read_text())) == 1


def test_runs_of_different_splits_are_refused(runs, tmp_path):
    other = shutil.copytree(runs[1], tmp_path / "other")
    split = read_split(other / "split.csv")
    turned = {"train": "train", "val": "test", "test": "val"}
    write_split(other / "split.csv", Split({key: turned[part] for key, part in split.parts.items()}))
    with pytest.raises(DataError, match="different patients"):
        disturb_runs([runs[0], other], tmp_path / "robust", device="cpu")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"part": "all"}, DataError, "no part 'all'"),
        ({"only": ("fog",)}, RecipeError, "fog"),
        ({"device": "tpu"}, ModelError, "tpu"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(runs, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        disturb_runs([runs[0]], tmp_path / "robust", **{"device": "cpu", **options})
    assert not (tmp_path / "robust").exists()


def test_a_folder_of_something_else_is_left_alone(runs, tmp_path):
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(OutputError, match="thesis"):
        disturb_runs([runs[0]], tmp_path, device="cpu")
    with pytest.raises(ModelError, match="not a run folder"):
        disturb_runs([tmp_path], tmp_path / "robust", device="cpu")
    with pytest.raises(ModelError, match="no run"):
        disturb_runs([], tmp_path / "robust")
