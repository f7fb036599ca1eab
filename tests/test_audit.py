"""`audit-leakage`: what a split by slice gives away."""

import json
import math
import re

import numpy as np
import pytest

from small_recipe import SMALL
from tumorseg.cli.app import run as tumorseg
from tumorseg.cli.arguments import expand
from tumorseg.datasets.dealing import make_split, split_slices_with_leakage
from tumorseg.datasets.split import Split, read_split
from tumorseg.datasets.store import prepare
from tumorseg.evaluation.judgement import judge
from tumorseg.metrics.overlap import Confusion
from tumorseg.recipe import SplitShares
from tumorseg.recipe_file import load_recipe
from tumorseg.scan import Scan, Segmentation
from tumorseg.studies import audit as audit_module
from tumorseg.studies.audit import BY_PATIENT, BY_SLICE, OUTPUTS, as_json
from tumorseg.studies.audit_page import finding, render
from tumorseg.studies.leakage import SCORES, SliceCounts, copied_from_neighbours, leaks, ratios_of, scores_of

QUICK = (*SMALL, "epochs=1", "split.test=0.25", "split.validation=0.2")


def judged(moved):
    """metrics.json and the slices of a made-up evaluation in which masks are moved by some pixels."""
    pairs = []
    for index in range(6):
        reference = np.zeros((5, 32, 32), np.uint8)
        reference[1:4, 8 : 14 + index, 8:20] = 1
        scan = Scan(f"P{index}_1", f"P{index}", ("flair",), lambda: None)
        mask = np.roll(reference, moved + index % 2, axis=1)
        pairs.append((Segmentation(scan, mask, mask.astype(np.float16)), reference))
    found = judge(pairs, calibrated=False)  # their scans have no pixels
    columns = [np.array([getattr(piece, name) for piece in found.slices]) for name in ("tp", "fp", "fn", "tn")]
    return found.metrics, SliceCounts(tuple(piece.patient for piece in found.slices), Confusion(*columns))


def test_scores_by_patient_sums_are_those_of_the_evaluation():
    metrics, slices = judged(2)
    for key, value in scores_of(slices).items():
        expected = metrics[key]["mean"] if key == "dice_patient" else metrics[key]
        assert value == pytest.approx(expected, abs=1e-12)
    assert set(ratios_of(slices)) == set(SCORES) - {"dice_smooth100_b32"}


def test_leakage_is_the_leaking_score_minus_the_honest_one_with_an_interval_over_patients():
    honest, leaking = judged(3), judged(0)
    found = {leak.key: leak for leak in leaks(honest, leaking, leaking[1], seed=1)}
    assert list(found) == list(SCORES)
    for key, leak in found.items():
        assert leak.gap == pytest.approx(leak.by_slice - leak.by_patient) and leak.gap > 0
        if leak.difference is not None:
            assert leak.difference.value == pytest.approx(leak.gap)
            assert leak.difference.interval.low <= leak.gap <= leak.difference.interval.high
        assert leak.copied == pytest.approx(leak.by_slice) or key == "dice_smooth100_b32"
    assert found["dice_smooth100_b32"].difference is None
    assert math.isnan(found["dice_pooled"].all_empty) and found["dice_slice_all"].all_empty == pytest.approx(0.4)


def test_each_test_slice_gets_the_mask_of_the_nearest_training_slice(phantom):
    store = prepare(phantom)
    split = split_slices_with_leakage(store.slice_keys, SplitShares(test=0.3))
    training = set(store.rows(split, "train").tolist())
    rows = store.rows(split, "test").tolist()
    found = copied_from_neighbours(store, split)
    assert len(found.patients) == len(rows)
    for place, row in enumerate(rows):
        entry = store.stored[store.scan_index[row]]
        own = [other for other in range(entry.first, entry.first + entry.shape[0]) if other in training]
        masks = store.masks(entry) != 0
        nearest = min(own, key=lambda other: (abs(other - row), other))
        both = int((masks[nearest - entry.first] & masks[row - entry.first]).sum())
        assert found.counts.tp[place] == both
        assert found.counts.predicted[place] == masks[nearest - entry.first].sum()
        assert found.patients[place] == entry.patient


def test_nothing_can_be_copied_under_a_split_by_patient(phantom):
    store = prepare(phantom)
    found = copied_from_neighbours(store, make_split(store, SplitShares()))
    assert found.counts.predicted.sum() == 0 < found.counts.reference.sum()


def test_copying_scores_0_80_on_real_masks_without_any_learning(lgg_real):
    # 0.80 on all 110 patients with a random 80/20 split of the slices; 88 of them are here.
    store = prepare(lgg_real)
    dealt = split_slices_with_leakage(store.slice_keys, SplitShares(test=0.2, validation=1e-6))
    # The one slice that validation must have goes to training.
    split = Split({key: "train" if part == "val" else part for key, part in dealt.parts.items()}, dealt.unit)
    assert scores_of(copied_from_neighbours(store, split))["dice_pooled"] == pytest.approx(0.80, abs=0.02)


@pytest.fixture(scope="module")
def audited(phantom, tmp_path_factory):
    output = tmp_path_factory.mktemp("audit") / "out"
    recipe = load_recipe("default", QUICK).model_copy(update={"name": "unet-classic"})
    return output, audit_module.audit_leakage(recipe, phantom, output, device="cpu")


def test_one_recipe_is_trained_under_both_splits_and_nothing_else_differs(audited):
    output, found = audited
    assert {path.name for path in output.iterdir()} == {*OUTPUTS, "runs"}
    honest, leaking = (read_split(output / "runs" / name / "split.csv") for name in (BY_PATIENT, BY_SLICE))
    assert (honest.unit, leaking.unit) == ("patient", "slice-with-leakage")
    one, other = found.by_patient.recipe, found.by_slice.recipe
    assert one.model_copy(update={"split": other.split}) == other
    assert one.split.model_copy(update={"unit": other.split.unit}) == other.split
    assert found.shared_patients > 0


def test_each_arm_is_judged_on_its_own_test_part_by_every_definition(audited):
    output, found = audited
    written = json.loads((output / "audit.json").read_text())
    assert written == json.loads(json.dumps(as_json(found)))
    assert list(written["scores"]) == list(SCORES)
    for key, score in written["scores"].items():
        for arm, name in ((BY_PATIENT, "by_patient"), (BY_SLICE, "by_slice")):
            value = written["arms"][arm]["metrics"][key]
            assert score[name] == (value["mean"] if isinstance(value, dict) else value)
        assert score["leakage"] == pytest.approx(score["by_slice"] - score["by_patient"])
    assert written["scores"]["dice_smooth100_b1"]["all_empty_by_slice"] > 0
    assert written["published"][0]["value"] == 0.9225


def test_the_page_says_how_much_was_leakage_beside_the_published_figure(audited):
    page = (audited[0] / "report.html").read_text()
    assert finding(audited[1]) in page and "published 0.9225, split by slice" in page
    assert "<script" not in page and not re.search(r"""(?:src|href)=["']?https?:""", page)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)) and set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    assert render(audited[1]) == page


def test_a_difference_that_chance_explains_is_not_called_leakage(audited):
    from dataclasses import replace

    from tumorseg.metrics.bootstrap import Interval
    from tumorseg.metrics.unpaired import Difference

    _, found = audited
    first = next(leak for leak in found.leaks if leak.key == "dice_patient")

    def said(low, high):
        leak = replace(first, by_slice=0.9, by_patient=0.8, difference=Difference(0.1, Interval(low, high)))
        return finding(replace(found, leaks=(leak,)))

    assert "+0.100 of that score is leakage" in said(0.05, 0.15)
    assert "cannot tell that from chance" in said(-0.05, 0.15)
    assert "did worse" in said(-0.15, -0.05)


def test_the_same_command_trains_nothing_again(audited, phantom, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("tumorseg.training.fit.train", lambda *args, **kwargs: pytest.fail("trained again"))
    recipe = tmp_path / "unet-classic.yaml"
    recipe.write_text("base: default\n")
    line = ["audit-leakage", "--recipe", str(recipe), "--data", str(phantom), "--output", str(audited[0])]
    assert tumorseg(expand([*line, "--device", "cpu", "--set", *QUICK])) == 0
    shown = capsys.readouterr().out
    assert "Dice by patient" in shown and "copied" in shown and "report:" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--minutes", "0"], "--minutes 0"),
        (["--recipe", "nosuch"], "no recipe is called"),
        (["--set", "nosuch=1"], "unknown key"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(phantom, tmp_path, capsys, words, message):
    line = ["audit-leakage", "--data", str(phantom), "--output", str(tmp_path / "new"), *words]
    assert tumorseg(expand(line)) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("tumorseg: error:") and message in error
    assert not (tmp_path / "new").exists()


def test_an_output_that_is_a_comparison_is_left_alone(phantom, tmp_path, capsys):
    (tmp_path / "comparison.json").write_text("{}")
    assert tumorseg(["audit-leakage", "--data", str(phantom), "--output", str(tmp_path)]) == 2
    assert "is not a leakage audit" in capsys.readouterr().err
