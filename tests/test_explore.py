"""`data explore`: what is in a data set, on one page and in tables."""

import csv
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from tumorseg.cli.app import run as tumorseg
from tumorseg.datasets.check_set import check_data
from tumorseg.datasets.dealing import make_split
from tumorseg.datasets.prepared import Store
from tumorseg.datasets.store import prepare
from tumorseg.grid import Box
from tumorseg.preprocess import slice_histograms
from tumorseg.recipe_file import load_recipe
from tumorseg.studies.exploration.clinical import read_clinical_table
from tumorseg.studies.exploration.explore import explore_data
from tumorseg.studies.exploration.gather import gather
from tumorseg.studies.exploration.intensity import brighter, brightness, head_of, stand_ins
from tumorseg.studies.exploration.planes import PLANES, plane_of
from tumorseg.studies.exploration.whereabouts import GRID, Whereabouts


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_table(folder, heads, rows):
    with open(folder / "data.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([heads, *rows])


def own_pairs(folder, patients, *, tumour=True):
    """Lone slices as PNG pairs: a grey disc with a bright square in it."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for index in range(patients):
        image = np.zeros((48, 40), np.uint8)
        cv2.circle(image, (20, 24), 18, 90, -1)
        mask = np.zeros_like(image)
        if tumour:
            image[20:28, 12:20], mask[20:28, 12:20] = 200, 255
        cv2.imwrite(str(folder / "images" / f"p{index}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"p{index}.png"), mask)
    return folder


@pytest.fixture(scope="module")
def explored(phantom, tmp_path_factory):
    """The folder that exploring the phantom leaves."""
    return explore_data(phantom, tmp_path_factory.mktemp("explore") / "out").parent


def agrees_with_check(folder, found):
    """The counts of an exploration are those of `data check`."""
    facts = check_data(folder).as_json()
    assert (len(found.patients), len(found.slices)) == (facts["patients"], facts["slices"])
    assert dict(found.frames) == facts["images"]
    if facts["kind"] == "lgg":
        assert found.tumour_slices == facts["tumour_slices"]
        assert {row.patient: (row.slices, row.tumour_slices, row.tumour_voxels) for row in found.patients} == {
            re.sub(r"_\d+$", "", one["patient"]): (one["slices"], one["tumour_slices"], one["tumour_voxels"])
            for one in facts["per_patient"]
        }
        for sequence, names in facts["missing_sequences"].items():
            absent = [row.patient for row in found.patients if sequence in row.stand_ins]
            assert absent == [re.sub(r"_\d+$", "", name) for name in names]
        for one in facts["per_patient"]:
            blank = {row.sequence: row.blank_slices for row in found.intensities if row.scan == one["patient"]}
            assert {name: count for name, count in blank.items() if count} == one["blank_slices"]
    else:
        assert len(found.slices) - found.tumour_slices == facts["empty_masks"]
        for index, counts in enumerate(facts["classes"].values()):
            with_class = [row.class_slices[index] for row in found.patients if row.class_slices[index]]
            assert (sum(with_class), len(with_class)) == (counts["slices"], counts["patients"])


def test_counts_agree_with_the_check_on_the_phantom(phantom):
    agrees_with_check(phantom, gather(prepare(phantom), phantom))


def test_counts_agree_with_the_check_on_real_lgg(lgg_real):
    found = gather(prepare(lgg_real), lgg_real)
    agrees_with_check(lgg_real, found)
    # As counted on the published set for the patients that are here.
    assert {row.patient for row in found.patients if row.stand_ins == ("pre", "post")} <= {
        "TCGA_DU_7013", "TCGA_FG_A60K", "TCGA_HT_7877", "TCGA_HT_8105", "TCGA_HT_A616", "TCGA_HT_A61B",
    }  # fmt: skip
    assert found.clinical is not None and len(found.clinical.names) == 17
    assert len(found.clinical.rows) == len(found.patients) and not any(
        "no row" in note for note in found.clinical.notes
    )
    flair = [row for row in found.intensities if row.sequence == "flair"]
    assert 38 <= min(row.p99 for row in flair) < max(row.p99 for row in flair) <= 206
    assert np.median([row.brighter for row in flair]) > 0.8


def test_counts_agree_with_the_check_on_real_figshare(figshare_real):
    found = gather(prepare(figshare_real), figshare_real)
    agrees_with_check(figshare_real, found)
    assert found.tumour_slices == len(found.slices) and found.clinical is None
    assert not found.has_volumes and all(row.position != row.position for row in found.slices)


def test_percentiles_are_those_of_the_pixels(phantom):
    store = prepare(phantom)
    found = gather(store, phantom)
    entry = store.stored[0]
    pixels = store.pixels(entry)
    for index, row in enumerate(row for row in found.intensities if row.scan == entry.id):
        expected = np.percentile(pixels[..., index], (0.5, 99, 99.5), method="inverted_cdf")
        assert (row.low, row.p99, row.high) == tuple(expected)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_contrast_and_brighter_are_of_the_tumour_against_the_rest_of_the_head(dtype):
    pixels = np.zeros((2, 40, 40, 1), dtype)
    pixels[:, 4:36, 4:36] = 50
    pixels[0, 10:20, 10:20] = 90
    masks = np.zeros((2, 40, 40), np.uint8)
    masks[0, 10:20, 10:20] = 1
    levels = None if dtype == "uint8" else np.linspace(0, 90, 256, dtype=np.float32)[None]
    counted = (slice_histograms(pixels, levels), levels)
    head = head_of(pixels, Box(0, 40, 0, 40), *counted)
    assert np.array_equal(head, pixels[..., 0] > 0)
    (found,) = brightness(pixels, masks, head, *counted)
    assert found.tumour == pytest.approx(90, abs=0.4) and found.rest == pytest.approx(50, abs=0.4)
    assert found.contrast == pytest.approx(40 / 90, abs=0.01) and found.brighter == 1.0
    assert found.blank_slices == 0


def test_a_scan_without_tumour_has_no_contrast():
    pixels = np.full((1, 8, 8, 1), 7, np.uint8)
    pixels[0, 2:6, 2:6] = 90
    counted = (slice_histograms(pixels), None)
    empty = np.zeros((1, 8, 8), np.uint8)
    (found,) = brightness(pixels, empty, head_of(pixels, Box(0, 8, 0, 8), *counted), *counted)
    assert np.isnan([found.contrast, found.brighter, found.tumour]).all() and found.head[2] == 90


def test_brighter_is_the_share_of_pairs_with_ties_counted_half():
    rng = np.random.default_rng(0)
    ones, others = rng.integers(0, 9, 40), rng.integers(2, 11, 30)
    pairs = (ones[:, None] > others) + 0.5 * (ones[:, None] == others)
    assert brighter(np.bincount(ones, minlength=256), np.bincount(others, minlength=256)) == pytest.approx(pairs.mean())


def test_a_sequence_stands_in_where_its_pixels_are_those_of_flair_in_every_slice():
    pixels = np.random.default_rng(1).integers(0, 255, (3, 8, 8, 3), np.uint8)
    pixels[..., 0] = pixels[..., 1]
    assert stand_ins(pixels, ("pre", "flair", "post")) == ("pre",)
    pixels[2, 3, 3, 0] ^= 1
    assert stand_ins(pixels, ("pre", "flair", "post")) == ()
    assert stand_ins(pixels, ("a", "b", "c")) == ()


def test_a_known_tumour_is_mapped_to_its_place_in_heads_of_any_size():
    gathered = Whereabouts(("tumour", "other"))
    for patient, size in (("a", 80), ("b", 160), ("c", 240)):
        box = Box(10, 10 + size, 20, 20 + size // 2)
        image = np.zeros((2, 300, 300), np.uint8)
        image[:, box.top : box.bottom, box.left : box.right] = 100
        masks = np.zeros((2, 300, 300), np.uint8)
        # A quarter of the head across and three quarters down, in one slice.
        row, column = box.top + 3 * size // 4, box.left + size // 8
        masks[1, row - size // 20 : row + size // 20, column - size // 20 : column + size // 20] = 1
        gathered.add(patient, image, masks, box, largest=1, white=100.0)
        gathered.add(patient, image, masks, box, largest=1, white=100.0)  # a second scan is no second patient
    (found,) = gathered.maps()
    assert (found.name, found.patients, found.aspect) == ("tumour", 3, 2.0)
    assert found.share[3 * GRID // 4, GRID // 4] == 1.0 and found.share.max() == 1.0
    assert found.share[GRID // 4].max() == 0 and found.share[:, 3 * GRID // 4].max() == 0
    rows, columns = np.nonzero(found.share == 1)
    assert rows.mean() == pytest.approx(0.75 * GRID, abs=1) and columns.mean() == pytest.approx(0.25 * GRID, abs=1)


def test_the_smallest_tumour_does_not_vanish_from_the_map():
    gathered = Whereabouts(("tumour",))
    masks = np.zeros((1, 512, 512), np.uint8)
    masks[0, 256, 256] = 1
    gathered.add("a", masks, masks, Box(0, 512, 0, 512), largest=0, white=1.0)
    (found,) = gathered.maps()
    assert found.share.sum() >= 1 and found.share[GRID // 2, GRID // 2] == 1


def test_the_tables_say_what_was_gathered(phantom, explored):
    store = prepare(phantom)
    found = gather(store, phantom)
    patients = {row["patient"]: row for row in read(explored / "patients.csv")}
    assert {name: int(row["tumour_voxels"]) for name, row in patients.items()} == {
        one.patient: one.tumour_voxels for one in store.candidates
    }
    slices = read(explored / "slices.csv")
    assert [int(row["tumour_pixels"]) for row in slices] == store.tumour_pixels.tolist()
    assert [row["tumour_mm2"] for row in slices] == [""] * len(slices)
    rows = read(explored / "intensities.csv")
    assert len(rows) == len(found.intensities) == len(store.stored) * 3
    for row, one in zip(rows, found.intensities, strict=True):
        assert (row["scan"], row["sequence"]) == (one.scan, one.sequence)
        assert float(row["p99"]) == one.p99 and float(row["head_p50"]) == one.head[2]
        assert float(row["contrast"] or "nan") == pytest.approx(one.contrast, rel=1e-5, nan_ok=True)


def test_the_split_is_the_default_recipes_and_shares_no_patient(phantom, explored):
    expected = make_split(prepare(phantom), load_recipe("default").split)
    rows = read(explored / "split.csv")
    assert {row["patient"]: row["part"] for row in rows} == dict(expected.parts) and len(rows) == len(expected.parts)
    assert all(row["part"] == expected.parts[row["patient"]] for row in read(explored / "patients.csv"))


class Pictures(HTMLParser):
    """What a page loads, and which of its pictures are without words."""

    def __init__(self, text):
        super().__init__()
        self.loaded, self.wordless, self.charts, self.ids = [], [], 0, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.loaded += [value for key, value in attributes if key in ("src", "href", "xlink:href", "action", "srcset")]
        self.ids += [found["id"]] if "id" in found else []
        if tag == "img" and not found.get("alt"):
            self.wordless.append(tag)
        if tag == "svg" and found.get("aria-hidden") != "true":
            self.charts += 1
            if not found.get("aria-label"):
                self.wordless.append(found)


def test_the_page_is_offline_and_every_picture_has_words(explored):
    text = (explored / "explore.html").read_text(encoding="utf-8")
    found = Pictures(text)
    assert all(target.startswith(("#", "data:image/png;base64,")) for target in found.loaded)
    assert "<script" not in text and "@import" not in text and "url(http" not in text
    assert found.charts > 12 and found.wordless == []
    assert {target[1:] for target in found.loaded if target.startswith("#")} <= set(found.ids)
    assert {target for target in re.findall(r"url\(#([^)]+)\)", text)} <= set(found.ids)


def test_every_chart_names_its_axes(explored):
    text = (explored / "explore.html").read_text(encoding="utf-8")
    charts = re.findall(r'<svg class="chart".*?</svg>', text, re.DOTALL)
    assert len(charts) > 12 and all('class="name"' in chart for chart in charts)
    assert text.count("<figcaption>") >= 12 and text.count('class="reading"') >= 8


def test_millimetres_are_given_where_every_scan_tells_its_spacing(phantom, tmp_path, monkeypatch):
    plain = Store.scans.fget
    monkeypatch.setattr(
        Store, "scans", property(lambda self: [replace(scan, spacing=(5.0, 0.5, 2.0)) for scan in plain(self)])
    )
    page = explore_data(phantom, tmp_path / "out")
    for row in read(page.parent / "patients.csv"):
        assert float(row["tumour_ml"]) == pytest.approx(int(row["tumour_voxels"]) * 5 / 1000, rel=1e-4)
    for row in read(page.parent / "slices.csv"):
        assert float(row["tumour_mm2"]) == pytest.approx(int(row["tumour_pixels"]), rel=1e-4)
    assert "size of the tumour, ml" in page.read_text(encoding="utf-8")


def test_the_clinical_table_is_joined_by_patient_and_counts_codes(phantom, tmp_path):
    folder = tmp_path / "kaggle_3m"
    shutil.copytree(phantom, folder)
    names = [row.patient for row in gather(prepare(folder), folder).patients]
    rows = [(name, str(index % 2 + 1), "") for index, name in enumerate(names[1:])]
    write_table(folder, ("Patient", "grade", "race"), [*rows, ("TCGA_XX_0000", "1", "1")])
    page = explore_data(folder, tmp_path / "out")
    found = read_clinical_table(folder, names)
    grade, race = found.columns
    assert dict(grade.codes) == {"1": 4, "2": 3} and (grade.filled, grade.missing) == (7, 0)
    assert dict(race.codes) == {} and (race.filled, race.missing) == (0, 7)
    missing, stranger = found.notes
    assert names[0] in missing and "1 of 8 patients have no row" in missing and "TCGA_XX_0000" in stranger
    joined = {row["patient"]: row["grade"] for row in read(page.parent / "clinical.csv")}
    assert joined == {names[0]: ""} | {name: code for name, code, _ in rows}
    assert missing in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"Person,grade\nA,1\n", "has no column Patient"),
        (b"Patient,grade\n\xff\xfe,1\n", "cannot be read"),
        (b"", "no c"),
    ],
)
def test_a_clinical_table_that_cannot_be_used_is_said_and_stops_nothing(phantom, tmp_path, content, said):
    folder = tmp_path / "kaggle_3m"
    shutil.copytree(phantom, folder)
    (folder / "data.csv").write_bytes(content)
    page = explore_data(folder, tmp_path / "out")
    assert said in page.read_text(encoding="utf-8") and not (page.parent / "clinical.csv").exists()


def test_too_few_patients_for_a_split_are_said_and_everything_else_is_shown(tmp_path, capsys):
    data = own_pairs(tmp_path / "mine", 2)
    assert tumorseg(["data", "explore", str(data), "--output", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(tmp_path / "out" / "explore.html") and "no split.csv" in said.err
    assert "2 patients cannot be split" in (tmp_path / "out" / "explore.html").read_text(encoding="utf-8")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "explore.html", "intensities.csv", "patients.csv", "slices.csv",
    ]  # fmt: skip


def test_a_set_without_any_tumour_is_explored(tmp_path):
    page = explore_data(own_pairs(tmp_path / "mine", 4, tumour=False), tmp_path / "out")
    assert "No mask shows tumour." in page.read_text(encoding="utf-8")


def test_an_output_that_exists_is_refused_before_anything_is_read(tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept")
    assert tumorseg(["data", "explore", str(tmp_path / "nowhere"), "--output", str(tmp_path / "out")]) == 2
    assert "exists and is not empty" in capsys.readouterr().err
    assert (tmp_path / "out" / "mine.txt").read_text() == "kept"


def spoil_mask(folder):
    next(folder.rglob("*_mask.tif")).unlink()


def spoil_image(folder):
    image = next(path for path in sorted(folder.rglob("*.tif")) if "mask" not in path.name)
    image.write_bytes(image.read_bytes()[:100])


def spoil_mixed(folder):
    (folder / "1.mat").write_bytes(b"")


def spoil_all(folder):
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize("spoil", [spoil_mask, spoil_image, spoil_mixed, spoil_all], ids=lambda each: each.__name__)
def test_data_that_are_not_whole_are_one_line_and_leave_nothing(phantom, tmp_path, capsys, spoil):
    folder = tmp_path / "kaggle_3m"
    shutil.copytree(phantom, folder)
    spoil(folder)
    assert tumorseg(["data", "explore", str(folder), "--output", str(tmp_path / "out")]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1 and str(folder) in lines[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kaggle_3m"]


def test_exploring_loads_no_torch(phantom, tmp_path):
    code = (
        "import sys; from pathlib import Path; from tumorseg.studies.exploration.explore import explore_data; "
        f"explore_data(Path({str(phantom)!r}), Path({str(tmp_path / 'out')!r})); "
        "assert not {'torch', 'lightning', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- planes ---


def test_planes_are_told_alike_whatever_the_scale_and_size() -> None:
    random = np.random.default_rng(4)
    frame = cv2.GaussianBlur(random.random((256, 256)), (0, 0), 6)
    frame = np.where(np.hypot(*np.indices(frame.shape) - 127.5) < 100, 0.4 + frame, 0.0)
    told = plane_of(frame)
    assert told in PLANES
    assert plane_of((frame * 900).astype(np.int16)) == told
    assert plane_of(np.pad(frame, 40)) == told
    assert plane_of(np.zeros((64, 64), np.uint8)) in PLANES


def test_maps_are_kept_apart_by_plane() -> None:
    gathered = Whereabouts(("tumour",), PLANES)
    mask = np.zeros((1, 40, 40), np.uint8)
    mask[0, 10:20, 10:20] = 1
    for patient, plane in (("a", "axial"), ("b", "sagittal")):
        gathered.add(patient, np.ones((1, 40, 40)), mask, Box(0, 40, 0, 40), largest=0, white=1, plane=plane)
    assert [found.name for found in gathered.maps()] == ["tumour, axial", "tumour, sagittal"]
    assert [found.patients for found in gathered.maps()] == [1, 1]


def test_planes_of_real_slices_are_those_that_one_sees(figshare_real: Path) -> None:
    seen = {"33": "axial", "115": "axial", "172": "axial", "719": "axial", "233": "coronal", "292": "coronal"}
    seen |= {"755": "coronal", "461": "sagittal", "509": "sagittal", "617": "sagittal", "698": "sagittal"}
    store = prepare(figshare_real)
    told = {entry.id: plane_of(store.pixels(entry)[0, ..., 0]) for entry in store.stored if entry.id in seen}
    assert len(told) >= 5
    assert all(told[number] == seen[number] for number in told)
