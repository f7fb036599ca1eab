"""`evaluate RUN`, from a run folder to its scores and report."""

import json
import shutil

import numpy as np
import pytest

from tumorseg.cli.app import run as tumorseg
from tumorseg.datasets.split import Split, split_patients, write_split
from tumorseg.datasets.store import prepare
from tumorseg.errors import DataError, ModelError, OutputError
from tumorseg.evaluation.evaluate import OUTPUTS, choose_scans, evaluate_run, refuse_unusable
from tumorseg.evaluation.judged_scans import judge_scans, lone_slices
from tumorseg.evaluation.readings import count_reading
from tumorseg.files import digest_file
from tumorseg.inference.model import ModelSpec, write_spec
from tumorseg.recipe_file import dump_recipe, load_recipe
from tumorseg.scan import Scan, Segmentation
from tumorseg.training.augmented import augmenter

CHANNELS = ("pre", "flair", "post")


class Threshold:
    """Calls tumour what is brighter than the mean of the scan that it is given, which a lone slice changes."""

    def __init__(self):
        self.seen = []

    def segment_all(self, scans):
        for scan in scans:
            self.seen.append(scan.pixels.shape[0])
            mask = (scan.pixels[..., 1] > scan.pixels[..., 1].mean()).astype(np.uint8)
            yield Segmentation(scan, mask, mask.astype(np.float16))


def a_scan(patient="CS_1", *, slices=3, reference=True):
    pixels = np.random.default_rng(slices).integers(0, 255, (slices, 6, 5, 3), np.uint8)
    pixels[1:, ..., 1] //= 4
    mask = (pixels[..., 1] > 120).astype(np.uint8)
    return Scan(
        id=f"{patient}_19990101",
        patient=patient,
        channels=CHANNELS,
        read_pixels=lambda: pixels,
        read_reference=(lambda: mask) if reference else None,
        slice_numbers=tuple(range(5, 5 + slices)),
        institution=patient[:2],
    )


def write_model(folder):
    """A network of one convolution that finds what is bright in FLAIR."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = np.zeros((1, 3, 1, 1), np.float32)
    weight[0, 1] = 20
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weight", "bias"], ["logits"])],
        "bright",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 1, "h", "w"])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(np.float32([-14]), "bias")],
    )
    folder.mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    spec = ModelSpec(
        name="bright",
        recipe="default",
        channels=CHANNELS,
        classes=("tumour",),
        normalization="volume-percentile",
        image_size=256,
        files={"model.onnx": digest_file(folder / "model.onnx")},
    )
    write_spec(folder, spec)


@pytest.fixture(scope="module")
def trained(phantom, tmp_path_factory):
    """A run folder as train leaves it; read only."""
    run = tmp_path_factory.mktemp("runs") / "first"
    write_model(run / "model")
    recipe = load_recipe("default", ["split.test=0.25", "split.validation=0.25"])
    write_split(run / "split.csv", split_patients(prepare(phantom).candidates, recipe.split))
    (run / "recipe.yaml").write_text(dump_recipe(recipe))
    environment = {"data": str(phantom), "dataset": "kaggle_3m", "command": ["tumorseg", "train"], "parameters": 4}
    (run / "environment.json").write_text(json.dumps(environment))
    (run / "log.csv").write_text("epoch,train_loss,val_loss,val_dice_patient\n0,1.0,,\n1,0.5,0.6,0.7\n")
    return run


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "first")


@pytest.fixture(scope="module")
def evaluated(trained, tmp_path_factory):
    """The same after one evaluation of its test part; read only."""
    run = shutil.copytree(trained, tmp_path_factory.mktemp("evaluated") / "first")
    evaluate_run(run)
    return run


def test_an_evaluation_leaves_scores_tables_and_a_report(evaluated):
    folder = evaluated / "evaluation" / "kaggle_3m-test"
    assert {path.name for path in folder.iterdir()} == OUTPUTS
    metrics = json.loads((folder / "metrics.json").read_text())
    assert 0 < metrics["dice_patient"]["mean"] < 1
    assert metrics["dice_patient"]["n"] == 2 == metrics["patients"] == metrics["protocol"]["patients"]
    assert 0 < metrics["single_slice"]["dice_patient"]["mean"] < 1
    assert metrics["protocol"]["test_readings"] == 1
    assert metrics["protocol"]["model"]["threshold"] == 0.5
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".")]


def test_only_patients_of_the_part_are_judged(evaluated):
    from tumorseg.datasets.split import read_split

    lines = (evaluated / "evaluation" / "kaggle_3m-test" / "patients.csv").read_text().splitlines()[1:]
    assert tuple(line.split(",")[0] for line in lines) == read_split(evaluated / "split.csv").patients("test")


def test_every_reading_of_the_test_part_is_counted_and_an_evaluation_may_be_repeated(evaluated, tmp_path):
    run = shutil.copytree(evaluated, tmp_path / "first")
    folder = evaluate_run(run)
    assert json.loads((folder / "metrics.json").read_text())["protocol"]["test_readings"] == 2
    assert len(json.loads((run / "evaluation" / "readings.json").read_text())) == 2


def test_readings_of_another_data_set_are_counted_apart(tmp_path):
    for dataset, expected in (("a", 1), ("a", 2), ("b", 1)):
        assert count_reading(tmp_path, dataset=dataset, store_digest="", patients=3) == expected
    (tmp_path / "evaluation" / "readings.json").write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        count_reading(tmp_path, dataset="a", store_digest="", patients=3)


def test_validation_patients_are_judged_without_a_reading(run):
    folder = evaluate_run(run, part="val")
    assert folder.name == "kaggle_3m-val"
    assert not (run / "evaluation" / "readings.json").exists()
    assert "test_readings" not in json.loads((folder / "metrics.json").read_text())["protocol"]


def test_the_command_shows_the_headline_and_where_the_report_is(run, tmp_path, capsys):
    assert tumorseg(["evaluate", str(run), "--part", "val", "--output", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "dice_patient" in shown and str(tmp_path / "out" / "report.html") in shown


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: (run / "environment.json").unlink(), "is not a run folder"),
        (lambda run: (run / "environment.json").write_text("[]"), "damaged"),
        (lambda run: (run / "environment.json").write_text('{"data": "/nowhere"}'), "--data"),
        (lambda run: (run / "split.csv").unlink(), "split"),
        (lambda run: (run / "model" / "model.onnx").write_bytes(b""), "model.onnx"),
        (lambda run: (run / "evaluation").write_text(""), "is not a folder"),
    ],
)
def test_what_is_wrong_with_a_run_is_said_in_one_line_and_nothing_is_written(run, capsys, spoil, message):
    spoil(run)
    before = sorted(run.rglob("*"))
    assert tumorseg(["evaluate", str(run)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("tumorseg: error:") and message in error
    assert sorted(run.rglob("*")) == before


def test_an_output_that_is_no_evaluation_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(OutputError, match="not an earlier evaluation"):
        refuse_unusable(tmp_path)
    with pytest.raises(OutputError, match="not a folder"):
        refuse_unusable(tmp_path / "thesis.tex" / "deeper")
    refuse_unusable(tmp_path / "new" / "deeper")


def test_a_foreign_data_set_is_judged_whole_and_only_as_test(phantom):
    store = prepare(phantom)
    foreign = choose_scans(store, Split({"DU_1": "train"}), "test")
    assert foreign.population == "external" and foreign.patients == len(store.stored)
    with pytest.raises(DataError, match="no patient"):
        choose_scans(store, Split({"DU_1": "train"}), "val")


def test_a_part_takes_its_own_patients_and_names_those_who_are_missing(phantom):
    store = prepare(phantom)
    first, second = (entry.patient for entry in store.stored[:2])
    chosen = choose_scans(store, Split({first: "train", second: "test", "CS_3": "test"}), "test")
    assert [scan.patient for scan in chosen.scans] == [second]
    assert chosen.missing == ("CS_3",)
    with pytest.raises(DataError, match="nothing of the part"):
        choose_scans(store, Split({first: "train", "CS_3": "test"}), "test")


def test_lone_slices_are_scans_of_one_slice_that_make_up_the_scan():
    scan = a_scan()
    alone = list(lone_slices(scan))
    assert [piece.slice_numbers for piece in alone] == [(5,), (6,), (7,)]
    assert len({piece.id for piece in alone}) == 3 and {piece.patient for piece in alone} == {scan.patient}
    assert np.array_equal(np.concatenate([piece.pixels for piece in alone]), scan.pixels)
    assert np.array_equal(np.concatenate([piece.reference for piece in alone]), scan.reference)


def test_volumes_and_lone_slices_are_segmented_apart():
    threshold, scans = Threshold(), [a_scan("CS_1"), a_scan("DU_2", slices=2)]
    judgement, _ = judge_scans(threshold, scans)
    assert threshold.seen == [3, 2, 1, 1, 1, 1, 1]
    assert judgement.patients[0].dice != judgement.patients[0].dice_lone


def test_each_patient_is_pictured_where_the_tumour_is_largest():
    scan = a_scan()
    judgement, (example,) = judge_scans(Threshold(), [scan])
    index = int(scan.reference.sum((1, 2)).argmax())
    assert (example.patient, example.institution, example.slice_number) == ("CS_1", "CS", 5 + index)
    assert np.array_equal(example.image, scan.pixels[index]) and example.image.dtype == np.uint8
    assert np.array_equal(example.reference, scan.reference[index] == 1)
    assert example.dice == judgement.patients[0].dice


def test_a_scan_without_a_reference_is_refused():
    with pytest.raises(DataError, match="no reference"):
        judge_scans(Threshold(), [a_scan(reference=False)])


def test_augmented_scans_are_judged_beside_the_plain_ones_and_alike_each_time(run):
    assert tumorseg(["evaluate", str(run), "--augmented"]) == 0
    folder = run / "evaluation" / "kaggle_3m-test-augmented"
    first = json.loads((folder / "metrics.json").read_text())
    assert first["protocol"]["change"] == "augmented"
    assert "changed before they were judged" in (folder / "report.html").read_text()
    assert tumorseg(["evaluate", str(run), "--augmented"]) == 0
    again = json.loads((folder / "metrics.json").read_text())
    assert again["dice_patient"] == first["dice_patient"]
    assert tumorseg(["evaluate", str(run)]) == 0
    plain = json.loads((run / "evaluation" / "kaggle_3m-test" / "metrics.json").read_text())
    assert plain["dice_patient"]["mean"] != first["dice_patient"]["mean"]
    assert "change" not in plain["protocol"]


def test_image_and_reference_are_changed_together(phantom):
    recipe = load_recipe("default", ["augmentation.intensity_probability=0", "augmentation.elastic_probability=0"])
    scan = prepare(phantom).scans[0]
    changed = augmenter(recipe)(scan)
    assert changed.pixels.shape == scan.pixels.shape and changed.reference.shape == scan.reference.shape
    assert set(np.unique(changed.reference)) <= {0, 1} and not np.array_equal(changed.reference, scan.reference)
    tumour = scan.reference > 0
    moved = changed.reference > 0
    brightness = scan.pixels[..., 1][tumour].mean() - scan.pixels[..., 1][~tumour].mean()
    still = changed.pixels[..., 1][moved].mean() - changed.pixels[..., 1][~moved].mean()
    assert abs(still - brightness) < 0.15 * brightness
