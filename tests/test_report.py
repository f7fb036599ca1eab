"""The report opens anywhere, tells the truth and shows failures first."""

import math
import subprocess
import sys
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from tumorseg.errors import OutputError
from tumorseg.evaluation import provenance
from tumorseg.evaluation.charts import Axis
from tumorseg.evaluation.definitions import DEFINITIONS, cut
from tumorseg.evaluation.diagnosis import diagnose
from tumorseg.evaluation.judgement import Judgement, PatientScore, SliceScore, judge
from tumorseg.evaluation.overlay import detail_box, flair, overlay
from tumorseg.evaluation.report import Example, RunFacts, render, write_report
from tumorseg.evaluation.selection import failures, select
from tumorseg.evaluation.sheet import draw_sheet
from tumorseg.outlines import outlines, svg_path
from tumorseg.recipe_file import load_recipe
from tumorseg.scan import Scan, Segmentation

SIDE = 64
NOT_SCORES = {
    "patients",
    "slices",
    "all_empty",
    "perfect",
    "single_slice",
    "protocol",
    "volume",
    "error_parts",
    "calibration",
    "strata",
    "practices",
    "uncertainty",
}


class Page(HTMLParser):
    """What the tests ask of a page: its ids, links, tags, and the text in reading order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(attribute))]


def disc(radius: float, x: float = 30, y: float = 30) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 < radius**2)


def judged(masks: dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]]) -> tuple[Judgement, list[Example]]:
    """Score and picture patients of one slice each, given as (reference, predicted)."""
    image = np.random.default_rng(0).integers(0, 200, (SIDE, SIDE, 3), dtype=np.uint8)
    pairs = []
    for name, (reference, predicted) in masks.items():
        scan = Scan(name, name, ("pre", "flair", "post"), lambda: image[None], slice_numbers=(7,), institution=name[:2])
        mask = predicted[None].astype(np.uint8)
        pairs.append((Segmentation(scan, mask, mask.astype(np.float16)), reference[None].astype(np.uint8)))
    judgement = judge(pairs, {"part": "test"}, lone=pairs)
    dice = {score.patient: score.dice for score in judgement.patients}
    return judgement, [
        Example(name, name[:2], 7, image, reference, predicted, dice[name])
        for name, (reference, predicted) in masks.items()
    ]


@pytest.fixture(scope="module")
def cohort() -> tuple[Judgement, list[Example]]:
    sizes = {f"AB_{index:03}": (disc(10), disc(10 - index / 2)) for index in range(1, 12)}
    return judged({**sizes, "CD_lost": (disc(8), disc(0)), "CD_away": (disc(6, 12, 12), disc(6, 50, 50))})


@pytest.fixture(scope="module")
def run() -> RunFacts:
    log = [
        {"epoch": epoch, "lr": 1e-3 / epoch, "train_loss": 1 / epoch, "val_loss": 1.2 / epoch, "val_dice_patient": 0.8}
        for epoch in range(1, 6)
    ]
    environment = {
        "dataset": "kaggle_3m",
        "command": ["tumorseg", "train", "--output", "my run"],
        "versions": {"torch": "2.11.0"},
        "seed": 3,
        "device": "cpu",
        "training_seconds": 5520.0,
    }
    return RunFacts(
        name="first",
        recipe=load_recipe("default", ["epochs=5"]),
        environment=environment,
        log=log,
        split_counts={"train": 66, "val": 9, "test": 13},
        model_parameters=5_600_000,
        dataset="kaggle_3m",
        readings=2,
    )


@pytest.fixture(scope="module")
def page(run: RunFacts, cohort: tuple[Judgement, list[Example]]) -> Page:
    judgement, examples = cohort
    return Page(render(run=run, judgement=judgement, examples=examples))


def test_the_page_asks_the_network_for_nothing(page: Page) -> None:
    links = page.values("href") + page.values("src")
    assert links
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "iframe", "object"}
    style = resources.files("tumorseg.evaluation").joinpath("report.css").read_text(encoding="utf-8")
    assert "url(" not in style
    assert "@import" not in style


def test_every_link_within_the_page_leads_somewhere(page: Page) -> None:
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    inner = {link[1:] for link in page.values("href") if link.startswith("#")}
    patterns = {fill[5:-1] for fill in page.values("fill") if fill.startswith("url(#")}
    assert inner | patterns <= set(ids)


def test_every_picture_says_what_it_shows(page: Page) -> None:
    pictures = [attributes for tag, attributes in page.tags if tag == "svg" and "aria-hidden" not in attributes]
    assert pictures
    assert all(picture.get("role") == "img" and picture.get("aria-label") for picture in pictures)


def test_failures_come_before_curves_and_scores(page: Page) -> None:
    headings = [
        "Where it fails",
        "CD_away",
        "Each patient, by institution",
        "Median and best patients",
        "What was trained on what",
    ]
    places = [page.text.index(heading) for heading in headings]
    assert places == sorted(places)


def test_the_page_tells_what_was_trained_on_what(page: Page) -> None:
    for said in (
        "trained on 66 patients of kaggle_3m",
        "judged on 13 patients that neither training nor choosing saw",
        "5,600,000",
        "1 h 32 min",
        "tumorseg train --output 'my run'",
        "2.11.0",
        "20261121",
        "looked at 2 times",
        "Only 13 patients were judged",
        "Research use only, not a medical device",
    ):
        assert said in page.text


def test_every_score_is_explained(cohort: tuple[Judgement, list[Example]], page: Page) -> None:
    defined = {definition.key for definition in DEFINITIONS}
    assert set(cohort[0].metrics) - NOT_SCORES == defined
    assert all(definition.meaning in page.text for definition in DEFINITIONS)


def test_every_patient_is_in_the_table_and_in_the_chart(cohort: tuple[Judgement, list[Example]], page: Page) -> None:
    for patient in cohort[0].patients:
        assert page.text.count(f"{patient.patient}: Dice {cut(patient.dice)}") >= 2
        assert f"{patient.reference_voxels:,}" in page.text


def test_names_from_the_data_set_cannot_change_the_page(run: RunFacts) -> None:
    name = '"><script>alert(1)</script>'
    judgement, examples = judged({name: (disc(5), disc(4))})
    page = Page(render(run=run, judgement=judgement, examples=examples))
    assert "script" not in {tag for tag, _ in page.tags}
    assert name in page.text


@pytest.mark.parametrize("empty", [False, True])
def test_one_patient_and_nothing_known_still_make_a_report(tmp_path: Path, empty: bool) -> None:
    judgement, examples = judged({"AB_1": (disc(0 if empty else 6), disc(0 if empty else 5))})
    path = write_report(tmp_path, run=RunFacts("bare", load_recipe("default")), judgement=judgement, examples=examples)
    page = Page(path.read_text(encoding="utf-8"))
    assert "Only 0 patients were judged" in page.text if empty else "Only 1 patient was judged" in page.text
    assert "Learning curves" not in page.text


def test_the_two_files_are_all_that_is_left(
    tmp_path: Path, run: RunFacts, cohort: tuple[Judgement, list[Example]]
) -> None:
    judgement, examples = cohort
    path = write_report(tmp_path / "new", run=run, judgement=judgement, examples=examples)
    assert {entry.name for entry in path.parent.iterdir()} == {"report.html", "predictions.png"}
    sheet = cv2.imread(str(path.parent / "predictions.png"))
    assert sheet is not None
    assert sheet.shape[1] > sheet.shape[0] > 3 * 200


def test_a_folder_that_cannot_be_made_is_one_line(
    tmp_path: Path, run: RunFacts, cohort: tuple[Judgement, list[Example]]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_report(tmp_path / "file", run=run, judgement=cohort[0], examples=cohort[1])


def test_training_and_validation_scores_are_called_so(cohort: tuple[Judgement, list[Example]]) -> None:
    for part, said in (("train", "were trained on"), ("val", "chose the checkpoint")):
        facts = RunFacts("first", load_recipe("default"), part=part)
        text = Page(render(run=facts, judgement=cohort[0], examples=cohort[1])).text
        assert said in text
        assert "neither training nor choosing saw" not in text


def test_the_report_needs_neither_torch_nor_matplotlib() -> None:
    code = "import sys, tumorseg.evaluation.report as r; print({'torch', 'lightning', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@given(arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_an_outline_encloses_exactly_its_mask(mask: NDArray[np.bool_]) -> None:
    crossings = np.zeros(mask.shape, int)
    for loop in outlines(mask):
        for (x, y), (next_x, next_y) in zip(loop, loop[1:] + loop[:1], strict=True):
            assert (x == next_x) != (y == next_y)
            if x == next_x:
                crossings[min(y, next_y) : max(y, next_y), x:] += 1
    np.testing.assert_array_equal(crossings % 2 == 1, mask)


def test_an_outline_is_drawn_from_corner_to_corner() -> None:
    mask = np.zeros((4, 5), bool)
    mask[1:3, 1:4] = True
    assert svg_path(mask) == "M1 1H4V3H1Z"
    assert svg_path(np.zeros((4, 5), bool)) == ""


@given(arrays.arrays(bool, (12, 20)))
def test_the_detail_holds_all_that_is_marked(mask: NDArray[np.bool_]) -> None:
    x, y, width, height = detail_box(mask)
    assert x >= 0
    assert y >= 0
    assert x + width <= 20
    assert y + height <= 12
    assert mask[y : y + height, x : x + width].sum() == mask.sum()


def test_an_overlay_tells_missed_from_too_much() -> None:
    reference, predicted = disc(8, 28), disc(8, 34)
    example = Example("AB_1", "AB", 7, np.zeros((SIDE, SIDE, 3), np.uint8), reference, predicted, 0.6)
    drawn = overlay(example, key="k").detail
    assert f"{int((reference & ~predicted).sum())} missed" in drawn
    assert f'd="{svg_path(predicted & ~reference)}" fill="url(#extra-k)"' in drawn


@pytest.mark.parametrize("shape", [(300, 200), (1500, 1024), (40, 40, 3)])
def test_slices_of_any_shape_are_shown(shape: tuple[int, ...]) -> None:
    image = np.full(shape, 9, np.uint8)
    mask = np.zeros(shape[:2], bool)
    mask[5:30, 5:20] = True
    example = Example("AB_1", "AB", 1, image, mask, mask, 1.0)
    assert f'viewBox="0 0 {shape[1]} {shape[0]}"' in overlay(example, key="k").whole
    assert draw_sheet([example], title="one").dtype == np.uint8


def test_flair_is_the_second_channel_and_stretched() -> None:
    image = np.zeros((10, 10, 3), np.uint8)
    image[..., 1] = np.arange(100).reshape(10, 10)
    assert flair(image).max() == 255
    assert flair(image).min() == 0


def test_the_sheet_can_be_written_without_outline_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "FontFace", raising=False)
    example = Example("AB_1", "AB", 1, np.zeros((SIDE, SIDE, 3), np.uint8), disc(5), disc(4), 0.8, "best")
    sheet = draw_sheet([example], title="one")
    assert (sheet[:50] < 200).any()


@pytest.mark.parametrize(
    ("counts", "kind", "said"),
    [
        ([(100, 0, 0)], "missed", "Nothing is marked"),
        ([(100, 80, 0), (10, 0, 0)], "missed", "1 of 2 tumour slices missed"),
        ([(50, 50, 60), (0, 0, 40)], "too much", "1 slice without tumour"),
        ([(0, 0, 40)], "too much", "no tumour"),
        ([(40, 0, 0), (0, 0, 30)], "elsewhere", "None of the 30 marked voxels"),
        ([(40, 0, 0), (0, 0, 30), (20, 15, 5)], "elsewhere", "do not meet"),
        ([(100, 80, 20)], "boundary", "outlined differently"),
        ([(100, 100, 0)], "none", "No voxel is wrong"),
    ],
)
def test_an_error_is_named_from_its_counts(counts: list[tuple[int, int, int]], kind: str, said: str) -> None:
    """Each slice is given as reference pixels, pixels in common, and pixels too much."""
    slices = [
        SliceScore("AB_1", index, reference, tp + fp, tp, fp, reference - tp, 0, math.nan)
        for index, (reference, tp, fp) in enumerate(counts)
    ]
    reference, tp, fp = (sum(column) for column in zip(*counts, strict=True))
    patient = PatientScore("AB_1", "AB", len(slices), reference, tp + fp, tp, fp, reference - tp, 0, *[math.nan] * 5)
    diagnosis = diagnose(patient, slices)
    assert diagnosis.kind == kind
    assert said in diagnosis.sentence


@given(st.floats(0, 1))
def test_a_score_is_never_rounded_in_its_favour(value: float) -> None:
    assert float(cut(value)) <= value + 1e-8
    assert float(cut(value, lower_is_better=True)) >= value - 1e-8


def test_a_score_that_is_exact_stays_so() -> None:
    assert cut(0.82) == "0.820"
    assert cut(0.8199) == "0.819"
    assert cut(0.0231, lower_is_better=True) == "0.024"
    assert cut(math.nan) == "undefined"


@given(st.lists(st.floats(0, 1), max_size=20), st.integers(0, 4), st.integers(0, 3), st.integers(0, 3))
def test_no_patient_is_shown_twice(dice: list[float], worst: int, median: int, best: int) -> None:
    nothing = np.zeros((2, 2), bool)
    examples = [
        Example(str(index), "", 1, nothing.astype(np.uint8), nothing, nothing, value)
        for index, value in enumerate(dice)
    ]
    chosen = select(examples, worst=worst, median=median, best=best)
    shown = [*chosen.worst, *chosen.median, *chosen.best]
    assert len({example.patient for example in shown}) == len(shown) == min(len(dice), worst + median + best)
    if chosen.worst and chosen.best:
        assert chosen.worst[-1].dice <= chosen.best[-1].dice
    assert 0 <= failures(examples) <= max(6, len(examples))


@pytest.mark.parametrize(
    ("axis", "texts"),
    [
        (Axis("", 0, 1), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (Axis("", 0, 0.0021), ["0.0000", "0.0005", "0.0010", "0.0015", "0.0020"]),
        (Axis("", 100, 10_000, logarithmic=True), ["100", "1,000", "10,000"]),
    ],
)
def test_ticks_are_round(axis: Axis, texts: list[str]) -> None:
    assert [text for _, text in axis.ticks()] == texts


def test_durations_are_words() -> None:
    assert [provenance.duration(seconds) for seconds in (12, 600, 5520)] == ["12 s", "10 min", "1 h 32 min"]
