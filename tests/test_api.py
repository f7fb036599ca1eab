"""What the Python interface promises: its page works line by line, its objects say what they are, its errors help."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tumorseg
from tiny_model import write_model
from tumorseg.api.run import as_words
from tumorseg.formats.tiff import read_labels_tiff

PAGE = Path(__file__).parents[1] / "docs" / "api.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def dataset(phantom: Path) -> tumorseg.Dataset:
    return tumorseg.open_dataset(phantom)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tumorseg.Model:
    return tumorseg.load_model(write_model(tmp_path_factory.mktemp("model")))


def test_every_block_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(BLOCKS) >= 10
    names: dict[str, Any] = {}
    for block in BLOCKS:
        exec(compile(block, str(PAGE), "exec"), names)
    assert names["evaluation"].report.is_file()
    assert (tmp_path / "mask.tif").is_file()
    assert names["outcome"].scans == 1 and not names["outcome"].failures


def test_every_public_name_is_on_the_page() -> None:
    older = {"Predictor", "read_lgg", "read_model", "evaluate_run", "__version__"}
    classes = {name for name in tumorseg.__all__ if name[0].isupper()}
    text = PAGE.read_text(encoding="utf-8")
    for name in set(tumorseg.__all__) - older - classes:
        assert f"tumorseg.{name}" in text, name


def test_looking_and_segmenting_load_no_torch(phantom: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    code = (
        "import sys, tumorseg\n"
        f"dataset = tumorseg.open_dataset({str(phantom)!r})\n"
        "repr(dataset), dataset.table(), dataset.split(), tumorseg.show(dataset)\n"
        f"tumorseg.load_model({str(tmp_path / 'model')!r}).segment(dataset.scans[0]).overlay()\n"
        "tumorseg.slurm_script('default', 'data', 'run')\n"
        "print([name for name in ('torch', 'lightning', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_data_set_says_what_it_holds(dataset: tumorseg.Dataset) -> None:
    assert "8 patients, 8 scans, 64 slices" in repr(dataset)
    assert len(dataset) == len(list(dataset)) == len(dataset.patients) == 8
    table = dataset.table()
    assert table.column("patient") == list(dataset.patients)
    assert sum(table.column("slices")) == 64
    for scan, row in zip(dataset, table, strict=True):
        assert scan.reference is not None
        assert np.count_nonzero(scan.reference) == row["tumour_pixels"]
    assert "<table>" in table._repr_html_() and repr(table).count("\n") == 8


def test_a_table_holds_what_not_every_row_has() -> None:
    table = tumorseg.Table([{"epoch": 1}, {"epoch": 2, "dice": 0.5}, {"dice": float("nan"), "epoch": 3}])
    assert table.columns == ("epoch", "dice")
    assert table.column("dice")[:2] == [None, 0.5]
    assert repr(table).splitlines() == ["epoch  dice", "1", "2      0.5", "3"]
    assert "<td>0.5</td>" in table._repr_html_()
    assert repr(tumorseg.Table()) == ""


def test_a_split_deals_every_patient_once_and_says_so(dataset: tumorseg.Dataset) -> None:
    split = dataset.split()
    assert sorted(patient for part in ("train", "val", "test") for patient in split.patients(part)) == list(
        dataset.patients
    )
    assert repr(split) == "<split of 8 patients: 6 train, 1 val, 1 test>"
    assert tumorseg.split(dataset.path, seed=5) == dataset.split(seed=5)
    tested = [patient for fold in range(4) for patient in dataset.split(fold=fold, folds=4).patients("test")]
    assert sorted(tested) == list(dataset.patients)


def test_a_picture_shows_the_outline_where_the_mask_is(dataset: tumorseg.Dataset, tmp_path: Path) -> None:
    picture = tumorseg.show(dataset)
    assert picture.rgb.dtype == np.uint8 and picture.rgb.ndim == 3
    coloured = np.ptp(picture.rgb.astype(int), axis=-1) > 0
    scan = dataset.scans[0]
    assert scan.reference is not None
    index = int(np.argmax(np.count_nonzero(scan.reference, axis=(1, 2))))
    rows, columns = np.nonzero(scan.reference[index])
    scale = len(picture.rgb) // scan.reference.shape[1]
    marked = np.nonzero(coloured)
    assert abs(marked[0].min() / scale - rows.min()) <= 2 and abs(marked[0].max() / scale - rows.max()) <= 2
    assert abs(marked[1].min() / scale - columns.min()) <= 2 and abs(marked[1].max() / scale - columns.max()) <= 2
    assert picture.save(tmp_path / "slice.png").read_bytes() == picture._repr_png_()
    empty = int(np.argmin(np.count_nonzero(scan.reference, axis=(1, 2))))
    bare = tumorseg.show(scan, slice=scan.slice_numbers[empty])
    assert not np.ptp(bare.rgb, axis=-1).any()


def test_an_array_a_file_and_a_scan_get_the_same_answer(dataset: tumorseg.Dataset, model: tumorseg.Model) -> None:
    scan = dataset.scans[0]
    expected = model.segment(scan)
    assert isinstance(expected, tumorseg.Segmentation)
    assert np.array_equal(model.segment(scan.pixels).mask, expected.mask)
    assert np.array_equal(model.segment(scan.sources[0].parent).mask, expected.mask)
    (again,) = model.segment_all([scan])
    assert np.array_equal(again.mask, expected.mask)
    flair = model.segment(scan.pixels[..., 1])
    assert flair.mask.shape == expected.mask.shape
    assert any("FLAIR" in warning for warning in flair.warnings)
    assert model.segment(scan.pixels[0]).mask.shape == (1, *expected.mask.shape[1:])
    named = model.segment(scan.pixels[..., [1, 0, 2]], channels=("flair", "pre", "post"))
    assert np.array_equal(named.mask, expected.mask)


def test_a_saved_mask_is_the_mask(dataset: tumorseg.Dataset, model: tumorseg.Model, tmp_path: Path) -> None:
    answer = model.segment(dataset.scans[0])
    assert answer.mask.any()
    assert np.array_equal(read_labels_tiff(answer.save(tmp_path / "mask.tif")) != 0, answer.mask != 0)
    assert np.array_equal(np.load(answer.save(tmp_path / "mask.npy")), answer.mask)
    assert len(list(answer.save(tmp_path / "mask.png").glob("*.png"))) == len(answer.mask)
    volume = pytest.importorskip("nibabel").load(answer.save(tmp_path / "mask.nii.gz"))
    assert np.count_nonzero(volume.get_fdata()) == np.count_nonzero(answer.mask)


def test_settings_become_keys_of_the_recipe() -> None:
    from tumorseg.api.run import resolve

    recipe = resolve("default", {"epochs": 3, "network__encoder": "resnet18", "network__weights": "none", "ema": None})
    assert (recipe.epochs, recipe.network.encoder, recipe.ema) == (3, "resnet18", None)
    assert resolve(recipe, {"optimizer__lr": 1e-5}).optimizer.lr == 1e-5
    assert resolve(recipe, {}) == recipe
    assert as_words({"a__b": [1, 2]}) == ["a.b=[1, 2]"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda d, m: tumorseg.open_dataset("nowhere"), "does not exist"),
        (lambda d, m: d["nobody"], "no patient or scan"),
        (lambda d, m: d.show(slice=999), "no slice 999"),
        (lambda d, m: d.split(test=2), "test"),
        (lambda d, m: d.split(fold=0), "belong together"),
        (lambda d, m: tumorseg.show(d).save("slice.jpg"), "PNG"),
        (lambda d, m: tumorseg.show(d.scans[0], patient="x"), "only a data set"),
        (lambda d, m: m.segment(np.zeros((2, 2, 2, 2, 2))), "shape"),
        (lambda d, m: m.segment(np.full((8, 8), np.nan)), "not finite"),
        (lambda d, m: m.segment(np.zeros((8, 8, 3), complex)), "no image"),
        (lambda d, m: m.segment(np.zeros((8, 8, 3)), channels=("a", "b")), "names for"),
        (lambda d, m: m.segment(d.path), "holds 8 scans"),
        (lambda d, m: m.segment(d.scans[0]).save("mask.xyz"), "not saved"),
        (lambda d, m: m.segment(d.scans[0]).save("mask.dcm"), "no DICOM"),
        (lambda d, m: d.train("default", "run", epoch=3), "epoch"),
        (lambda d, m: d.train("default", "run", epochs=object()), "cannot be written"),
        (lambda d, m: tumorseg.load_model("nowhere"), "does not exist"),
        (lambda d, m: tumorseg.open_run("nowhere"), "not a run folder"),
        (lambda d, m: tumorseg.compare("study"), "runs or of recipes"),
        (lambda d, m: tumorseg.slurm_script("default", "d", "r", colour="red"), "no such setting"),
    ],
)
def test_what_the_caller_can_mend_is_an_error_with_a_next_step(
    wrong: Any,
    said: str,
    dataset: tumorseg.Dataset,
    model: tumorseg.Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(tumorseg.TumorsegError, match=said):
        wrong(dataset, model)
    assert not list(tmp_path.iterdir())
