"""The edges of a judgement: one patient, two, all alike, nothing marked, volumes unknown, a class that nobody has."""

import json
import math
import re

import jsonschema
import numpy as np
import pytest

from tumorseg.evaluation.facts import Example, RunFacts
from tumorseg.evaluation.headline import headline
from tumorseg.evaluation.judgement import judge, write_judgement
from tumorseg.evaluation.report import render
from tumorseg.evaluation.schema import metrics_schema
from tumorseg.evaluation.strata import with_strata
from tumorseg.metrics.bootstrap import bootstrap_interval
from tumorseg.metrics.unpaired import Ratio, ratio_interval, unpaired_difference
from tumorseg.scan import Scan, Segmentation


def patient(name, reference, predicted, *, spacing=None, probability=None):
    """A patient of three slices; masks are given by the class in a square of 4 x 4 pixels of the middle slice."""

    def mask(value, shift):
        drawn = np.zeros((3, 16, 16), np.uint8)
        drawn[1, 4 : 8 + shift, 4:8] = value
        return drawn

    found, true = mask(predicted, 0), mask(reference, 1)
    pixels = np.random.default_rng(0).integers(1, 90, (3, 16, 16, 1)).astype(np.uint8)
    scan = Scan(name, name, ("flair",), lambda: pixels, slice_numbers=(1, 2, 3), institution="AB", spacing=spacing)
    return Segmentation(scan, found, (found != 0).astype(np.float16) if probability is None else probability), true


EDGES = {
    "one patient": [patient("a", 1, 1)],
    "one patient, both empty": [patient("a", 0, 0)],
    "one patient, missed": [patient("a", 1, 0)],
    "two patients": [patient("a", 1, 1), patient("b", 1, 0)],
    "all alike": [patient(name, 1, 1) for name in "abcdef"],
    "all empty": [patient(name, 0, 0) for name in "abc"],
    "nothing marked": [patient(name, 1, 0) for name in "abc"],
    "no tumour anywhere": [patient(name, 0, 1) for name in "abc"],
    "one volume unknown": [patient("a", 1, 1, spacing=(3, 1, 1)), patient("b", 1, 1)],
    "all volumes known": [patient(name, 1, 1, spacing=(3, 1, 1)) for name in "ab"],
}


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("classes", [("tumour",), ("meningioma", "glioma", "pituitary")], ids=["one", "three"])
def test_metrics_are_as_the_schema_says_and_the_report_is_written(edge, classes, tmp_path):
    pairs = EDGES[edge]
    judgement = with_strata(
        judge(pairs, {"part": "test"}, lone=iter(pairs), classes=classes, segmented=len(classes) > 1), {}
    )
    write_judgement(tmp_path, judgement)
    metrics = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    jsonschema.validate(metrics, metrics_schema())
    assert all("nan" not in text for row in headline(tmp_path / "metrics.json") for text in row)
    examples = [
        Example(s.scan.patient, "AB", 2, s.scan.pixels[1, ..., 0], r[1] != 0, s.mask[1] != 0, p.dice)
        for (s, r), p in zip(pairs, judgement.patients, strict=True)
    ]
    page = render(run=RunFacts("edge", None, dataset="set"), judgement=judgement, examples=examples)
    assert not re.search(r"[^a-z]nan[^a-z]", page), "a number that is none is shown"


def test_one_patient_has_a_score_and_no_interval():
    metrics = judge(EDGES["one patient"]).metrics
    assert metrics["dice_patient"]["mean"] == pytest.approx(32 / 36)
    for score in ("dice_patient", "iou_patient", "nsd", "lesion_f1"):
        assert all(math.isnan(end) for end in metrics[score]["ci95"])
    assert all(math.isnan(end) for end in metrics["practices"]["dice_pooled"]["ci95"])
    assert all(math.isnan(end) for end in metrics["calibration"]["ece_ci95"])
    assert all(math.isnan(end) for end in metrics["volume"]["bias_ci95"] + metrics["volume"]["limits"])
    single, double = Ratio(np.ones(1), np.ones(1)), Ratio(np.ones(2), np.ones(2))
    assert all(math.isnan(end) for end in (*bootstrap_interval([0.5]), *ratio_interval([single])))
    found = unpaired_difference(single, double)
    assert found.value == 0 and math.isnan(found.interval.low)


def test_two_patients_span_their_own_scores_and_no_more():
    metrics = judge(EDGES["two patients"]).metrics
    assert metrics["dice_patient"]["ci95"] == pytest.approx([0, 32 / 36])
    assert metrics["hd95"]["n"] == 1 and metrics["hd95"]["undefined"] == 1
    assert math.isnan(metrics["uncertainty"]["patients"]["spearman"])


def test_patients_who_are_all_alike_leave_no_width_and_no_ranking():
    metrics = judge(EDGES["all alike"]).metrics
    assert metrics["dice_patient"]["ci95"] == pytest.approx([32 / 36] * 2)
    assert math.isnan(metrics["uncertainty"]["patients"]["gain"])
    page = render(run=RunFacts("edge", None), judgement=judge(EDGES["all alike"]), examples=[])
    assert "All scored the same" in page


def test_volumes_are_millilitres_only_where_every_spacing_is_known():
    mixed, known = (judge(EDGES[edge]).metrics for edge in ("one volume unknown", "all volumes known"))
    assert mixed["volume"]["unit"] == "voxels" and mixed["hd95"]["unit"] == "px"
    assert mixed["volume"]["bias"] == pytest.approx(-4)
    assert known["volume"]["unit"] == "ml" and known["hd95"]["unit"] == "mm"
    assert known["volume"]["bias"] == pytest.approx(-4 * 3 / 1000)


def test_a_class_that_nobody_has_is_undefined_and_its_false_alarms_are_counted():
    pairs = [patient("a", 1, 1), patient("b", 1, 2), patient("c", 1, 1)]
    metrics = judge(pairs, classes=("one", "two", "three"), segmented=True).metrics
    absent = metrics["per_class"]["two"]
    assert absent["dice_patient"]["n"] == 0 and math.isnan(absent["dice_patient"]["mean"])
    assert absent["absent_class_fpr"] == pytest.approx(1 / 3)
    assert metrics["per_class"]["three"]["absent_class_fpr"] == 0
    assert math.isnan(metrics["per_class"]["three"]["dice_slice_positive"])
    assert metrics["per_class"]["one"]["dice_patient"]["n"] == 3
