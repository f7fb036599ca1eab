"""The same masks under other definitions, from an evaluation, a run or a cross-validation that was judged already."""

import csv
import json
import math
import shutil
import zlib

import jsonschema
import numpy as np
import pytest

from tumorseg.cli.app import run as tumorseg
from tumorseg.datasets.phantom import write_phantom
from tumorseg.datasets.store import prepare
from tumorseg.errors import DataError, OutputError
from tumorseg.evaluation.judgement import judge, write_judgement
from tumorseg.evaluation.practices import PRACTICES, JudgedSlices, practices
from tumorseg.evaluation.practices_page import practice_section, reading
from tumorseg.evaluation.schema import metrics_schema
from tumorseg.metrics.neighbours import FOLDS, copied_from_neighbours, nearest_in_other_folds
from tumorseg.metrics.overlap import Confusion, confusion_by_slice
from tumorseg.metrics.unpaired import Ratio, ratio_interval
from tumorseg.scan import Segmentation
from tumorseg.studies.practices import OUTPUTS, rejudge


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_phantom(tmp_path_factory.mktemp("data") / "set", patients=4, slices=7, seed=1)


def shifted(scan, by):
    return np.roll(scan.reference, by, axis=2).astype(np.uint8)


def evaluated(folder, scans, *, by=3, part="test", **protocol):
    """What `evaluate` leaves of masks that lie some pixels beside their references."""
    pairs = [
        (Segmentation(scan, shifted(scan, by), shifted(scan, by).astype(np.float16)), scan.reference) for scan in scans
    ]
    judgement = judge(pairs, {"part": part, "dataset": "set", **protocol})
    folder.mkdir(parents=True)
    write_judgement(folder, judgement)
    return judgement


@pytest.fixture
def run(data, tmp_path):
    """A run folder as far as it matters here."""
    scans = prepare(data).scans
    evaluated(tmp_path / "run" / "evaluation" / "set-test", scans[:2])
    evaluated(tmp_path / "run" / "evaluation" / "set-val", scans[2:], part="val")
    evaluated(tmp_path / "run" / "evaluation" / "set-augmented", scans[:2], change="augmented")
    (tmp_path / "run" / "environment.json").write_text(json.dumps({"data": str(data)}))
    return tmp_path / "run"


@pytest.fixture
def study(data, tmp_path):
    """A cross-validation of two folds under two seeds, as far as it matters here."""
    scans = prepare(data).scans
    for seed, by in ((0, 3), (1, 6)):
        for fold, part in enumerate((scans[:2], scans[2:])):
            place = tmp_path / "study" / "runs" / f"fold-{fold}-seed-{seed}"
            evaluated(place / "evaluation" / "set-test", part, by=by)
            (place / "environment.json").write_text(json.dumps({"data": str(data)}))
    plan = {"folds": {"fold-0": [], "fold-1": []}, "seeds": [0, 1]}
    (tmp_path / "study" / "study.json").write_text(json.dumps(plan))
    return tmp_path / "study"


def test_a_slice_takes_the_mask_of_the_nearest_slice_that_is_in_another_fold():
    for slices in (2, 5, 23):
        found = nearest_in_other_folds(slices, "scan")
        folds = np.random.default_rng((20261121, zlib.crc32(b"scan"))).permutation(slices) % FOLDS
        for place, nearest in enumerate(found):
            others = [other for other in range(slices) if folds[other] != folds[place]]
            assert nearest == min(others, key=lambda other: (abs(other - place), other))
    assert nearest_in_other_folds(1, "scan").tolist() == [-1] and nearest_in_other_folds(0, "scan").size == 0


def test_copying_is_scored_against_the_slice_that_it_is_given_to():
    reference = np.random.default_rng(3).integers(0, 2, (9, 8, 8)).astype(np.uint8)
    source = nearest_in_other_folds(9, "x")
    found = copied_from_neighbours(reference, "x")
    expected = confusion_by_slice(np.stack([reference[index] for index in source]), reference)
    np.testing.assert_array_equal(found.dice, expected.dice)
    assert copied_from_neighbours(reference[:1], "x").predicted.tolist() == [0]


def test_every_definition_agrees_with_a_loop_over_masks():
    random = np.random.default_rng(0)
    owners = tuple("ab"[index // 20] for index in range(40))
    reference = random.random((40, 16, 16)) < np.where(random.random((40, 1, 1)) < 0.5, 0.3, 0)
    predicted = reference & (random.random(reference.shape) < 0.8)
    found = {one.key: one for one in practices([JudgedSlices(owners, confusion_by_slice(predicted, reference))])}

    def dice(p, r, smooth=0.0):
        return (2 * (p & r).sum() + smooth) / (p.sum() + r.sum() + smooth)

    held = reference.any(axis=(1, 2))
    halves = [(predicted[:20], reference[:20]), (predicted[20:], reference[20:])]
    assert found["dice_patient"].value == pytest.approx(np.mean([dice(p, r) for p, r in halves]))
    assert found["dice_pooled"].value == pytest.approx(dice(predicted, reference))
    pairs = list(zip(predicted, reference, strict=True))
    assert found["dice_slice_positive"].value == pytest.approx(np.mean([dice(p, r) for p, r in pairs if r.any()]))
    assert found["dice_slice_all"].value == pytest.approx(np.mean([dice(p, r) if r.any() else 1 for p, r in pairs]))
    assert found["dice_slice_all"].all_empty == pytest.approx(1 - held.mean())
    smooth = np.mean([dice(p, r, 100) for p, r in pairs])
    assert found["dice_smooth100_b1"].value == pytest.approx(smooth)
    batches = [(predicted[i : i + 16], reference[i : i + 16]) for i in range(0, 40, 16)]
    assert found["dice_batch16"].value == pytest.approx(np.mean([dice(p, r) for p, r in batches]))
    assert found["dice_smooth100_b32"].interval is None and math.isnan(found["dice_pooled"].copied)
    assert all(one.perfect == pytest.approx(1) for one in found.values())


def test_the_interval_of_a_ratio_is_the_bootstrap_over_patients_and_of_one_training_its_own():
    random = np.random.default_rng(2)
    above, below = random.random(9), random.random(9) + 1
    drawn = np.random.default_rng(7).integers(9, size=(500, 9))
    expected = np.quantile(above[drawn].sum(axis=1) / below[drawn].sum(axis=1), [0.025, 0.975])
    one = Ratio(above, below)
    assert ratio_interval([one], resamples=500, seed=7) == pytest.approx(tuple(expected))
    assert ratio_interval([one, one], resamples=500, seed=7) == pytest.approx(tuple(expected))
    assert all(math.isnan(end) for end in ratio_interval([Ratio(np.zeros(0), np.zeros(0))]))


def test_an_evaluation_says_what_other_definitions_make_of_its_masks(data, tmp_path):
    judgement = evaluated(tmp_path / "evaluation", prepare(data).scans)
    metrics = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    jsonschema.validate(metrics, metrics_schema())
    assert list(metrics["practices"]) == list(PRACTICES)
    for key, one in metrics["practices"].items():
        known = metrics[key]
        assert one["value"] == pytest.approx(known["mean"] if key == "dice_patient" else known)
        if key not in ("dice_patient", "dice_pooled"):
            assert one["all_empty"] == pytest.approx(metrics["all_empty"][key])
            assert one["perfect"] == pytest.approx(metrics["perfect"][key])
    assert metrics["practices"]["dice_patient"]["ci95"] == pytest.approx(metrics["dice_patient"]["ci95"])
    assert 0 < metrics["practices"]["dice_pooled"]["copied"] < 1
    assert judgement.metrics["practices"]["dice_pooled"]["copied"] == metrics["practices"]["dice_pooled"]["copied"]


def test_a_run_is_rejudged_from_what_its_evaluation_left(run, tmp_path):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    found = rejudge(run, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(OUTPUTS)
    stored = json.loads((run / "evaluation" / "set-test" / "metrics.json").read_text())["practices"]
    written = json.loads((tmp_path / "out" / "practices.json").read_text())
    assert written["patients"] == 2 and written["part"] == "test"
    for key, one in written["practices"].items():
        assert one["value"] == pytest.approx(stored[key]["value"]) and one["copied"] == pytest.approx(
            stored[key]["copied"]
        )
    assert rejudge(run, tmp_path / "out", part="val").protocol["part"] == "val"
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert found.folds == 1 == found.seeds
    page = (tmp_path / "out" / "report.html").read_text()
    assert "http://" not in page and "https://" not in page and "<script" not in page


def test_the_folds_of_a_study_are_put_together_and_its_seeds_averaged(study, data, tmp_path):
    found = rejudge(study, tmp_path / "out")
    assert (found.folds, found.seeds, found.patients) == (2, 2, 4)
    scans = prepare(data).scans
    values = []
    for by in (3, 6):
        counts = Confusion.joined([confusion_by_slice(shifted(scan, by), scan.reference) for scan in scans])
        values.append(float(counts.pooled().dice))
    assert {one.key: one.value for one in found.practices}["dice_pooled"] == pytest.approx(np.mean(values))
    assert "2 of 2 folds, the mean over 2 seeds" in (tmp_path / "out" / "report.html").read_text()


def test_a_study_that_is_not_finished_says_so(study, tmp_path, caplog):
    for seed in (0, 1):
        shutil.rmtree(study / "runs" / f"fold-1-seed-{seed}")
    assert rejudge(study, tmp_path / "out").patients == 2
    assert "1 of 2 folds" in caplog.text
    assert "these are not all patients" in (tmp_path / "out" / "report.html").read_text()


def test_without_the_references_copying_is_left_out_and_said(run, tmp_path, caplog):
    (run / "environment.json").write_text(json.dumps({"data": str(tmp_path / "gone")}))
    found = rejudge(run, tmp_path / "out")
    assert all(math.isnan(one.copied) for one in found.practices) and "--data" in caplog.text
    assert "copied from the nearest slice" not in (tmp_path / "out" / "report.html").read_text()
    other = write_phantom(tmp_path / "other", patients=4, slices=7, seed=9)
    assert all(math.isnan(one.copied) for one in rejudge(run, tmp_path / "out", data=other).practices)
    assert "does not hold the references" in caplog.text


def test_an_audit_stands_beside_it(run, tmp_path):
    score = {"by_slice": 0.9, "by_patient": 0.8, "leakage": 0.1, "ci95": [0.0, 0.2], "more": 1}
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "audit.json").write_text(json.dumps({"scores": {"dice_pooled": score}}))
    rejudge(run, tmp_path / "out", audit=tmp_path / "audit")
    assert "+0.100" in (tmp_path / "out" / "report.html").read_text()
    with pytest.raises(DataError, match="not a leakage audit"):
        rejudge(run, tmp_path / "out", audit=run)


def test_the_sentence_names_the_lowest_and_the_highest_definition():
    counts = Confusion(*(np.array(values, np.int64) for values in ([60, 0], [20, 0], [20, 0], [0, 100])))
    said = reading(practices([JudgedSlices(("a", "a"), counts)]))
    assert "0.750" in said and "0.923" in said and "Marking nothing at all scores" in said
    nothing = Confusion(*(np.zeros(0, np.int64) for _ in range(4)))
    section = practice_section(practices([JudgedSlices((), nothing)]))
    assert "undefined" in section.reading and {row.value for row in section.rows} == {"undefined"}


def damaged(run, study):
    (run / "evaluation" / "set-test" / "slices.csv").write_text("patient\nx\n")
    return run


def judged_twice(run, study):
    shutil.rmtree(study / "runs" / "fold-1-seed-0")
    shutil.copytree(study / "runs" / "fold-0-seed-0", study / "runs" / "fold-1-seed-0")
    return study


def not_evaluated(run, study):
    shutil.rmtree(run / "evaluation" / "set-test")
    return run


def nothing_judged(run, study):
    shutil.rmtree(study / "runs")
    (study / "runs").mkdir()
    return study


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run, study: run / "nowhere", "does not exist"),
        (lambda run, study: run / "environment.json", "not a folder"),
        (lambda run, study: study / "runs", "holds no evaluation"),
        (not_evaluated, "not evaluated on the part test"),
        (damaged, "not a whole evaluation"),
        (judged_twice, "more than one fold judged"),
        (nothing_judged, "no fold of"),
    ],
)
def test_what_cannot_be_rejudged_is_one_line_and_nothing_is_written(run, study, tmp_path, capsys, spoil, said):
    folder = spoil(run, study)
    assert tumorseg(["practices", str(folder), "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("tumorseg: error:") and said in error
    assert not (tmp_path / "out").exists()


def test_the_command_shows_the_table_and_leaves_other_folders_alone(run, tmp_path, capsys):
    assert tumorseg(["practices", str(run), "--output", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert all(words in shown for words in PRACTICES.values())
    with open(tmp_path / "out" / "practices.csv", newline="") as file:
        assert [row["key"] for row in csv.DictReader(file)] == list(PRACTICES)
    with pytest.raises(OutputError, match="not a study of practices"):
        rejudge(run, run)
