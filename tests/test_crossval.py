"""`crossval`: every patient judged once, by a model that never saw that patient."""

import csv
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from small_recipe import SMALL
from tumorseg.cli.app import run as tumorseg
from tumorseg.cli.arguments import expand
from tumorseg.datasets.phantom import write_phantom
from tumorseg.datasets.split import Split, read_split
from tumorseg.datasets.store import prepare
from tumorseg.errors import DataError, OutputError, RecipeError
from tumorseg.files import digest_file
from tumorseg.inference.model import read_model
from tumorseg.metrics.overlap import Confusion
from tumorseg.metrics.paired import paired_difference
from tumorseg.recipe import SplitShares
from tumorseg.recipe_file import load_recipe
from tumorseg.studies.arm import Arm, Judged
from tumorseg.studies.crossval import cross_validate
from tumorseg.studies.crossval_page import render
from tumorseg.studies.crossval_tables import against, as_json, detectable, pooled, summary_rows, write_patients
from tumorseg.studies.ensemble import ensemble_of
from tumorseg.studies.held_out import HeldOut, copies_between_patients, hold_out, never_tested
from tumorseg.studies.leakage import SliceCounts
from tumorseg.studies.out_of_fold import FoldScores, joined
from tumorseg.studies.rivals import Rival, read_rival

QUICK = (*SMALL, "epochs=2")


class Known:
    """A store of which only the patients matter."""

    name = "kaggle_3m"

    def __init__(self, patients):
        self.stored = [type("Entry", (), {"patient": patient}) for patient in patients]


def a_fold(name, seed, patients, others, dice):
    """One fold under one seed whose held-out patients have these scores, two slices each."""
    split = Split({**dict.fromkeys(patients, "test"), others[0]: "val", **dict.fromkeys(others[1:], "train")})
    rows = [
        {
            "patient": patient,
            "institution": patient[:2],
            "slices": "2",
            "reference_voxels": "200",
            "dice": f"{score}",
            "dice_lone": f"{score - 0.02}",
        }
        for patient, score in zip(patients, dice, strict=True)
    ]
    found = [score for score in dice if score == score]
    metrics = {
        "dice_patient": {"mean": float(np.mean(found)), "median": float(np.median(found)), "ci95": [0.5, 0.9], "n": 4},
        "protocol": {"part": "test", "test_readings": 1},
    }
    judged = Judged(metrics, tuple(patients), np.array(dice), np.full(len(patients), 200))
    hits = np.round(100 * np.array(found)).astype(int)
    counts = Confusion(
        *(np.array(column) for column in zip(*[(hit, 100 - hit, 100 - hit, 900) for hit in hits], strict=True))
    )
    log = [{"epoch": 1.0, "seconds": 60.0, "val_dice_patient": 0.7}, {"epoch": 2.0, "seconds": 60.0}]
    recipe = load_recipe("default").model_copy(update={"seed": seed, "epochs": 2})
    environment = {"training_seconds": 130.0, "store_digest": "0" * 64}
    arm = Arm(f"{name}-seed-{seed}", Path("runs") / f"{name}-seed-{seed}", recipe, environment, log)
    slices = SliceCounts(tuple(patient for patient in patients), counts)
    return FoldScores(arm, HeldOut(name, split), seed, judged, tuple(rows), slices, 0.45)


def a_study(seeds=(0,), folds=5, size=4):
    random = np.random.default_rng(1)
    names = [f"{('CS', 'DU', 'HT')[index % 3]}_{index:02}" for index in range(folds * size)]
    talent = {name: random.beta(12, 2) for name in names}
    tested = []
    for seed in seeds:
        for fold in range(folds):
            held = names[fold::folds]
            dice = [float(np.clip(talent[name] + random.normal(0, 0.02), 0, 1)) for name in held]
            tested.append(a_fold(f"fold-{fold}", seed, held, [name for name in names if name not in held], dice))
    return joined(tested, Known(names))


# Who is held out


@pytest.fixture(scope="module")
def store(phantom):
    return prepare(phantom)


def test_every_patient_is_held_out_once_and_chooses_or_trains_in_every_other_fold(store):
    held = hold_out(store, SplitShares(), by="fold", folds=3)
    tested = [patient for fold in held for patient in fold.split.patients("test")]
    assert sorted(tested) == sorted({entry.patient for entry in store.stored})
    assert all(fold.split.patients("val") and fold.split.patients("train") for fold in held)
    assert never_tested(held) == ()


def test_an_institution_is_held_out_as_a_whole_and_a_lone_patient_always_trains(store):
    # Eight patients: DU, HT, CS, DU, HT, FG, DU, HT; so CS and FG have one each.
    held = hold_out(store, SplitShares(), by="institution", folds=5)
    institution = {entry.patient: entry.institution for entry in store.stored}
    assert [fold.name for fold in held] == ["DU", "HT"]
    for fold in held:
        assert {institution[patient] for patient in fold.split.patients("test")} == {fold.name}
        assert fold.name not in {institution[patient] for patient in fold.split.patients("train")}
        assert {"CS", "FG"} <= {institution[patient] for patient in fold.split.patients("train")}
    assert {institution[patient] for patient in never_tested(held)} == {"CS", "FG"}


def test_institutions_that_nobody_names_cannot_be_held_out(store):
    nameless = type("Nameless", (), {"name": "set", "candidates": [replace(store.candidates[0], institution="")]})
    with pytest.raises(DataError, match="institution of 1 patients"):
        hold_out(nameless, SplitShares(), by="institution", folds=5)


def test_a_split_by_slice_is_no_cross_validation(store):
    with pytest.raises(RecipeError, match="deals patients"):
        hold_out(store, SplitShares(unit="slice-with-leakage"), by="fold", folds=3)


def test_a_copy_under_another_name_and_with_another_mask_is_found(tmp_path):
    write_phantom(tmp_path / "p", patients=6, slices=4, seed=3)
    folder = tmp_path / "p" / "kaggle_3m"
    clean = prepare(folder)
    assert not copies_between_patients(clean)
    held = hold_out(clean, SplitShares(), by="fold", folds=2)
    one, other = held[0].split.patients("test")[0], held[1].split.patients("test")[0]
    (image,), (target,) = (list(folder.glob(f"{name}*/*_2.tif")) for name in (one, other))
    shutil.copyfile(image, target)
    copied = prepare(folder)
    assert list(copies_between_patients(copied).values()) == [1]
    with pytest.raises(DataError, match=rf"({one}.*{other}|{other}.*{one}).*1 slice in common"):
        hold_out(copied, SplitShares(), by="fold", folds=2)


# What is put together


def test_a_patient_whom_two_folds_scored_is_an_error():
    folds = [a_fold("fold-0", 0, ["a", "b"], ["c", "d"], [0.8, 0.9])] * 2
    with pytest.raises(DataError, match="more than one fold scored a, b"):
        joined(folds, Known("ab"))


def test_a_patient_whom_no_fold_scored_is_an_error():
    folds = [a_fold("fold-0", 0, ["a", "b"], ["c", "d"], [0.8, 0.9])]
    with pytest.raises(DataError, match="no fold scored c, d"):
        joined(folds, Known("abcd"))
    assert joined(folds, Known("abcd"), never=("c", "d")).patients == ("a", "b")


def test_the_headline_is_over_all_patients_and_not_over_folds():
    folds = [
        a_fold("fold-0", 0, ["a"], ["b", "c", "d"], [0.2]),
        a_fold("fold-1", 0, ["b", "c", "d"], ["a", "e"], [0.8, 0.9, 1.0]),
    ]
    found = joined(folds, Known("abcd"))
    content = as_json(found)
    assert content["dice_patient"]["mean"] == pytest.approx(2.9 / 4)
    assert content["folds"]["fold-0"]["mean"] == pytest.approx(0.2)
    assert content["dice_patient_single_slice"]["mean"] == pytest.approx(2.9 / 4 - 0.02)
    assert summary_rows(found)[1][1] == "4"


def test_seeds_are_averaged_within_a_patient_before_patients_are():
    tested = [a_fold("fold-0", seed, ["a", "b"], ["c", "d"], dice) for seed, dice in ((0, [0.6, 0.8]), (1, [0.8, 1.0]))]
    found = joined(tested, Known("ab"))
    assert found.score.tolist() == pytest.approx([0.7, 0.9])
    assert as_json(found)["dice_patient"]["n"] == 2
    assert pooled(found, 0)["dice_pooled"] == pytest.approx(0.7)


def test_a_patient_undefined_under_one_seed_is_left_out_and_counted():
    tested = [
        a_fold("fold-0", seed, ["a", "b"], ["c", "d"], dice) for seed, dice in ((0, [0.6, math.nan]), (1, [0.8, 0]))
    ]
    headline = as_json(joined(tested, Known("ab")))["dice_patient"]
    assert (headline["mean"], headline["n"], headline["left_out"]) == (pytest.approx(0.7), 1, 1)


def test_the_smallest_difference_is_taken_from_what_was_measured_and_else_assumed():
    alone, twice = detectable(a_study()), detectable(a_study(seeds=(0, 1, 2)))
    assert not any(row.measured for row in alone)
    assert [row.measured for row in twice] == [True, False, False, False, False]
    # Two seeds differ by two draws with a deviation of 0.02 each.
    assert twice[0].deviation == pytest.approx(0.02 * math.sqrt(2), rel=0.25)
    assert all(row.difference > 0.6 * row.deviation for row in alone)


def test_another_study_is_held_against_this_one_patient_by_patient():
    found = a_study()
    other = {patient: score - 0.01 for patient, score in zip(found.patients, found.score.tolist(), strict=True)}
    other.pop(found.patients[0])
    (held,) = against(replace(found, rivals=(Rival("plain", "unet-plain", other),)))
    expected = paired_difference(found.score[1:], found.score[1:] - 0.01)
    assert held.difference.mean == pytest.approx(0.01)
    assert held.difference.left_out == 1 and held.p_holm == pytest.approx(expected.p)


def test_the_page_is_one_file_with_every_number_and_nothing_from_outside(tmp_path):
    found = a_study(seeds=(0, 1))
    found = replace(
        found, rivals=(Rival("plain", "unet-plain", dict(zip(found.patients, found.dice[:, 0] - 0.1, strict=True))),)
    )
    page = render(found)
    assert not re.search(r'(src|href)="(?!#)|url\(|@import|<script', page)
    assert page.count('class="sign m') >= 2 * len(found.patients)
    for name in ("fold-4", "CS", "Where one score", "unet-plain", "assumed: scores", found.patients[0]):
        assert name in page
    assert "Seeds" not in re.findall(r"<nav.*?</nav>", render(a_study()))[0]
    write_patients(tmp_path / "patients.csv", found)
    with open(tmp_path / "patients.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 40 and len({(row["patient"], row["seed"]) for row in rows}) == 40


# The command


def crossval(phantom, output, *more, code=0):
    words = ["crossval", "--data", str(phantom), "--output", str(output), "--device", "cpu"]
    assert tumorseg(expand([*words, *more])) == code


@pytest.fixture(scope="module")
def study(phantom, tmp_path_factory):
    """A whole cross-validation in two folds."""
    folder = tmp_path_factory.mktemp("crossval") / "study"
    crossval(phantom, folder, "--folds", "2", "--set", *QUICK)
    return folder


def scores(folder):
    """patients.csv, by patient."""
    with open(folder / "patients.csv", newline="", encoding="utf-8") as file:
        return {row["patient"]: row for row in csv.DictReader(file)}


def test_every_patient_is_scored_once_by_a_run_that_held_the_patient_out(study, store):
    found = json.loads((study / "crossval.json").read_text(encoding="utf-8"))
    rows = scores(study)
    assert set(rows) == {entry.patient for entry in store.stored} and found["patients"] == len(rows) == 8
    for patient, row in rows.items():
        assert read_split(study / "runs" / row["run"] / "split.csv").parts[patient] == "test"
    assert (study / "report.html").stat().st_size > 10_000
    assert found["dice_patient"]["mean"] == pytest.approx(np.mean([float(row["dice"]) for row in rows.values()]))


def test_the_model_of_a_study_averages_its_folds_and_knows_whom_they_saw(study, store):
    spec = read_model(study).spec
    graphs = [study / "runs" / f"fold-{fold}-seed-0" / "model" / "model.onnx" for fold in range(2)]
    assert [spec.files[name] for name in spec.members] == [digest_file(graph) for graph in graphs]
    parts = read_split(study / "split.csv").parts
    assert "test" not in parts.values()
    assert set(spec.training_patients) == {entry.digest for entry in store.stored if entry.patient in parts}


def test_an_ensemble_is_not_judged_on_whom_a_member_saw(study, phantom, tmp_path, capsys):
    for part in ("test", "train"):
        assert tumorseg(["evaluate", str(study), "--part", part]) == 2
        assert "TCGA_CS_0003" in capsys.readouterr().err
    # The same pixels under another name are the same patient.
    renamed = tmp_path / "renamed"
    patient = sorted(path for path in phantom.iterdir() if path.is_dir())[0]
    for path in patient.iterdir():
        target = renamed / patient.name.replace("CS", "XX") / path.name.replace("CS", "XX")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    assert tumorseg(["evaluate", str(study), "--data", str(renamed), "--output", str(tmp_path / "no")]) == 2
    assert "TCGA_XX_0003" in capsys.readouterr().err and not (tmp_path / "no").exists()


def test_an_ensemble_is_judged_on_new_patients_and_segments(study, phantom, tmp_path):
    write_phantom(tmp_path / "p", patients=3, slices=3, seed=99)
    new = tmp_path / "new"
    for folder in (tmp_path / "p" / "kaggle_3m").iterdir():
        if folder.is_dir():
            for path in folder.iterdir():
                target = new / folder.name.replace("_00", "_90") / path.name.replace("_00", "_90")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    assert tumorseg(["evaluate", str(study), "--data", str(new), "--output", str(tmp_path / "e")]) == 0
    assert json.loads((tmp_path / "e" / "metrics.json").read_text())["dice_patient"]["n"] == 3
    shutil.rmtree(tmp_path / "e")
    assert tumorseg(["segment", str(new), "--model", str(study), "--output", str(tmp_path / "s")]) == 0
    image = next((tmp_path / "s").rglob("*_mask.tif"))
    assert set(np.unique(cv2.imread(str(image), cv2.IMREAD_UNCHANGED))) <= {0, 255}


def test_members_of_one_split_keep_its_test_part(study, store, tmp_path):
    run = study / "runs" / "fold-0-seed-0"
    ensemble_of([run, run], tmp_path / "twice", store)
    assert read_split(tmp_path / "twice" / "split.csv").parts == read_split(run / "split.csv").parts


def test_a_study_that_is_there_goes_on_only_when_asked_and_only_as_itself(study, phantom, capsys):
    before = digest_file(study / "crossval.json")
    for words, message in [
        (["--folds", "2", "--set", *QUICK], "--resume"),
        (["--folds", "3", "--resume", "--set", *QUICK], "differs in folds"),
        (["--folds", "2", "--resume", "--set", *QUICK, "loss=bce"], "differs in recipe"),
        (["--folds", "2", "--resume", "--seeds", "3", "--set", *QUICK], "seed 0 too"),
        (["--folds", "2", "--resume", "--only", "2", "--set", *QUICK], "choose one of 0, 1"),
        (["--folds", "2", "--resume", "--against", str(study), "--set", *QUICK], "itself"),
        (["--folds", "2", "--by", "institution"], "--folds is for"),
        (["--seeds", "1,x"], "no whole number"),
        (["--seeds", "1,1"], "twice"),
        (["--folds", "20", "--resume"], "cannot be split"),
    ]:
        crossval(phantom, study, *words, code=2)
        assert message in capsys.readouterr().err
    assert digest_file(study / "crossval.json") == before


def test_a_study_killed_in_its_second_fold_ends_as_if_it_had_not_been(study, phantom, tmp_path):
    stopped = tmp_path / "stopped"
    shutil.copytree(study / "runs" / "fold-0-seed-0", stopped / "runs" / "fold-0-seed-0")
    shutil.copyfile(study / "study.json", stopped / "study.json")
    words = ["crossval", "--data", str(phantom), "--output", str(stopped), "--device", "cpu", "--folds", "2"]
    command = [sys.executable, "-m", "tumorseg", *words, "--resume", "--set", *QUICK]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    second = stopped / "runs" / "fold-1-seed-0"
    while process.poll() is None and not (second / "checkpoints" / "last.ckpt").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.stderr is not None
    assert process.wait() == -signal.SIGKILL, process.stderr.read().decode()
    process.stderr.close()
    assert (second / "checkpoints" / "last.ckpt").is_file() and not (second / "model").exists()
    first = os.stat(stopped / "runs" / "fold-0-seed-0" / "model" / "model.json").st_mtime_ns
    crossval(phantom, stopped, "--folds", "2", "--resume", "--set", *QUICK)
    assert os.stat(stopped / "runs" / "fold-0-seed-0" / "model" / "model.json").st_mtime_ns == first
    assert (stopped / "patients.csv").read_bytes() == (study / "patients.csv").read_bytes()
    assert read_model(stopped).spec.files == read_model(study).spec.files


def test_institutions_are_held_out_one_job_at_a_time_and_gathered(phantom, store, tmp_path, capsys):
    output, quick = tmp_path / "study", ("--by", "institution", "--set", *SMALL, "epochs=1")
    crossval(phantom, output, "--only", "HT", *quick)
    assert sorted(path.name for path in (output / "runs").glob("*-seed-0")) == ["HT-seed-0"]
    assert not (output / "crossval.json").exists()
    crossval(phantom, output, "--resume", *quick)
    found = json.loads((output / "crossval.json").read_text(encoding="utf-8"))
    rows = scores(output)
    assert {row["institution"] for row in rows.values()} == set(found["folds"]) == {"DU", "HT"}
    assert all(row["fold"] == row["institution"] for row in rows.values()) and len(rows) == 6
    assert len(found["never_tested"]) == 2
    assert all(patient in (output / "report.html").read_text(encoding="utf-8") for patient in found["never_tested"])


def test_a_run_whose_model_was_trained_on_whom_it_tests_is_refused(study, phantom, store, tmp_path):
    tampered = tmp_path / "study"
    shutil.copytree(study, tampered)
    path = tampered / "runs" / "fold-1-seed-0" / "model" / "model.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    values["training_patients"] = [entry.digest for entry in store.stored]
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(DataError, match="whom fold-1 tests"):
        cross_validate(load_recipe("default", QUICK), phantom, tampered, folds=2, resume=True, device="cpu")


def test_a_folder_of_something_else_is_refused(phantom, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="not a cross-validation"):
        cross_validate(load_recipe("default", QUICK), phantom, tmp_path)
    with pytest.raises(DataError, match="not a finished"):
        read_rival(tmp_path, tmp_path / "other", "0")
