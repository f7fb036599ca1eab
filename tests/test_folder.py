"""A folder of one's own: each image finds its mask by name, and what nobody can know is said."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tumorseg.datasets.open_data import open_data
from tumorseg.datasets.store import prepare
from tumorseg.errors import DataError, FormatError, ShapeMismatch

SIZE = 24


def image(path: Path, seed: int = 0, *, channels: int = 1, dtype: type = np.uint8, size: int = SIZE) -> Path:
    """One picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (size, size, channels), dtype=dtype)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return path


def mask(path: Path, value: int = 255, place: int = 4, size: int = SIZE) -> Path:
    """One mask with a square whose place tells it from others."""
    pixels = np.zeros((size, size), np.uint8)
    pixels[place : place + 5, 2:8] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return path


def rows_of(reference: np.ndarray) -> list[int]:
    """The first row with tumour in each slice."""
    return [int(np.flatnonzero(slice_.any(axis=1))[0]) for slice_ in reference]


LAYOUTS: dict[str, tuple[str, str]] = {
    "folders of one name": ("images/p{}.png", "masks/p{}.png"),
    "folders and a word": ("img/p{}.png", "labels/p{}_mask.png"),
    "another suffix": ("images/p{}.jpg", "masks/p{}.png"),
    "side by side": ("p{}.png", "p{}_mask.png"),
    "side by side, a dash": ("p{}.png", "p{}-seg.png"),
    "a word in front": ("images/p{}.png", "masks/mask_p{}.png"),
    "numbers alone agree": ("images/scan{}x.png", "masks/truth{}y.png"),
    "numbers with and without zeros": ("images/p{}.png", "masks/t0{}.png"),
    "a folder for each": ("{}/images/slice.png", "{}/masks/slice.png"),
    "a folder for each, names that share nothing": ("{}/images/t.png", "{}/masks/truth.png"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_image_finds_its_own_mask(layout: str, tmp_path: Path) -> None:
    for number in (1, 2, 9, 10, 11):  # as text, 10 comes before 2 and 9
        image(tmp_path / LAYOUTS[layout][0].format(number), number)
        mask(tmp_path / LAYOUTS[layout][1].format(number), place=number)
    data = open_data(tmp_path)
    assert (data.kind, data.name, data.classes, data.channels) == ("folder", tmp_path.name, ("tumour",), ("flair",))
    assert len(data.scans) == 5
    for scan in data.scans:
        name = scan.sources[0].relative_to(tmp_path).as_posix()
        number = int("".join(letter for letter in name if letter.isdigit()))
        assert scan.reference is not None and rows_of(scan.reference) == [number]
        assert set(np.unique(scan.reference)) == {0, 1}


def test_a_file_without_a_partner_is_named(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        image(tmp_path / "images" / f"{name}.png")
    mask(tmp_path / "masks" / "a.png")
    with pytest.raises(DataError, match=r"b\.png has no mask.*1 more"):
        open_data(tmp_path)
    for name in ("b", "c", "d"):
        mask(tmp_path / "masks" / f"{name}.png")
    with pytest.raises(DataError, match=r"d\.png has no image"):
        open_data(tmp_path)


def test_a_csv_names_pairs_patients_and_scans(tmp_path: Path) -> None:
    lines = ["image,mask,patient,scan,slice,institution"]
    for patient in ("P1", "P2"):
        for number in (10, 9, 2):
            image(tmp_path / f"{patient}{number}.png", number)
            mask(tmp_path / "m" / f"{patient}{number}.png", place=number)
            lines.append(f"{patient}{number}.png,m/{patient}{number}.png,{patient},{patient}-a,{number},X")
    table = tmp_path / "pairs.csv"
    table.write_text("\ufeff" + "\n".join(lines) + "\n", encoding="utf-8")
    data = open_data(table)
    assert [(scan.id, scan.patient, scan.institution) for scan in data.scans] == [
        ("P1-a", "P1", "X"),
        ("P2-a", "P2", "X"),
    ]
    assert data.scans[0].slice_numbers == (2, 9, 10)
    assert data.scans[0].reference is not None and rows_of(data.scans[0].reference) == [2, 9, 10]
    table.rename(tmp_path / "dataset.csv")
    assert [scan.id for scan in open_data(tmp_path).scans] == ["P1-a", "P2-a"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("picture,mask\na.png,a_mask.png\n", "no columns image and mask"),
        ("image,mask\nb.png,a_mask.png\n", r"line 2: .*b\.png does not exist"),
        ("image,mask\na.png,a_mask.png\na.png,a_mask.png\n", "line 3: .* in line 2 too"),
        ("image,mask,patient\na.png,a_mask.png,\n", "line 2: no patient"),
        ("image,mask,slice\na.png,a_mask.png,1\n", "slice but none scan"),
        ("image,mask,scan,slice\na.png,a_mask.png,s,one\n", "no whole number"),
        ("image,mask\nnotes.txt,a_mask.png\n", "no format that is read"),
        ("image,mask\n", "names no pair"),
    ],
)
def test_a_wrong_csv_is_named_with_its_line(text: str, named: str, tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    mask(tmp_path / "a_mask.png")
    (tmp_path / "notes.txt").write_text("none")
    (tmp_path / "dataset.csv").write_text(text)
    with pytest.raises(DataError, match=named):
        open_data(tmp_path)


def test_a_scan_of_two_patients_is_an_error(tmp_path: Path) -> None:
    lines = ["image,mask,patient,scan"]
    for name in ("a", "b"):
        image(tmp_path / f"{name}.png")
        mask(tmp_path / f"{name}_mask.png")
        lines.append(f"{name}.png,{name}_mask.png,{name},one")
    (tmp_path / "dataset.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match="2 patients: a, b"):
        open_data(tmp_path)


def test_a_description_names_everything(tmp_path: Path) -> None:
    for patient in ("P1", "P2"):
        for number in (1, 2):
            image(tmp_path / "t1" / f"{patient}_{number}.png", channels=3)
            mask(tmp_path / "truth" / f"{patient}_{number}_gt.png", value=number)
    (tmp_path / "dataset.yaml").write_text(
        "images: t1/*.png\nmasks: truth/*.png\npatient: '(?P<patient>P[0-9])'\n"
        "classes: [oedema, core]\nchannels: [red, green, blue]\n"
    )
    data = open_data(tmp_path)
    assert data.classes == ("oedema", "core") and data.channels == ("red", "green", "blue") and not data.warnings
    assert [(scan.patient, scan.slice_numbers) for scan in data.scans] == [("P1", (1, 2)), ("P2", (1, 2))]
    assert data.scans[0].reference is not None
    assert [int(slice_.max()) for slice_ in data.scans[0].reference] == [1, 2]
    assert open_data(tmp_path / "dataset.yaml").classes == data.classes


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("images: '*.png'\n", "only one of images and masks"),
        ("image: '*.png'\n", "image: "),
        ("images: '*.jpg'\nmasks: '*_mask.png'\n", r"no file is named \*\.jpg"),
        ("images: '/*.png'\nmasks: '*_mask.png'\n", "leads out of the folder"),
        ("images: '../*/a.png'\nmasks: '*_mask.png'\n", "leads out of the folder"),
        ("images: a.png\nmasks: '*_mask.png'\npatient: '('\n", "patient: "),
        ("images: a.png\nmasks: '*_mask.png'\npatient: 'P'\n", "no group of that name"),
        ("images: a.png\nmasks: '*_mask.png'\npatient: '(?P<patient>Q)'\n", "names no patient"),
        ("images: a.png\nmasks: '*_mask.png'\nclasses: [a, a]\n", "its own name"),
        ("images: a.png\nmasks: '*_mask.png'\nchannels: [a, b]\n", "1 channels, but 2 are named"),
        ("images: [\n", "cannot be read"),
    ],
)
def test_a_wrong_description_is_named_with_its_key(text: str, named: str, tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    mask(tmp_path / "a_mask.png")
    (tmp_path / "dataset.yaml").write_text(text)
    with pytest.raises(DataError, match=named):
        open_data(tmp_path)


def test_numbered_files_of_one_name_are_a_volume_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for stem in ("a", "b"):
        for number in (1, 2, 10):
            image(tmp_path / "images" / f"{stem}_{number}.png", number)
            mask(tmp_path / "masks" / f"{stem}_{number}.png", place=number)
    data = open_data(tmp_path)
    assert [scan.slice_numbers for scan in data.scans] == [(1, 2, 10)] * 2
    assert len({scan.patient for scan in data.scans}) == 2
    assert not any("patient" in warning for warning in data.warnings)
    assert data.scans[0].reference is not None and rows_of(data.scans[0].reference) == [1, 2, 10]


def test_patients_that_cannot_be_told_apart_are_said_loudly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("x", "y", "z"):
        image(tmp_path / f"{name}.png")
        mask(tmp_path / f"{name}_mask.png")
    prepare(tmp_path)
    said = [record for record in caplog.records if "patients cannot be told apart" in record.message]
    assert len(said) == 1 and said[0].levelname == "WARNING" and "too high" in said[0].message


def test_one_running_number_for_everyone_is_said_too(tmp_path: Path) -> None:
    for number in range(4):
        image(tmp_path / f"img_{number}.png")
        mask(tmp_path / f"img_{number}_mask.png")
    data = open_data(tmp_path)
    assert len(data.scans) == 1 and any("one patient" in warning for warning in data.warnings)


def grey_mask(path: Path) -> None:
    """A mask with soft edges."""
    disc = cv2.circle(np.zeros((SIZE, SIZE), np.uint8), (12, 12), 7, 255, -1)
    assert cv2.imwrite(str(path), cv2.GaussianBlur(disc, (5, 5), 2))


HARMS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a grey mask": ("grey values", lambda home: grey_mask(home / "b_mask.png")),
    "a mask of another size": ("16 x 16 but its image", lambda home: mask(home / "b_mask.png", size=16)),
    "a cut image": ("truncated", lambda home: (home / "b.png").write_bytes((home / "b.png").read_bytes()[:60])),
    "a cut mask": ("truncated", lambda home: (home / "b_mask.png").write_bytes(b"\x89PNG\r\n\x1a\n1234IHDR")),
    "a gap between classes": ("no mask holds 1, but .* holds 3", lambda home: [mask(home / "b_mask.png", 3)]),
}


@pytest.mark.parametrize("harm", HARMS)
def test_what_does_not_fit_is_an_error_that_says_so(harm: str, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        image(tmp_path / f"{name}.png")
        mask(tmp_path / f"{name}_mask.png", 2 if "classes" in harm else 255)
    named, do = HARMS[harm]
    do(tmp_path)
    with pytest.raises((FormatError, ShapeMismatch), match=named):
        prepare(tmp_path)


def test_several_values_are_classes(tmp_path: Path) -> None:
    for value in (1, 2, 3):
        image(tmp_path / f"p{value}.png")
        mask(tmp_path / f"p{value}_mask.png", value)
    store = prepare(tmp_path)
    assert store.classes == ("class-1", "class-2", "class-3")
    assert store.class_pixels.tolist() == [[30, 0, 0], [0, 30, 0], [0, 0, 30]]
    assert store.tumour_pixels.tolist() == [30, 30, 30]


def test_zero_and_one_other_value_are_one_class(tmp_path: Path) -> None:
    for name in ("a", "b"):
        image(tmp_path / f"{name}.png")
        mask(tmp_path / f"{name}_mask.png", 7)
    assert prepare(tmp_path).class_pixels.tolist() == [[30], [30]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_three_channels_are_sequences_unless_they_are_equal(dtype: type, tmp_path: Path) -> None:
    image(tmp_path / "colour" / "a.png", channels=3, dtype=dtype)
    mask(tmp_path / "colour" / "a_mask.png")
    data = open_data(tmp_path / "colour")
    assert data.channels == ("pre", "flair", "post")
    assert data.scans[0].pixels.shape[-1] == 3 and data.scans[0].pixels.dtype == dtype
    grey = np.repeat(cv2.imread(str(image(tmp_path / "g.png", dtype=dtype)), cv2.IMREAD_UNCHANGED)[..., None], 3, -1)
    (tmp_path / "grey").mkdir()
    assert cv2.imwrite(str(tmp_path / "grey" / "a.png"), grey)
    mask(tmp_path / "grey" / "a_mask.png")
    data = open_data(tmp_path / "grey")
    assert data.channels == ("flair",) and data.scans[0].pixels.shape == (1, SIZE, SIZE, 1)


def test_slices_of_two_sizes_are_no_volume(tmp_path: Path) -> None:
    for number, size in ((1, 24), (2, 16)):
        image(tmp_path / f"x_{number}.png", size=size)
        mask(tmp_path / f"x_{number}_mask.png", size=size)
    with pytest.raises(ShapeMismatch, match=r"of the same scan.*dataset\.csv"):
        prepare(tmp_path)


def test_a_changed_description_prepares_anew(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    mask(tmp_path / "a_mask.png", 1)
    text = "images: a.png\nmasks: a_mask.png\nclasses: [{}]\n"
    (tmp_path / "dataset.yaml").write_text(text.format("one"))
    before = prepare(tmp_path)
    (tmp_path / "dataset.yaml").write_text(text.format("two"))
    assert (before.classes, prepare(tmp_path).classes) == (("one",), ("two",))


def test_two_data_sets_in_one_folder_are_an_error(phantom: Path, tmp_path: Path) -> None:
    (tmp_path / "kaggle_3m").symlink_to(phantom)
    patient = tmp_path / "TCGA_CS_0001_20000101"
    patient.mkdir()
    for name in ("_1.tif", "_1_mask.tif"):
        (patient / f"{patient.name}{name}").write_bytes(b"")
    (tmp_path / "1.mat").write_bytes(b"")
    with pytest.raises(DataError, match="two data sets"):
        open_data(tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "empty", "notes.txt"])
def test_where_no_data_set_lies_the_next_step_is_said(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(DataError, match=r"kaggle_3m.*dataset\.yaml"):
        open_data(tmp_path / name)


def test_globs_pair_by_what_differs_between_names(tmp_path: Path) -> None:
    for name, place in (("p-left", 3), ("p-right", 9)):
        image(tmp_path / "in" / f"site_{name}_flair.png")
        mask(tmp_path / "out" / f"{name}_drawn-by-hand.png", place=place)
    (tmp_path / "dataset.yaml").write_text("images: in/*.png\nmasks: out/*.png\n")
    left, right = open_data(tmp_path).scans
    assert left.reference is not None and right.reference is not None
    assert (rows_of(left.reference), rows_of(right.reference)) == ([3], [9])
