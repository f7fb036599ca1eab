"""Groups of patients, the protocol and the checklist: what the report says beside the scores."""

import math
from dataclasses import replace

import numpy as np
import pytest

from tumorseg.evaluation.checklist import checklist
from tumorseg.evaluation.facts import RunFacts
from tumorseg.evaluation.judgement import PatientScore
from tumorseg.evaluation.protocol_box import protocol_box
from tumorseg.evaluation.strata import strata_of, traits_of
from tumorseg.recipe_file import load_recipe
from tumorseg.scan import Scan

PLAIN = PatientScore("", "", 1, 100, 100, 90, 10, 10, 800, 0.9, 0.8, 0.9, 0.9, math.nan)


def cohort(groups):
    """Patients of institutions with these Dice."""
    return [
        replace(PLAIN, patient=f"{name}_{index}", institution=name, dice=dice, reference_voxels=100 + index)
        for name, values in groups.items()
        for index, dice in enumerate(values)
    ]


def factor(found, name):
    return next(one for one in found if one["factor"] == name)


def test_small_levels_are_counted_and_not_compared():
    found = strata_of(cohort({"A": [0.9] * 5, "B": [0.5, 0.6, 0.7, 0.8, 0.9], "C": [0.1]}), {})
    institution = factor(found, "institution")
    assert [(row["level"], row["n"]) for row in institution["levels"]] == [("A", 5), ("B", 5)]
    assert institution["left_out"] == 1
    assert institution["levels"][1]["mean"] == pytest.approx(0.7)
    assert not strata_of(cohort({"A": [0.9] * 5, "B": [0.5] * 4}), {})


def test_many_factors_make_each_p_larger_as_holm_says():
    random = np.random.default_rng(0)
    patients = cohort({"A": random.uniform(0.5, 0.7, 8).tolist(), "B": random.uniform(0.8, 0.9, 8).tolist()})
    alone = factor(strata_of([replace(p, reference_voxels=1) for p in patients], {}), "institution")
    columns = {p.patient: {f"c{n}": str(random.integers(2)) for n in range(6)} for p in patients}
    among = strata_of(patients, columns)
    assert factor(among, "institution")["p"] == pytest.approx(alone["p"])
    assert factor(among, "institution")["p_holm"] == pytest.approx(min(1, alone["p"] * len(among)))
    assert all(one["p_holm"] >= one["p"] for one in among)


def test_a_column_of_many_numbers_is_cut_into_thirds_and_unknown_values_left_out():
    patients = cohort({"A": np.linspace(0.5, 0.9, 17).tolist()})
    ages = {p.patient: {"age": str(20 + 3 * n) if n < 15 else ""} for n, p in enumerate(patients)}
    age = factor(strata_of(patients, ages), "age")
    assert [row["n"] for row in age["levels"]] == [5, 5, 5] and age["left_out"] == 2
    assert [row["level"].split()[0] for row in age["levels"]] == ["lower", "middle", "upper"]


def test_groups_that_are_all_alike_have_a_p_of_one():
    assert factor(strata_of(cohort({"A": [0.9] * 5, "B": [0.9] * 5}), {}), "institution")["p"] == 1


def test_a_sequence_that_equals_flair_is_missing():
    pixels = np.random.default_rng(0).integers(0, 255, (2, 4, 4, 3), np.uint8)
    filled = pixels.copy()
    filled[..., 2] = filled[..., 1]
    scans = [
        Scan(name, name, ("pre", "flair", "post"), lambda held=held: held)
        for name, held in (("a", pixels), ("b", filled))
    ]
    traits = traits_of(scans, {"a": {"gender": " 1 "}})
    assert traits["a"] == {"missing sequences": "none", "gender": "1"}
    assert traits["b"] == {"missing sequences": "post"}


METRICS = {"patients": 3, "slices": 9, "dice_patient": {"n": 3, "ci95": [0.7, 0.9]}}


def test_the_protocol_says_what_is_not_known_of_stored_masks():
    metrics = {
        **METRICS,
        "protocol": {"missing_predictions": ["x_1.png"], "extra_predictions": [], "pairing": "by name"},
    }
    box = dict(protocol_box(RunFacts("m", None, part=""), metrics))
    assert box["Without a prediction"] == "1, counted as empty: x_1.png"
    assert all(box[row].startswith("not known") for row in ("Split", "Leakage", "Test part read"))


@pytest.mark.parametrize(
    ("protocol", "part", "said"),
    [
        ({"trained_on": []}, "test", "none found"),
        ({"trained_on": ["CS_1"]}, "test", "CS_1"),
        ({"trained_on": [], "split_unit": "slice-with-leakage"}, "test", "certain"),
        ({"trained_on": []}, "train", "certain"),
        ({}, "test", "not checked"),
    ],
)
def test_the_protocol_says_what_is_known_of_leakage(protocol, part, said):
    run = RunFacts("r", load_recipe("default"), part=part, readings=3)
    box = dict(protocol_box(run, {**METRICS, "protocol": protocol}))
    assert said in box["Leakage"]
    assert ("3 times" in box["Test part read"]) == (part == "test")


def test_the_checklist_answers_what_the_run_knows_and_leaves_the_rest_to_the_author():
    known = checklist(RunFacts("r", load_recipe("default"), split_counts={"train": 5}), {**METRICS, "protocol": {}})
    stored = checklist(RunFacts("m", None, part=""), {**METRICS, "protocol": {"missing_predictions": []}})
    assert [item.question for item in known] == [item.question for item in stored]
    answered = [sum(item.status == "from the run" for item in items) for items in (known, stored)]
    assert answered[0] > answered[1] > 0
    funding = next(item for item in known if "Funding" in item.question)
    assert funding.status == "for the author"
