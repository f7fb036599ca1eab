"""Training on every patient after a run was judged: who trains, what is taken over, and what the card says."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch

from small_recipe import SMALL
from tumorseg.cli.app import main
from tumorseg.datasets.split import read_split
from tumorseg.datasets.store import prepare
from tumorseg.errors import RecipeError, TrainingError
from tumorseg.evaluation.evaluate import evaluate_run
from tumorseg.inference.model import read_model
from tumorseg.recipe_file import load_recipe
from tumorseg.training.checkpoints import read_checkpoint
from tumorseg.training.cited import evaluations_of
from tumorseg.training.everyone import LIKE, recipe_of
from tumorseg.training.fit import train
from tumorseg.training.rehearsals import rehearsals_of
from tumorseg.training.release import export_run


@pytest.fixture(scope="module")
def judged(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("judged") / "judged"
    return train(load_recipe("default", [*SMALL, "epochs=2"]), phantom, run, device="cpu")


@pytest.fixture(scope="module")
def everyone(phantom: Path, judged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("everyone") / "everyone"
    return train(recipe_of(judged), phantom, run, everyone=judged, device="cpu")


def test_every_patient_trains_and_nobody_chooses(everyone: Path, judged: Path) -> None:
    with open(everyone / "split.csv", newline="") as file:
        assert {row["part"] for row in csv.DictReader(file)} == {"train"}
    ours, theirs = read_model(everyone).spec, read_model(judged).spec
    assert (ours.threshold, ours.temperature, ours.postprocessing) == (
        theirs.threshold,
        theirs.temperature,
        theirs.postprocessing,
    )
    assert len(ours.training_patients) > len(theirs.training_patients)
    assert set(theirs.training_patients) < set(ours.training_patients)
    with open(everyone / "log.csv", newline="") as file:
        assert [row["val_dice_patient"] for row in csv.DictReader(file)] == ["", ""]


def test_the_last_weights_are_what_ships(everyone: Path) -> None:
    from safetensors.torch import load_file

    assert not (everyone / "checkpoints" / "best.ckpt").exists()
    last = read_checkpoint(everyone / "checkpoints" / "last.ckpt")["state_dict"]
    shipped = load_file(everyone / "model" / "weights.safetensors")
    assert shipped and all(torch.equal(tensor, last[f"network.{name}"]) for name, tensor in shipped.items())


def test_a_run_whose_judged_one_is_gone_says_so_before_it_trains(everyone: Path, phantom: Path, tmp_path: Path) -> None:
    run = tmp_path / "cut"
    shutil.copytree(everyone, run, ignore=shutil.ignore_patterns("model", "tensorboard"))
    environment = json.loads((run / "environment.json").read_text())
    (run / "environment.json").write_text(json.dumps({**environment, LIKE: str(tmp_path / "gone")}))
    with pytest.raises(TrainingError, match="gone"):
        train(load_recipe(str(run / "recipe.yaml")), phantom, run, resume=True, device="cpu")


def test_the_card_cites_the_judged_run_and_says_that_these_are_other_weights(
    everyone: Path, judged: Path, phantom: Path, tmp_path: Path
) -> None:
    evaluate_run(judged, data=phantom)
    export_run(everyone, "onnx", tmp_path / "pack", data=phantom, weights="float32")
    card = (tmp_path / "pack" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "of the run judged, not of these weights" in card
    assert "of_these_weights: false" in card
    assert "| kaggle_3m, test, run judged |" in card


@pytest.mark.parametrize("more", [["--set", "epochs=3"], ["--recipe", "demo"], ["--fold", "0", "--folds", "3"]])
def test_settings_of_its_own_are_refused(
    more: list[str], judged: Path, phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--data", str(phantom), "--everyone", str(judged), "--output", str(tmp_path / "x"), *more]
    with pytest.raises(SystemExit, match="2"):
        main(words)
    said = capsys.readouterr().err.strip()
    assert "--everyone" in said and len(said.splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_what_was_never_trained_cannot_be_followed(phantom: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="neither a run nor a cross-validation"):
        recipe_of(phantom)


def test_patients_who_are_kept_back_judge_these_weights_and_their_readings_go_on(
    judged: Path, phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate_run(judged, data=phantom)
    before = json.loads((judged / "evaluation" / "readings.json").read_text())
    kept, final = tmp_path / "kept", tmp_path / "final"
    with pytest.raises(SystemExit, match="0"):
        main(["train", "--data", str(phantom), "--everyone", str(judged), "--keep-test", "--output", str(kept)])
    assert f"next: tumorseg evaluate {kept}" in capsys.readouterr().out

    theirs, ours = read_split(judged / "split.csv"), read_split(kept / "split.csv")
    assert ours.patients("test") == theirs.patients("test")
    assert set(ours.patients("train")) == {*theirs.patients("train"), *theirs.patients("val")}
    assert not ours.patients("val")

    metrics = json.loads((evaluate_run(kept) / "metrics.json").read_text())
    assert metrics["protocol"]["test_readings"] == len(before) + 1
    assert not metrics["protocol"]["trained_on"]

    # What then trains on everyone as this one did cites both, and rehearses on whom the first one chose by.
    train(recipe_of(kept), phantom, final, everyone=kept, device="cpu")
    assert [each.metrics["protocol"]["run"] for each in evaluations_of(final)] == ["kept", "judged"]
    assert [trial.model.folder for trial in rehearsals_of(final, prepare(phantom).scans)] == [judged / "model"]


def test_there_must_be_test_patients_to_keep_back(judged: Path, phantom: Path, tmp_path: Path) -> None:
    recipe = recipe_of(judged)
    with pytest.raises(RecipeError, match="--everyone"):
        train(recipe, phantom, tmp_path / "x", keep_test=True, device="cpu")
    study = tmp_path / "study"
    shutil.copytree(judged, study, ignore=shutil.ignore_patterns("split.csv"))
    with pytest.raises(TrainingError, match="cross-validation"):
        train(recipe, phantom, tmp_path / "x", everyone=study, keep_test=True, device="cpu")
    shutil.copyfile(judged / "split.csv", study / "split.csv")
    rows = (study / "split.csv").read_text().replace("test", "train") + "stranger,test\n"
    (study / "split.csv").write_text(rows)
    with pytest.raises(TrainingError, match="stranger, who is not in the data"):
        train(recipe, phantom, tmp_path / "x", everyone=study, keep_test=True, device="cpu")
    assert not (tmp_path / "x").exists()
