"""`evaluate --predictions`: masks of any tool, judged by patient, and nothing dropped silently."""

import json
import shutil
import subprocess
import sys

import cv2
import jsonschema
import numpy as np
import pytest

from tumorseg.cli.app import run as tumorseg
from tumorseg.errors import DataError, FormatError, ShapeMismatch
from tumorseg.evaluation.evaluate import OUTPUTS
from tumorseg.evaluation.evaluate_masks import evaluate_masks
from tumorseg.evaluation.mask_names import bare_stem, match_places
from tumorseg.evaluation.schema import metrics_schema
from tumorseg.formats.matlab_mask import write_mask_matlab


def write(path, mask):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), mask)


def square(size, at=4, side=24, value=255):
    mask = np.zeros((side, side), np.uint8)
    mask[at : at + size, at : at + size] = value
    return mask


@pytest.fixture
def folders(tmp_path):
    """References and predictions of two patients of three slices, the predictions a little smaller."""
    for patient in ("pat1", "pat2"):
        for number in (1, 2, 10):
            size = 0 if number == 10 else 6 + number
            write(tmp_path / "ref" / patient / f"{patient}_{number}_mask.png", square(size))
            write(tmp_path / "pred" / patient / f"{patient}_{number}.png", square(max(size - 1, 0)))
    return tmp_path / "pred", tmp_path / "ref", tmp_path / "out"


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


@pytest.mark.parametrize("classes", [1, 3])
def test_matlab_masks_are_judged_as_segment_writes_them(folders, tmp_path, classes):
    pred, ref, out = folders
    for side in (pred, ref):
        for path in sorted(side.rglob("*.png")):
            mask = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) != 0).astype(np.uint8) * classes
            target = tmp_path / "mat" / side.name / path.parent.name / f"{path.stem}.mat"
            target.parent.mkdir(parents=True, exist_ok=True)
            write_mask_matlab(target, mask[None], classes=classes)
    as_png, as_mat = tmp_path / "png", out
    evaluate_masks(pred, ref, as_png)
    evaluate_masks(tmp_path / "mat" / "pred", tmp_path / "mat" / "ref", as_mat)
    assert metrics_of(as_mat)["dice_patient"] == metrics_of(as_png)["dice_patient"]


def test_masks_of_any_tool_are_judged_by_patient(folders):
    pred, ref, out = folders
    assert tumorseg(["evaluate", "--predictions", str(pred), "--reference", str(ref), "--output", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == OUTPUTS
    metrics = metrics_of(out)
    assert (metrics["patients"], metrics["slices"]) == (2, 6)
    sizes = [(7, 6), (8, 7)]
    expected = 2 * sum(p * p for _, p in sizes) / sum(r * r + p * p for r, p in sizes)
    assert metrics["dice_patient"]["mean"] == pytest.approx(expected)
    assert metrics["hd95"]["unit"] == "px" and metrics["nsd"]["mean"] == 1 and metrics["lesion_f1"]["mean"] == 1
    assert "ece" not in metrics and metrics["protocol"]["missing_predictions"] == []
    page = (out / "report.html").read_text()
    assert "not known" in page and "What was trained on what" not in page


@pytest.mark.parametrize(
    "spell", ["{}_{}_pred.png", "{}_{}_mask.tif", "seg_{}_{}.png", "{}_{}.npy", "tool-x_{}_{}_v2.png"]
)
def test_predictions_are_found_by_their_names_however_they_are_decorated(folders, tmp_path, spell):
    pred, ref, out = folders
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in sorted(pred.rglob("*.png")):
        target = flat / spell.format(*path.stem.split("_"))
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if target.suffix == ".npy":
            np.save(target, mask)
        else:
            write(target, mask)
    first = metrics_of(evaluate_masks(pred, ref, out))
    again = metrics_of(evaluate_masks(flat, ref, tmp_path / "again"))
    assert again["dice_patient"] == first["dice_patient"] and again["hd95"] == first["hd95"]


def test_a_data_set_may_be_the_reference(phantom, tmp_path):
    for mask in phantom.rglob("*_mask.tif"):
        target = tmp_path / "pred" / mask.parent.name / mask.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(mask, target)
    out = evaluate_masks(tmp_path / "pred", phantom, tmp_path / "out")
    metrics = metrics_of(out)
    assert metrics["dice_patient"]["mean"] == 1 and metrics["patients"] == 8
    assert "check that the references were not given twice" in (out / "report.html").read_text()
    rows = (out / "patients.csv").read_text().splitlines()
    assert rows[1].startswith("TCGA_")


def test_one_file_may_hold_all_slices_of_a_patient(folders, tmp_path):
    pred, ref, out = folders
    volumes = tmp_path / "volumes"
    volumes.mkdir()
    for patient in ("pat1", "pat2"):
        frames = [cv2.imread(str(pred / patient / f"{patient}_{n}.png"), 0) for n in (1, 2, 10)]
        np.save(volumes / f"{patient}_mask.npy", np.stack(frames))
    whole = metrics_of(evaluate_masks(volumes, ref, tmp_path / "whole"))
    assert whole["dice_patient"] == metrics_of(evaluate_masks(pred, ref, out))["dice_patient"]
    back = metrics_of(evaluate_masks(pred, volumes, tmp_path / "back"))
    assert back["dice_patient"]["mean"] == 1 and back["slices"] == 6
    np.save(volumes / "pat1_mask.npy", np.zeros((2, 24, 24), np.uint8))
    with pytest.raises(ShapeMismatch, match="3 numbered predictions"):
        evaluate_masks(pred, volumes, tmp_path / "short")


def test_what_is_missing_is_named_and_counts_as_empty(folders, caplog):
    pred, ref, out = folders
    shutil.rmtree(pred / "pat2")
    (pred / "pat1" / "pat1_2.png").unlink()
    metrics = metrics_of(evaluate_masks(pred, ref, out))
    assert metrics["patients"] == 2 and metrics["dice_patient"]["n"] == 2
    assert metrics["dice_patient"]["mean"] == pytest.approx(2 * 36 / (49 + 64 + 36) / 2)
    missing = metrics["protocol"]["missing_predictions"]
    assert missing == ["pat1_2_mask.png", "pat2_1_mask.png", "pat2_2_mask.png", "pat2_10_mask.png"]
    assert "4 references have no prediction" in caplog.text
    assert "pat1_2_mask.png" in (out / "report.html").read_text()


def test_predictions_beyond_the_references_are_named_and_not_judged(folders, caplog):
    pred, ref, out = folders
    write(pred / "pat3" / "pat3_1.png", square(5))
    metrics = metrics_of(evaluate_masks(pred, ref, out))
    assert metrics["patients"] == 2 and metrics["protocol"]["extra_predictions"] == ["pat3_1.png"]
    assert "pat3_1.png" in caplog.text


def spoil_size(pred, ref):
    write(pred / "pat1" / "pat1_2.png", square(5, side=20))


def spoil_values(pred, ref):
    write(pred / "pat1" / "pat1_1.png", square(5, value=7))


def spoil_names(pred, ref):
    (pred / "pat1" / "pat1_2.png").rename(pred / "pat1" / "pat1_3.png")


def spoil_twice(pred, ref):
    for path in sorted(pred.rglob("*.png")):
        shutil.copy(path, path.with_name(f"{path.stem}_pred.png"))
        path.rename(path.with_name(f"{path.stem}_seg.png"))


def spoil_all_names(pred, ref):
    for index, path in enumerate(sorted(pred.rglob("*.png"))):
        path.rename(path.with_name(f"{'abcdef'[index]}.png"))


def swap(pred, ref):
    for path in sorted(pred.rglob("*.png")):
        write(path.with_name(f"{path.stem}_mask.png"), square(4))


def damage(pred, ref):
    (pred / "pat1" / "pat1_1.png").write_bytes(b"no picture")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_size, "20 x 20 but its reference"),
        (spoil_values, "one value besides 0"),
        (spoil_names, "the names do not fit"),
        (spoil_twice, "two masks of the name"),
        (spoil_all_names, "no prediction fits a reference"),
        (swap, "exchanged"),
        (damage, "pat1_1.png"),
        (lambda pred, ref: shutil.rmtree(pred), "does not exist"),
        (lambda pred, ref: [path.unlink() for path in ref.rglob("*.png")], "no mask of a readable format"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(folders, capsys, spoil, said):
    pred, ref, out = folders
    spoil(pred, ref)
    assert tumorseg(["evaluate", "--predictions", str(pred), "--reference", str(ref), "--output", str(out)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("tumorseg: error:") and said in error
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--predictions", "p", "--reference", "r"], "--output"),
        (["--reference", "r", "--output", "o"], "--predictions"),
        (["run", "--predictions", "p", "--reference", "r", "--output", "o"], "no run"),
        ([], "nothing to judge"),
    ],
)
def test_half_a_command_says_what_is_lacking(capsys, words, said):
    assert tumorseg(["evaluate", *words]) == 2
    assert said in capsys.readouterr().err


def test_the_same_folder_twice_is_refused(folders):
    with pytest.raises(DataError, match="as predictions and as reference"):
        evaluate_masks(folders[1], folders[1], folders[2])


def test_classes_are_judged_each_by_itself(folders, tmp_path):
    _, _, out = folders
    for name, value in (("a", 1), ("b", 2), ("c", 2)):
        write(tmp_path / "r" / f"{name}_mask.png", square(8, value=value))
        write(tmp_path / "p" / f"{name}_mask.png", square(8, value=1 if name == "c" else value))
    metrics = metrics_of(evaluate_masks(tmp_path / "p", tmp_path / "r", out))
    assert metrics["dice_patient"]["mean"] == 1
    assert metrics["per_class"]["class-2"]["dice_patient"]["mean"] == 0.5
    assert metrics["per_class"]["class-2"]["hd95"]["undefined"] == 1
    assert metrics["per_class"]["class-1"]["absent_class_fpr"] == 0.5
    jsonschema.validate(metrics, metrics_schema())
    write(tmp_path / "p" / "a_mask.png", square(8, value=3))
    with pytest.raises(FormatError, match="holds 3"):
        evaluate_masks(tmp_path / "p", tmp_path / "r", out)


def test_metrics_are_as_the_schema_says(folders):
    pred, ref, out = folders
    schema = metrics_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    metrics = metrics_of(evaluate_masks(pred, ref, out))
    jsonschema.validate(metrics, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**metrics, "dice_pooled": 2.0}, schema)


def test_millimetres_are_used_where_the_files_tell_the_spacing(tmp_path):
    import nibabel

    reference = np.zeros((12, 12, 6), np.uint8)
    reference[3:9, 3:9, 2:5] = 1
    predicted = np.roll(reference, 1, axis=0)
    affine = np.diag([1.5, 1.5, 4.0, 1.0])
    for place, mask, grid in (
        ("r", reference, affine),
        ("p", predicted, affine),
        ("q", predicted, affine * [[2], [1], [1], [1]]),
    ):
        (tmp_path / place).mkdir()
        nibabel.save(nibabel.Nifti1Image(mask, grid), tmp_path / place / "case_mask.nii.gz")
    metrics = metrics_of(evaluate_masks(tmp_path / "p", tmp_path / "r", tmp_path / "out"))
    assert metrics["hd95"]["unit"] == "mm" and metrics["hd95"]["mean"] == pytest.approx(1.5)
    assert metrics["volume"]["unit"] == "ml" and metrics["volume"]["bias"] == pytest.approx(0)
    with pytest.raises(ShapeMismatch, match="spacings"):
        evaluate_masks(tmp_path / "q", tmp_path / "r", tmp_path / "elsewhere")


@pytest.mark.parametrize("reference_format", ["nifti", "dicom"])
@pytest.mark.parametrize("shift", [0, 1, -1])
def test_a_dicom_segmentation_lies_where_its_own_geometry_says(tmp_path, reference_format, shift):
    """Two masks on slices of their own of one series, whose files leave out the empty slices."""
    import nibabel

    from dicom_files import write_series
    from tumorseg.formats.dicom import read_volume
    from tumorseg.formats.dicom_seg import write_mask

    paths = write_series(tmp_path / "in", np.arange(8 * 16 * 24, dtype=np.int16).reshape(8, 16, 24), spacing=(0.5, 2.0))
    volume = read_volume(paths)
    truth, found = np.zeros((2, *volume.pixels.shape[:3]), np.uint8)
    truth[2:5, 4:12, 6:16] = 1
    found[2 + shift : 5 + shift, 4:12, 6:16] = 1
    for place in ("p", "r"):
        (tmp_path / place).mkdir()
    write_mask(tmp_path / "p" / "case_mask.dcm", found, paths)
    if reference_format == "dicom":
        write_mask(tmp_path / "r" / "case_mask.dcm", truth, paths)
    else:
        order = truth.transpose(2, 1, 0)
        affine = volume.geometry.affine[:, [2, 1, 0, 3]]
        nibabel.save(nibabel.Nifti1Image(order, affine), tmp_path / "r" / "case_mask.nii.gz")
    metrics = metrics_of(evaluate_masks(tmp_path / "p", tmp_path / "r", tmp_path / "out"))
    assert metrics["dice_patient"]["mean"] == pytest.approx((3 - abs(shift)) / 3)
    assert metrics["hd95"]["unit"] == "mm" and metrics["volume"]["unit"] == "ml"
    assert metrics["slices"] == (8 if reference_format == "nifti" else 3 + abs(shift))


def test_a_dicom_segmentation_of_another_place_is_refused(tmp_path):
    from dicom_files import write_series
    from tumorseg.formats.dicom_seg import write_mask

    mask = np.zeros((4, 16, 24), np.uint8)
    mask[1:3, 4:9, 4:9] = 1
    for place, spacing in (("p", (1.0, 1.0)), ("r", (1.5, 1.5))):
        paths = write_series(tmp_path / place / "in", np.ones((4, 16, 24), np.int16), spacing=spacing)
        (tmp_path / f"{place}s").mkdir()
        write_mask(tmp_path / f"{place}s" / "case_mask.dcm", mask, paths)
    with pytest.raises(ShapeMismatch, match="different places or have other spacings"):
        evaluate_masks(tmp_path / "ps", tmp_path / "rs", tmp_path / "out")


def test_folders_whose_names_say_that_they_are_exchanged_are_refused(folders, tmp_path):
    pred, ref, out = folders
    with pytest.raises(DataError, match="exchanged"):
        evaluate_masks(ref, pred, out)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    write(tmp_path / "one" / "a_truth.png", square(6))
    write(tmp_path / "two" / "a_pred.png", square(5))
    with pytest.raises(DataError, match="exchanged"):
        evaluate_masks(tmp_path / "one", tmp_path / "two", out)
    assert metrics_of(evaluate_masks(tmp_path / "two", tmp_path / "one", out))["patients"] == 1


def test_one_reference_file_is_no_folder_of_references(folders):
    pred, ref, out = folders
    with pytest.raises(DataError, match="is one mask"):
        evaluate_masks(pred, ref / "pat1" / "pat1_1_mask.png", out)


def test_a_mask_that_is_there_twice_is_named_with_its_folder(folders, caplog):
    pred, ref, out = folders
    write(pred / "again" / "pat1_1.png", square(5))
    metrics = metrics_of(evaluate_masks(pred, ref, out))
    assert metrics["protocol"]["extra_predictions"] == ["again/pat1_1.png"]
    assert "1 prediction has no reference and is not judged: again/pat1_1.png" in caplog.text


def test_judging_stored_masks_loads_no_torch(folders):
    pred, ref, out = folders
    words = ["-q", "evaluate", "--predictions", str(pred), "--reference", str(ref), "--output", str(out)]
    code = (
        f"import sys; from tumorseg.cli.app import run; run({words!r}); "
        "assert not {'torch', 'lightning', 'monai'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert (out / "metrics.json").is_file()


def test_words_that_say_mask_are_no_part_of_a_name(tmp_path):
    for name in ("x_3_mask.tif", "x_3.png", "x_3_pred_mask.png", "seg-x_3.tif", "X_3_Prediction.png"):
        assert bare_stem(tmp_path / name) == "x_3"
    assert bare_stem(tmp_path / "mask.png") == "mask"


def test_numbers_alone_pair_nothing():
    from pathlib import PurePath

    references = [PurePath("a", f"case_{n}") for n in (1, 2, 3)]
    predictions = [PurePath("a", f"other{n}") for n in (1, 2, 3)]
    assert not match_places(references, predictions).pairs
