"""`compare`: several models on the same patients, trained where they are missing."""

import csv
import itertools
import json
import math
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from small_recipe import SMALL
from tumorseg.cli.app import run as tumorseg
from tumorseg.cli.arguments import expand
from tumorseg.errors import DataError, OutputError, RecipeError
from tumorseg.evaluation.judgement import json_ready, judge
from tumorseg.metrics.paired import holm, paired_difference
from tumorseg.recipe import Recipe, Stage
from tumorseg.recipe_file import load_recipe, recipe_names
from tumorseg.scan import Scan, Segmentation
from tumorseg.studies import training_runs
from tumorseg.studies.arm import Arm, Judged
from tumorseg.studies.budget import EpochCost, costs_of, fitted, probe_of, same_but_epochs, seconds_of, with_epochs
from tumorseg.studies.compare import OUTPUTS, UNAVAILABLE, compare_recipes
from tumorseg.studies.compare_page import render
from tumorseg.studies.comparison import Comparison, NotRun, as_json, csv_rows, letter_of, signed, summary_rows
from tumorseg.studies.cost import cost_of, milliseconds_per_slice
from tumorseg.studies.differences import recipe_differences
from tumorseg.studies.entries import Entry, read_entries
from tumorseg.studies.output import refuse_unusable
from tumorseg.studies.published import published_figures, published_of
from tumorseg.studies.scenes import cast_patients, film
from tumorseg.studies.score_tables import tables_of
from tumorseg.studies.sheet import draw_sheet
from tumorseg.studies.standings import standings

SIDE = 48
QUICK = (*SMALL, "epochs=1")


class Moved:
    """Answers with the reference moved down by some pixels, or with nothing for the patients that it misses."""

    def __init__(self, pixels, misses=()):
        self.pixels, self.misses = pixels, misses

    def segment_all(self, scans):
        for scan in scans:
            mask = np.roll(scan.reference, self.pixels, axis=1)
            mask = np.zeros_like(mask) if scan.patient in self.misses else mask
            yield Segmentation(scan, mask, mask.astype(np.float16))


def a_scan(index):
    rows, columns = np.mgrid[:SIDE, :SIDE]
    reference = np.zeros((4, SIDE, SIDE), np.uint8)
    for place in (1, 2):
        reference[place] = (rows - 24) ** 2 + (columns - 20) ** 2 < (3 + index + place) ** 2
    pixels = np.random.default_rng(index).integers(0, 99, (4, SIDE, SIDE, 3), np.uint8)
    return Scan(
        f"AB_{index:02}_1", f"AB_{index:02}", ("pre", "flair", "post"), lambda: pixels, lambda: reference, (3, 4, 5, 6)
    )


@pytest.fixture(scope="module")
def scans():
    return [a_scan(index) for index in range(9)]


@pytest.fixture(scope="module")
def segmenters():
    return {"exact": Moved(0), "unet-classic": Moved(2), "blind": Moved(1, misses=("AB_01", "AB_07"))}


def an_arm(label, segmenter, scans, **changes):
    found = judge(((answer, answer.scan.reference) for answer in segmenter.segment_all(scans)), {"part": "test"})
    judged = Judged(
        json_ready(found.metrics),
        tuple(score.patient for score in found.patients),
        np.array([score.dice for score in found.patients]),
        np.array([score.reference_voxels for score in found.patients]),
    )
    log = [{"epoch": epoch, "seconds": 60.0, "val_dice_patient": epoch / 10} for epoch in (1.0, 2.0, 3.0)]
    recipe = load_recipe("default").model_copy(update={"name": label, "epochs": 3, **changes})
    environment = {"parameters": 5_200_000, "training_seconds": 181.0, "device": "CPU, 2 threads"}
    return Arm(label, Path("runs") / label, recipe, environment, log, judged={"test": judged})


@pytest.fixture(scope="module")
def comparison(scans, segmenters):
    arms = [an_arm(label, segmenter, scans) for label, segmenter in segmenters.items()]
    found = standings(arms, "test")
    return Comparison(
        dataset="kaggle_3m",
        arms=tuple(arms),
        parts=(found,),
        costs={arm.label: cost_of(arm, 12.5) for arm in arms},
        not_run=(NotRun("resnet50-imagenet", "resnet50-imagenet", UNAVAILABLE),),
        scenes=film(cast_patients(found), scans, segmenters, found),
        minutes=3,
        timed_slices=36,
        timed_on="the processor",
        command="tumorseg compare",
    )


# What is compared


def test_an_entry_is_a_recipe_with_its_own_changes():
    plain, changed = read_entries("default,default:epochs=3;network.decoder_channels=[64,32,16,8,8]", ("epochs=7",))
    assert (plain.label, plain.recipe.epochs, plain.changed) == ("default", 7, True)
    assert changed.label == "default+epochs=3+network.decoder_channels=_64_32_16_8_8"
    assert changed.recipe.epochs == 3 and changed.recipe.network.decoder_channels == (64, 32, 16, 8, 8)
    assert not read_entries("default,demo")[1].changed


def test_a_recipe_file_is_called_after_its_stem(tmp_path):
    (tmp_path / "mine.yaml").write_text("base: default\nepochs: 4\n")
    (entry,) = read_entries(f"{tmp_path / 'mine.yaml'}:loss=bce")
    assert entry.label == "mine+loss=bce" and entry.recipe.epochs == 4 and entry.recipe.loss == "bce"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("default,default", "twice"),
        ("default,,demo", "without a recipe"),
        (":loss=bce", "without a recipe"),
        ("nosuch,default", "no recipe"),
        ("default:nosuch=1", "unknown key"),
        ("default:loss", "key=value"),
    ],
)
def test_an_entry_that_is_none_is_refused(text, message):
    with pytest.raises(RecipeError, match=message):
        read_entries(text)


# Equal training time


STAGED = Recipe(name="staged", stages=(Stage(epochs=5, freeze=("encoder",)), Stage(epochs=15, lr=1e-5)))


@given(st.integers(2, 200), st.lists(st.integers(1, 30), min_size=1, max_size=4))
def test_stages_keep_their_proportions_and_have_an_epoch_each(total, epochs):
    recipe = Recipe(name="r", stages=tuple(Stage(epochs=count) for count in epochs))
    scaled = with_epochs(recipe, max(total, len(epochs)))
    counts = [stage.epochs for stage in scaled.schedule]
    assert min(counts) >= 1
    for count, before in zip(counts, epochs, strict=True):
        exact = before / sum(epochs) * total
        assert abs(count - exact) < 1 or count == 1 or min(counts) == 1
    if total >= sum(epochs):
        assert sum(counts) == total


def test_scaled_stages_keep_what_they_freeze_and_their_rates():
    scaled = with_epochs(STAGED, 8)
    assert [stage.epochs for stage in scaled.stages] == [2, 6]
    assert scaled.stages[0].freeze == ("encoder",) and scaled.stages[1].lr == 1e-5
    assert same_but_epochs(scaled, STAGED) and not same_but_epochs(scaled, STAGED.model_copy(update={"loss": "bce"}))


@given(st.floats(0.5, 100), st.floats(0, 50), st.floats(0.5, 100), st.integers(1, 5), st.floats(60, 4000))
def test_no_other_number_of_epochs_comes_nearer_to_the_minutes(training, validation, frozen, every, seconds):
    recipe = STAGED.model_copy(update={"validate_every": every})
    costs = (EpochCost(frozen, validation), EpochCost(training, validation))
    chosen = fitted(recipe, costs, seconds)
    off = abs(seconds_of(chosen, costs) - seconds)
    for total in (chosen.total_epochs - 1, chosen.total_epochs + 1):
        other = with_epochs(recipe, total) if total >= 2 else chosen
        assert off <= abs(seconds_of(other, costs) - seconds) + 1e-6


def test_an_epoch_costs_what_its_last_one_took():
    # Two stages of two epochs, 10 steps of 8 slices each; the first epoch of all is slow.
    log = [
        {"step": 10.0, "images_per_second": 1.0, "seconds": 100.0},
        {"step": 20.0, "images_per_second": 8.0, "seconds": 13.0},
        {"step": 30.0, "images_per_second": 2.0, "seconds": 45.0},
        {"step": 40.0, "images_per_second": 4.0, "seconds": 24.0},
    ]
    assert costs_of(log, 2, batch_size=8) == (EpochCost(10.0, 3.0), EpochCost(20.0, 4.0))
    assert costs_of(log[:1], 1, batch_size=8) == (EpochCost(80.0, 20.0),)


def test_an_ensembles_members_share_the_minutes():
    costs = (EpochCost(10.0, 0.0),)
    one = Recipe(name="one", epochs=50)
    assert fitted(one, costs, 600).epochs == 60
    assert fitted(one.model_copy(update={"ensemble": 3}), costs, 600).epochs == 20
    assert probe_of(one.model_copy(update={"ensemble": 3}), 1).ensemble == 1


def test_a_probe_differs_in_nothing_that_takes_time_in_an_epoch():
    recipe = STAGED.model_copy(update={"validate_every": 3, "early_stopping": 2})
    probe = probe_of(recipe, 2)
    assert [stage.epochs for stage in probe.schedule] == [2, 2] and probe.validate_every == 1
    same = ("network", "image_size", "batch_size", "augmentation", "sampling", "loss", "split", "filters")
    assert all(getattr(probe, key) == getattr(recipe, key) for key in same)


# Who is ahead


def test_the_best_mean_comes_first_and_all_others_are_held_against_it(comparison):
    found = comparison.parts[0]
    assert found.best.arm.label == "exact" and found.best.mean == 1 and found.best.behind is None
    assert math.isnan(found.best.p_holm)
    for row in found.rows[1:]:
        assert row.behind.mean < 0 and row.behind.interval.high <= 0
        assert row.behind.mean == pytest.approx(row.mean - 1)
        assert row.p_holm >= row.behind.p


def test_the_correction_counts_every_pair_since_the_best_was_seen_on_the_same_patients(comparison):
    found = comparison.parts[0]
    scores = [row.judged.dice for row in found.rows]
    pairs = list(itertools.combinations(range(len(scores)), 2))
    assert len(pairs) > len(scores) - 1
    corrected = holm([paired_difference(scores[one], scores[other]).p for one, other in pairs])
    against_best = [p for (one, _), p in zip(pairs, corrected, strict=True) if one == 0]
    assert [row.p_holm for row in found.rows[1:]] == pytest.approx(against_best)


def test_models_judged_on_other_patients_are_not_compared(scans, segmenters):
    arms = [an_arm("one", segmenters["exact"], scans), an_arm("other", segmenters["exact"], scans[1:])]
    with pytest.raises(DataError, match="not judged on the same test patients"):
        standings(arms, "test")


def test_published_figures_stand_in_the_row_of_their_own_metric(comparison):
    row = next(row for row in comparison.parts[0].rows if row.arm.label == "unet-classic")
    assert [(figure.metric, figure.value) for figure in row.published] == [("dice_smooth100_b32", 0.9225)]
    assert "published 0.9225, split by slice" in render(comparison)


def test_published_figures_are_of_known_scores_and_between_0_and_1(comparison):
    metrics = comparison.arms[0].judged["test"].metrics
    for figures in published_figures().values():
        for figure in figures:
            assert figure.metric in metrics and 0 < figure.value < 1
    assert published_of("resnet50-scratch", "val")[0].value == 0.387
    assert published_of("nobody", "test") == ()


def test_published_figures_are_of_recipes_that_ship():
    assert set(published_figures()) <= set(recipe_names())


def test_differences_name_what_the_recipes_do_not_share():
    one, other = load_recipe("default"), load_recipe("default", ["loss=bce", "network.dropout=0.3"])
    assert recipe_differences([one, other]) == [("network.dropout", ["0.1", "0.3"]), ("loss", ["dice+bce", "bce"])]


# What it costs


def test_models_are_timed_in_turns_on_the_same_slices(scans):
    order = []

    class Noted(Moved):
        def __init__(self, name):
            super().__init__(0)
            self.name = name

        def segment_all(self, scans):
            order.append((self.name, len(scans)))
            return super().segment_all(scans)

    # Two turns of two models: 4 and 8 s, then 2 and 6 s, over 8 slices.
    ticks = iter((0, 4, 4, 12, 12, 14, 14, 20))
    found = milliseconds_per_slice({"a": Noted("a"), "b": Noted("b")}, scans[:2], rounds=2, clock=lambda: next(ticks))
    assert found == {"a": 1000 * 3 / 8, "b": 1000 * 7 / 8}
    assert order == [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 2), ("b", 2)]


# Which slices are shown


def test_patients_are_shown_by_size_and_by_disagreement_and_none_twice(comparison):
    shown = [(scene.patient, scene.why) for scene in comparison.scenes]
    assert len({patient for patient, _ in shown}) == len(shown) == 6
    assert [why for _, why in shown[:3]] == ["small tumour", "tumour of middle size", "large tumour"]
    assert {"AB_01", "AB_07"} <= {patient for patient, why in shown if why == "models disagree"}
    assert all(scene.reference.any() for scene in comparison.scenes)


def test_the_order_of_the_models_does_not_change_which_patients_are_shown(scans, segmenters):
    arms = [an_arm(label, segmenter, scans) for label, segmenter in segmenters.items()]
    assert cast_patients(standings(arms, "test")) == cast_patients(standings(arms[::-1], "test"))


def test_every_model_answers_for_the_same_slice(comparison, scans):
    for scene in comparison.scenes:
        scan = next(scan for scan in scans if scan.patient == scene.patient)
        index = scan.slice_numbers.index(scene.slice_number)
        assert np.array_equal(scene.reference, scan.reference[index] == 1)
        assert np.array_equal(scene.predicted["exact"], scene.reference)
        assert scene.dice["exact"] == 1


# What is written


def test_the_page_opens_offline_and_shows_every_model_everywhere(comparison):
    page = render(comparison)
    assert "<script" not in page and not re.search(r"""(?:src|href)=["']?https?:""", page)
    for arm in comparison.arms:
        # four tables, the legend of the curves, six scenes, the recipes
        assert page.count(f"</span>{arm.label}") >= 4 + 1 + 6 + 2
    assert f"not run: {UNAVAILABLE}" in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    assert "perfect masks" in page and "nothing marked" in page


def test_of_several_classes_each_has_its_columns_and_who_tells_none_apart_shows_none(scans):
    def arm(label, several):
        pairs = []
        for index, scan in enumerate(scans):
            reference = scan.reference * np.uint8(1 + index % 2)
            mask = reference if several else np.roll(scan.reference, 2, axis=1)
            pairs.append((Segmentation(scan, mask, mask.astype(np.float16)), reference))
        found = judge(pairs, {"part": "test"}, classes=("glioma", "meningioma"), segmented=several)
        dice = np.array([score.dice for score in found.patients])
        judged = Judged(json_ready(found.metrics), tuple(score.patient for score in found.patients), dice, dice)
        return Arm(label, Path("runs") / label, load_recipe("default"), {}, [], judged={"test": judged})

    by_class = tables_of(standings([arm("types", True), arm("tumour", False)], "test"))[1]
    assert by_class.heads[::2] == ("glioma, as any tumour", "meningioma, as any tumour")
    assert "glioma 5, meningioma 4" in by_class.said
    types, tumour = by_class.rows
    assert [cell.text for cell in types.cells] == ["1.000"] * 4
    assert [cell.text for cell in tumour.cells[1::2]] == ["–", "–"]
    assert all(0.3 < float(cell.text) < 1 and " to " in cell.beside for cell in tumour.cells[::2])


def test_of_one_class_there_is_no_table_by_class(comparison):
    assert not any("class by class" in table.title for table in tables_of(comparison.parts[0]))


def test_the_sheet_has_a_column_for_every_model_and_a_row_for_every_slice(comparison):
    sheet = draw_sheet(comparison)
    more = Comparison(
        comparison.dataset, comparison.arms, comparison.parts, comparison.costs, scenes=comparison.scenes[:3]
    )
    assert sheet.dtype == np.uint8 and sheet.shape[1] == 2 * 28 + 5 * 224 + 4 * 4
    assert sheet.shape[0] - draw_sheet(more).shape[0] == 3 * (224 + 32)


def test_programs_read_the_same_numbers_as_people(comparison):
    found = json.loads(json.dumps(as_json(comparison), allow_nan=False))
    rows = {row["model"]: row for row in csv_rows(comparison)}
    shown = {row[0]: row for row in summary_rows(comparison, comparison.parts[0])[1:]}
    for label, model in found["parts"]["test"]["models"].items():
        mean = model["metrics"]["dice_patient"]["mean"]
        assert rows[label]["dice_patient_mean"] == mean
        assert shown[label][1].startswith(f"{math.floor(mean * 1000 + 1e-6) / 1000:.3f}")
        assert rows[label]["milliseconds_per_slice"] == 12.5
    assert found["not_run"][0]["reason"] == UNAVAILABLE
    assert (
        rows["exact"]["behind_best_p_holm"] == "" and found["parts"]["test"]["models"]["exact"]["behind_best"] is None
    )


def test_letters_go_on_after_z():
    assert [letter_of(index) for index in (0, 25, 26, 27, 52)] == ["A", "Z", "AA", "AB", "BA"]
    assert signed(-0.1234) == "−0.123" and signed(math.nan) == "undefined"


def test_an_output_that_is_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(OutputError, match=r"holds thesis\.tex"):
        refuse_unusable(tmp_path, OUTPUTS, study="a comparison")
    with pytest.raises(OutputError, match="not a folder"):
        refuse_unusable(tmp_path / "thesis.tex", OUTPUTS, study="a comparison")
    refuse_unusable(tmp_path / "new" / "deeper", OUTPUTS, study="a comparison")


# The whole way, on the phantom


@pytest.fixture(scope="module")
def study(phantom, tmp_path_factory):
    output = tmp_path_factory.mktemp("study") / "out"
    entries = read_entries("default,default:loss=bce", QUICK)
    return output, compare_recipes(entries, phantom, output, parts=("test", "val"), device="cpu")


def test_recipes_are_trained_judged_and_written_down(study):
    output, found = study
    assert {path.name for path in output.iterdir()} == {*OUTPUTS, "runs"}
    assert [arm.label for arm in found.arms] == ["default", "default+loss=bce"]
    written = json.loads((output / "comparison.json").read_text())
    assert list(written["parts"]) == ["test", "val"]
    assert len(written["parts"]["test"]["models"]) == 2
    with open(output / "comparison.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 4
    assert cv2.imread(str(output / "comparison.png")) is not None
    assert all(cost.milliseconds_per_slice > 0 and cost.epochs == 1 for cost in found.costs.values())


def test_the_same_command_trains_and_judges_nothing_again(study, phantom, monkeypatch):
    output, before = study
    readings = output / "runs" / "default" / "evaluation" / "readings.json"
    counted = readings.read_text()
    monkeypatch.setattr("tumorseg.training.fit.train", lambda *args, **kwargs: pytest.fail("trained again"))
    monkeypatch.setattr("tumorseg.studies.evaluations.evaluate_run", lambda *args, **kw: pytest.fail("judged again"))
    again = compare_recipes(read_entries("default,default:loss=bce", QUICK), phantom, output, parts=("test",))
    assert readings.read_text() == counted
    assert again.parts[0].best.mean == before.parts[0].best.mean


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        (("seed=5",), {}, "another recipe"),
        ((), {"minutes": 3.0}, "other --minutes"),
        ((), {"fold": 0, "folds": 3}, "another split"),
    ],
)
def test_a_run_of_another_recipe_split_or_budget_is_refused(study, phantom, changes, arguments, message):
    output, _ = study
    with pytest.raises(OutputError, match=message):
        compare_recipes(read_entries("default,default:loss=bce", (*QUICK, *changes)), phantom, output, **arguments)


def test_the_first_recipes_split_holds_for_all():
    entries = read_entries("default:split.seed=4;split.test=0.3,default:split.seed=9")
    first, second = training_runs.with_one_split(entries)
    assert second.recipe.split == first.recipe.split and first.recipe.split.seed == 4


def test_runs_are_compared_by_the_command(study, tmp_path, capsys):
    output, _ = study
    runs = [str(output / "runs" / name) for name in ("default", "default+loss=bce")]
    assert tumorseg(["compare", *runs, "--output", str(tmp_path / "out"), "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    assert "default+loss=bce" in shown and "report:" in shown
    assert (tmp_path / "out" / "report.html").is_file()


def test_an_evaluation_is_made_again_when_the_model_is_another(study, tmp_path, phantom):
    from tumorseg.datasets.store import prepare
    from tumorseg.studies.arm import open_arm
    from tumorseg.studies.evaluations import evaluation_of

    output, _ = study
    run = shutil.copytree(output / "runs" / "default", tmp_path / "default")
    spec = json.loads((run / "model" / "model.json").read_text())
    spec["threshold"] = 0.9 if spec["threshold"] != 0.9 else 0.8
    (run / "model" / "model.json").write_text(json.dumps(spec))
    folder = evaluation_of(open_arm("default", run), "val", phantom, prepare(phantom))
    assert json.loads((folder / "metrics.json").read_text())["protocol"]["model"]["threshold"] == spec["threshold"]


def test_minutes_choose_the_epochs_and_are_kept_in_the_runs_recipe(phantom, tmp_path, monkeypatch):
    def costs(entry, terms, epochs, progress):
        return (EpochCost(29.0, 1.0),)

    trained = []
    monkeypatch.setattr(training_runs, "_probe", costs)
    monkeypatch.setattr("tumorseg.training.fit.train", lambda recipe, data, run, **rest: trained.append(recipe) or run)
    entry = Entry("one", load_recipe("default", QUICK), changed=True)
    training_runs.train_missing(entry, training_runs.Terms(phantom, tmp_path, minutes=2.0))
    assert trained[0].epochs == 4
    assert json.loads((tmp_path / "budgets.json").read_text())["one"]["epochs"] == 4


@pytest.mark.parametrize(
    ("learned", "resumed"), [("checkpoints/last.ckpt", True), ("members/0/recipe.yaml", True), ("log.csv", False)]
)
def test_a_run_with_a_checkpoint_goes_on_and_one_without_begins_again(
    study, phantom, tmp_path, monkeypatch, learned, resumed
):
    run = shutil.copytree(study[0] / "runs" / "default", tmp_path / "default")
    for stale in ("model", "checkpoints"):
        shutil.rmtree(run / stale)
    (run / learned).parent.mkdir(parents=True, exist_ok=True)
    (run / learned).write_text("")
    calls = []
    monkeypatch.setattr(
        "tumorseg.training.fit.train",
        lambda recipe, data, output, *, resume, **rest: calls.append((output.exists(), resume)) or output,
    )
    (entry,) = read_entries("default", QUICK)
    training_runs.train_missing(entry, training_runs.Terms(phantom, tmp_path))
    assert calls == [(resumed, resumed)]


def test_a_folder_that_is_no_run_is_not_overwritten(phantom, tmp_path):
    (tmp_path / "default").mkdir()
    (tmp_path / "default" / "thesis.tex").write_text("years")
    with pytest.raises(OutputError, match="is not a run"):
        training_runs.train_missing(read_entries("default", QUICK)[0], training_runs.Terms(phantom, tmp_path))
    assert (tmp_path / "default" / "thesis.tex").exists()


def test_an_interrupted_study_says_that_the_same_command_goes_on(phantom, tmp_path, monkeypatch):
    from tumorseg.training.checkpoints import Interrupted

    def stop(*args, **kwargs):
        raise Interrupted("stopped at step 3", next_step="go on with --resume")

    monkeypatch.setattr("tumorseg.training.fit.train", stop)
    with pytest.raises(Interrupted, match="run the same command again") as caught:
        training_runs.train_missing(read_entries("default", QUICK)[0], training_runs.Terms(phantom, tmp_path))
    assert caught.value.exit_code == 130


def test_a_probe_measures_an_epoch_and_leaves_nothing(phantom, tmp_path):
    entry = Entry("one", load_recipe("default", QUICK), changed=True)
    (cost,) = training_runs._probe(entry, training_runs.Terms(phantom, tmp_path, device="cpu"), 1, training_runs.silent)
    assert cost.training > 0 and cost.validation >= 0
    assert not list(tmp_path.iterdir())


def test_a_recipe_without_its_weights_is_listed_and_never_trained(phantom, tmp_path, monkeypatch, study):
    output, _ = study
    shutil.copytree(output, tmp_path / "out")
    wanting = "default:network.weights=imagenet"
    monkeypatch.setattr("tumorseg.studies.compare.lacks_weights", lambda recipe: recipe.network.weights == "imagenet")
    found = compare_recipes(read_entries(f"default,{wanting}", QUICK), phantom, tmp_path / "out", device="cpu")
    assert [missing.reason for missing in found.not_run] == [UNAVAILABLE]
    assert not (tmp_path / "out" / "runs" / found.not_run[0].label).exists()
    assert UNAVAILABLE in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "nothing to compare"),
        ("{run}", "one run"),
        ("{run} {run}", "two runs are called"),
        ("{run} {data}", "is not a run folder"),
        ("{run} --recipes default,demo", "either runs or --recipes"),
        ("{run} {other} --minutes 3", "trained already"),
        ("--recipes default,demo", "--data"),
        ("--recipes default --data {data}", "one recipe"),
        ("--recipes default,nosuch --data {data}", "no recipe is called"),
        ("--recipes default,demo --data {data} --minutes 0", "--minutes 0"),
        ("--recipes default,demo --data {data} --parts test,nosuch", "no part 'nosuch'"),
        ("--recipes default,demo --data {data}/nosuch", "nosuch"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(study, phantom, tmp_path, capsys, line, message):
    runs = study[0] / "runs"
    line = line.format(run=runs / "default", other=runs / "default+loss=bce", data=phantom)
    output = tmp_path / "new"
    assert tumorseg(expand(["compare", *line.split(), "--output", str(output)])) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("tumorseg: error:") and message in error
    assert not output.exists()


def test_runs_with_other_test_patients_or_data_or_without_an_end_are_refused(study, tmp_path, capsys):
    runs = study[0] / "runs"
    other = shutil.copytree(runs / "default", tmp_path / "other")
    split = (other / "split.csv").read_text()
    (other / "split.csv").write_text(split.replace(",test", ",val"))

    def refused():
        command = ["compare", str(runs / "default"), str(other), "--output", str(tmp_path / "new")]
        assert tumorseg(command) == 2
        return capsys.readouterr().err.strip().splitlines()[-1]

    assert "different test patients" in refused()
    (other / "split.csv").write_text(split)
    environment = json.loads((other / "environment.json").read_text())
    (other / "environment.json").write_text(json.dumps({**environment, "store_digest": "0"}))
    assert "different data" in refused()
    shutil.rmtree(other / "model")
    assert "has not ended" in refused()
    assert not (tmp_path / "new").exists()
