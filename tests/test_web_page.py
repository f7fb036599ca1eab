"""The page in a real Chromium, used as a person would: nothing in it may fail quietly or ask another host."""

import gzip
import io
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile

from segmenting import COLUMNS, ROWS, SIZE, expected, marked, write_dicom, write_nifti
from tiny_model import GAIN, OFFSET, write_model
from tumorseg.inference.measure import measure
from web_server import Serving, serving

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")

PATIENCE = 30_000
"""Milliseconds."""

VOXELS = int(np.count_nonzero(expected()))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("page")
    with serving(folder / "server", write_model(folder / "model"), max_jobs=1000) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@dataclass
class Person:
    """Somebody at the page, and what went wrong for them."""

    page: Any
    address: str
    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE)
        self.page.on(
            "console", lambda message: message.type in ("error", "warning") and self.errors.append(message.text)
        )
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "request", lambda request: self.hosts.add(re.sub(r"^(blob:)?(https?://[^/]+).*", r"\2", request.url))
        )

    def arrive(self) -> None:
        """Open the page and wait until it has all that it shows at first."""
        self.page.goto(self.address)
        self.page.wait_for_selector("#examples button")

    def give(self, *files: Path) -> None:
        """Choose files, and wait until the scan is open and measured."""
        self.page.set_input_files("#files", [str(path) for path in files])
        self.opened()

    def opened(self) -> None:
        """Wait until a scan is open and measured."""
        self.page.wait_for_url(re.compile(r"#."))
        sync_api.expect(self.page.locator("#loading")).to_be_hidden()
        sync_api.expect(self.page.locator("[data-measure=diameter]")).not_to_have_text("…")

    def measure(self, name: str) -> str:
        """A measurement as it stands there."""
        return str(self.page.locator(f"[data-measure={name}]").inner_text())

    def count(self, name: str) -> int:
        """The number that a measurement begins with."""
        return int(self.measure(name).split(" ")[0].replace(",", ""))

    def press(self, *keys: str) -> None:
        """Keys on the slice."""
        self.page.locator("#slice").focus()
        for key in keys:
            self.page.keyboard.press(key)

    def slice(self) -> str:
        """What the page says of the slice in sight."""
        return str(self.page.locator("#slice-text").inner_text())

    def canvas(self) -> bytes:
        """The slice as it is drawn."""
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return str(self.page.evaluate("document.getElementById('slice').toDataURL()")).encode()

    def slide(self, slider: str, value: float) -> None:
        """Move a slider."""
        self.page.locator(f"#{slider}").fill(str(value))

    def download(self, button: Any) -> tuple[str, bytes]:
        """Press a button that downloads; gives the file's name and content."""
        with self.page.expect_download() as found:
            button.click()
        return found.value.suggested_filename, Path(found.value.path()).read_bytes()

    def open_panel(self, name: str) -> None:
        """Open a panel that may be folded."""
        panel = self.page.locator(f"#{name}")
        if panel.get_attribute("open") is None:
            panel.locator("summary").click()


@pytest.fixture
def person(server: Serving, browser: Any) -> Iterator[Person]:
    with browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True) as context:
        someone = Person(context.new_page(), server.address)
        yield someone
        assert someone.errors == []
        assert someone.hosts == {server.address}


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A NIfTI volume of four slices with the marker in two."""
    return write_nifti(tmp_path_factory.mktemp("volume") / "head.nii.gz", marked())


def test_a_tiff_folder_a_nifti_and_a_dicom_zip_open_at_their_largest_section(person: Person, tmp_path: Path) -> None:
    slices = []
    for index, frame in enumerate(marked(bright=200, dtype=np.uint8), start=9):
        slices.append(tmp_path / f"x_{index}.tif")
        tifffile.imwrite(slices[-1], frame)
    nifti = write_nifti(tmp_path / "head.nii", marked())
    study = tmp_path / "study.zip"
    with zipfile.ZipFile(study, "w") as archive:
        for path in write_dicom(tmp_path / "series", marked(dtype=np.uint16)):
            archive.write(path, f"study/{path.name}")
    person.arrive()
    for files, volume in ((slices, f"{VOXELS} voxels"), ([nifti], "1.9 ml"), ([study], "1.9 ml")):
        person.page.evaluate("history.replaceState(null, '', '/')")
        person.give(*files)
        assert person.measure("volume") == volume
        assert person.slice() == "Slice 2 of 4"
        assert person.measure("components") == "1"
        assert "replaced by FLAIR" in person.page.locator("#warnings").inner_text()
    assert person.page.locator(".scan-button").count() == 3


def test_files_and_folders_can_be_dropped(person: Person) -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, marked(1, bright=200, dtype=np.uint8)[0])
    person.arrive()
    person.page.evaluate(
        """(bytes) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "dropped.tif"));
            const act = (name) => window.dispatchEvent(
                new DragEvent(name, { dataTransfer: transfer, bubbles: true, cancelable: true }));
            for (const name of ["dragenter", "dragover"]) act(name);
            if (document.getElementById("veil").hidden) throw new Error("nothing says that files may be let go");
            act("drop");
        }""",
        list(buffer.getvalue()),
    )
    person.opened()
    assert person.page.locator("#scan-name").inner_text() == "dropped.tif"
    assert person.page.locator("#veil").is_hidden()


def test_keys_wheel_slider_and_profile_change_the_slice(person: Person, volume: Path) -> None:
    person.arrive()
    person.give(volume)
    for key, seen in (
        ("Home", 1),
        ("ArrowDown", 2),
        ("ArrowRight", 3),
        ("ArrowUp", 2),
        ("End", 4),
        ("PageUp", 1),
        ("PageDown", 4),
        ("l", 2),
    ):
        person.press(key)
        assert person.slice() == f"Slice {seen} of 4", key
    person.slide("slice-slider", 4)
    assert person.slice() == "Slice 4 of 4"
    assert person.page.locator("#slice-area").inner_text() == "no tumour marked"
    person.page.locator("#largest").click()
    assert person.slice() == "Slice 2 of 4"
    person.page.locator("#slice").hover()
    person.page.mouse.wheel(0, 120)
    sync_api.expect(person.page.locator("#slice-text")).to_have_text("Slice 3 of 4")
    box = person.page.locator("#profile").bounding_box()
    person.page.mouse.click(box["x"] + 4, box["y"] + 20)
    assert person.slice() == "Slice 1 of 4"
    assert "slice 1 of 4" in person.page.locator("#slice").get_attribute("aria-label")


def test_every_control_of_the_display_changes_the_picture(person: Person, volume: Path) -> None:
    person.arrive()
    person.page.locator("#examples button").first.click()
    person.opened()
    seen = [person.canvas()]

    def changed() -> None:
        seen.append(person.canvas())
        assert seen[-1] != seen[-2]

    page = person.page
    for name in ("Post-contrast", "FLAIR"):
        page.get_by_role("radio", name=name).check()
        changed()
    page.locator("#outline").uncheck()
    changed()
    page.locator("#fill").check()
    changed()
    person.slide("opacity", 90)
    changed()
    for name, words in (("Probability", "probability of tumour"), ("Uncertainty", "uncertainty")):
        page.get_by_role("radio", name=name).check()
        changed()
        assert words in page.locator("#legend").inner_text()
    for slider, value in (("brightness", 40), ("contrast", 250)):
        person.slide(slider, value)
        changed()
    page.locator("#zoom-in").click()
    changed()
    page.locator("#zoom-fit").click()
    changed()
    page.locator("#display-reset").click()
    assert person.canvas() == seen[0]
    assert page.locator("#legend").is_hidden()


def test_the_threshold_answers_without_a_request_and_files_follow_it(person: Person, volume: Path) -> None:
    soft = marked().astype(np.int16)
    # Half as bright as the marker: inside only where the threshold is low.
    soft[1, 30:34, 8:28] = 480
    path = write_nifti(volume.with_name("soft.nii.gz"), soft)
    person.arrive()
    person.give(path)
    before = person.measure("volume")
    asked: list[str] = []
    person.page.on("request", lambda request: asked.append(request.url))
    person.slide("threshold", 0.1)
    assert person.measure("volume") != before
    assert "The model’s own is 0.50" in person.page.locator("#threshold-note").inner_text()
    assert asked == []
    person.open_panel("download-panel")
    name, content = person.download(person.page.locator("[data-kind=nifti]"))
    assert name.endswith(".nii.gz")
    voxels = int(np.count_nonzero(np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(content)).dataobj)))
    assert person.page.locator("#measures small").first.inner_text() == f"{voxels:,} voxels"
    assert voxels == VOXELS + 4 * 20
    person.page.locator("#threshold-reset").click()
    assert person.measure("volume") == before


def test_a_correction_by_hand_is_undone_saved_and_downloaded(person: Person, volume: Path) -> None:
    person.arrive()
    person.give(volume)
    page = person.page
    total = page.locator("#measures small").first
    whole = f"{VOXELS:,} voxels"
    assert total.inner_text() == whole
    person.open_panel("correct-panel")
    page.get_by_role("radio", name="Brush").click()
    person.slide("brush-size", 5)
    box = page.locator("#slice").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def stroke() -> str:
        page.mouse.move(middle[0], middle[1] + 60)
        page.mouse.down()
        page.mouse.move(middle[0] + 60, middle[1] + 90, steps=4)
        page.mouse.up()
        return str(total.inner_text())

    more = stroke()
    assert more != whole
    assert page.locator("#threshold").is_disabled()
    page.keyboard.press("Control+z")
    assert total.inner_text() == whole
    page.locator("#redo").click()
    assert total.inner_text() == more
    page.locator("[data-tool=eraser]").click()
    stroke()
    assert total.inner_text() == whole
    page.locator("#undo").click()
    page.locator("#save-edit").click()
    sync_api.expect(page.locator("#edit-note")).to_contain_text("Saved")
    person.open_panel("download-panel")
    _, content = person.download(page.locator("[data-kind=nifti]"))
    voxels = int(np.count_nonzero(np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(content)).dataobj)))
    assert f"{voxels:,} voxels" == more
    page.reload()
    person.opened()
    assert total.inner_text() == more
    person.open_panel("correct-panel")
    page.locator("#discard-edit").click()
    sync_api.expect(total).to_have_text(whole)


def test_a_reference_shows_both_outlines_and_scores(person: Person, volume: Path, tmp_path: Path) -> None:
    moved = np.zeros((4, SIZE, SIZE), np.uint8)
    moved[1:3, ROWS, slice(COLUMNS.start + 2, COLUMNS.stop + 2)] = 1
    reference = write_nifti(tmp_path / "reader.nii.gz", moved)
    person.arrive()
    person.give(volume)
    before = person.canvas()
    person.open_panel("reference-panel")
    person.page.set_input_files("#reference-file", str(reference))
    # Both have 20 columns, of which 18 are the same.
    sync_api.expect(person.page.locator("[data-measure=dice]")).to_have_text("0.900")
    assert person.measure("iou") == "0.818"
    sync_api.expect(person.page.locator("[data-measure=hd95]")).to_have_text("1.0 mm")
    assert person.canvas() != before
    assert "Reference" in person.page.locator("#key-box").inner_text()
    wrong = write_nifti(tmp_path / "small.nii.gz", np.zeros((2, 8, 8), np.uint8))
    person.page.set_input_files("#reference-file", str(wrong))
    assert "2 x 8 x 8" in person.page.get_by_role("alert").inner_text()
    person.errors.clear()  # Chromium reports every refused request.


def test_every_download_of_a_dicom_scan_is_a_file_of_its_kind(person: Person, tmp_path: Path) -> None:
    files = write_dicom(tmp_path / "series", marked(dtype=np.uint16))
    person.arrive()
    person.give(*files)
    person.open_panel("download-panel")
    begins = {
        "mask": None,
        "nifti": b"\x1f\x8b",
        "dicom-seg": None,
        "overlay": None,
        "contours": b"{",
        "report": b"%PDF",
        "training": b"PK",
    }
    buttons = person.page.locator("#downloads button")
    kinds = [buttons.nth(index).get_attribute("data-kind") for index in range(buttons.count())]
    assert set(kinds) == set(begins)
    for kind in kinds:
        name, content = person.download(person.page.locator(f"[data-kind={kind}]"))
        assert "Test" not in name and len(content) > 50
        assert content.startswith(begins[kind] or b""), kind


def test_the_montage_shows_every_slice_and_opens_one(person: Person, volume: Path) -> None:
    person.arrive()
    person.give(volume)
    person.page.get_by_role("tab", name="Montage").click()
    thumbs = person.page.locator(".thumb")
    assert thumbs.count() == 4
    person.page.get_by_label("Only slices with tumour").check()
    assert thumbs.count() == 2
    thumbs.nth(1).click()
    assert person.slice() == "Slice 3 of 4"
    assert person.page.locator("#montage").is_hidden()


def test_many_scans_become_a_table_that_sorts(person: Person, tmp_path: Path) -> None:
    for index, slices in enumerate((3, 5, 4, 2, 6)):
        write_nifti(tmp_path / f"case{index}.nii.gz", marked(slices))
    person.arrive()
    page = person.page
    page.set_input_files("#files", [str(path) for path in sorted(tmp_path.iterdir())])
    page.wait_for_selector("#table tbody tr")
    assert page.locator("#table tbody tr").count() == 5
    column = page.locator("#table tbody td:nth-of-type(1)")
    page.locator("th button[data-key=slices]").click()
    assert column.all_inner_texts() == ["6", "5", "4", "3", "2"]
    page.locator("th button[data-key=slices]").click()
    assert column.all_inner_texts() == ["2", "3", "4", "5", "6"]
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("Slices")
    _, content = person.download(page.get_by_role("button", name="Results ZIP").last)
    assert "summary.csv" in zipfile.ZipFile(io.BytesIO(content)).namelist()
    _, table = person.download(page.get_by_role("button", name="Table as CSV"))
    assert table.decode().splitlines()[0].startswith('"Scan","Slices"')
    page.locator("#table tbody button").first.click()
    person.opened()
    assert page.locator("#viewer").is_visible()


def test_sequences_in_files_of_their_own_are_asked_for(person: Person, tmp_path: Path) -> None:
    flair = write_nifti(tmp_path / "a head_flair.nii.gz", marked())
    post = write_nifti(tmp_path / "a head_t1ce.nii.gz", marked(bright=500))
    person.arrive()
    person.page.set_input_files("#files", [str(flair), str(post)])
    dialog = person.page.get_by_role("dialog")
    assert dialog.get_by_label("FLAIR", exact=True).input_value() == "a head_flair.nii.gz"
    assert dialog.get_by_label("Post-contrast").input_value() == "a head_t1ce.nii.gz"
    dialog.get_by_role("button", name="Segment").click()
    person.opened()
    assert [label.strip() for label in person.page.locator("#channels label").all_inner_texts()] == [
        "FLAIR",
        "Post-contrast",
    ]
    assert person.page.locator(".scan-button").count() == 1


def test_channels_without_names_are_named_after_the_server_asks(person: Person, tmp_path: Path) -> None:
    four = np.stack([marked(), marked(bright=500), marked(bright=300), marked(bright=200)], axis=-1)
    person.arrive()
    person.page.set_input_files("#files", str(write_nifti(tmp_path / "four.nii.gz", four)))
    person.page.get_by_role("button", name="Name the sequences").click()
    dialog = person.page.get_by_role("dialog")
    dialog.get_by_role("button", name="Segment").click()
    assert "Choose FLAIR" in dialog.get_by_role("alert").inner_text()
    dialog.get_by_label("FLAIR").select_option(label="Channel 1")
    dialog.get_by_role("button", name="Segment").click()
    person.opened()
    assert person.count("tumour-slices") == 2


def test_what_cannot_be_read_is_said_in_words_and_can_be_removed(person: Person, tmp_path: Path) -> None:
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"this is no image")
    person.arrive()
    person.page.set_input_files("#files", str(broken))
    job = person.page.locator(".job.failed")
    job.wait_for()
    assert "--" not in job.inner_text() and "Traceback" not in job.inner_text()
    job.get_by_role("button", name="Remove").click()
    sync_api.expect(person.page.locator(".job")).to_have_count(0)


def test_a_second_tab_sees_the_scans_and_another_person_does_not(person: Person, browser: Any, volume: Path) -> None:
    person.arrive()
    person.give(volume)
    second = Person(person.page.context.new_page(), person.address)
    second.arrive()
    assert second.page.locator(".scan-button").count() == 1
    person.page.get_by_role("button", name="Remove head.nii.gz").click()
    sync_api.expect(second.page.locator(".scan-button")).to_have_count(0)
    with browser.new_context() as context:
        stranger = Person(context.new_page(), person.address)
        stranger.arrive()
        assert stranger.page.locator(".job").count() == 0


def test_a_busy_server_a_lost_one_and_limits_are_said_with_another_try(person: Person, volume: Path) -> None:
    person.arrive()
    page = person.page
    busy = {"status": 429, "title": "Too Many Requests", "detail": "the queue is full"}
    page.route(
        "**/v1/segmentations",
        lambda route: (
            route.fulfill(
                status=429,
                headers={"Retry-After": "30", "Content-Type": "application/problem+json"},
                body=json.dumps(busy),
            )
            if route.request.method == "POST"
            else route.continue_()
        ),
    )
    page.set_input_files("#files", str(volume))
    sync_api.expect(page.locator(".job.busy")).to_contain_text("The server is busy. Trying again in")
    page.unroute("**/v1/segmentations")
    page.route(
        "**/v1/segmentations", lambda route: route.abort() if route.request.method == "POST" else route.continue_()
    )
    page.get_by_role("button", name="Try again").click()
    sync_api.expect(page.locator(".job.failed")).to_contain_text("The server cannot be reached")
    page.unroute("**/v1/segmentations")
    page.get_by_role("button", name="Try again").click()
    person.opened()
    page.evaluate(
        "import('/static/state.js').then(({ state }) => { state.limits = { ...state.limits, max_upload_bytes: 10 }; })"
    )
    page.set_input_files("#files", str(volume))
    assert "this server takes 10 bytes" in page.get_by_role("alert").inner_text()
    person.errors.clear()  # Chromium reports every refused request.


def test_a_running_job_is_cancelled(person: Person, volume: Path) -> None:
    person.arrive()
    page = person.page
    listed = {
        "id": "waiting",
        "status": "queued",
        "created": "2026-01-01T00:00:00Z",
        "progress": {"done": 0, "total": 0, "unit": "slices"},
        "position": 3,
        "error": None,
        "model": "tiny",
        "files": 1,
        "scans": [],
        "failures": [],
    }
    jobs, removed = [listed], []
    page.route("**/v1/segmentations", lambda route: route.fulfill(json={"jobs": jobs}))

    def remove(route: Any) -> None:
        removed.append(route.request.method)
        jobs.clear()
        route.fulfill(status=204)

    page.route("**/v1/segmentations/waiting", remove)
    page.reload()
    sync_api.expect(page.locator(".job.queued")).to_contain_text("2 uploads before it")
    page.get_by_role("button", name="Cancel").click()
    sync_api.expect(page.locator(".job")).to_have_count(0)
    assert removed == ["DELETE"]


def test_the_model_card_and_the_keys_are_dialogs(person: Person) -> None:
    person.arrive()
    page = person.page
    # A card is text: what looks like markup in it stays what it is.
    page.route(
        "**/card",
        lambda route: route.fulfill(
            body="# Tiny\n\n<img src=x onerror=alert(1)> **bold**\n\n"
            "| a | b |\n|---|---|\n| 1 | 2 |\n\n[x](javascript:alert(1))"
        ),
    )
    page.get_by_role("button", name="About").click()
    card = page.locator(".card")
    assert "<img src=x" in card.inner_text()
    assert card.locator("strong").inner_text() == "bold" and card.locator("td").count() == 2
    assert card.locator("img, a").count() == 0
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert "Page Up" in page.get_by_role("dialog").inner_text()
    page.keyboard.press("Escape")
    assert page.get_by_role("dialog").count() == 0


def test_a_server_with_a_token_is_asked_with_it(browser: Any, tmp_path: Path) -> None:
    with (
        serving(
            tmp_path / "server", write_model(tmp_path / "model"), token="let me in please, 32 characters"
        ) as server,
        browser.new_context() as context,
    ):
        person = Person(context.new_page(), server.address)
        person.page.goto(server.address)
        dialog = person.page.get_by_role("dialog")
        dialog.get_by_label("Token").fill("wrong")
        dialog.get_by_role("button", name="Continue").click()
        sync_api.expect(dialog).to_contain_text("not accepted")
        dialog.get_by_label("Token").fill("let me in please, 32 characters")
        dialog.get_by_role("button", name="Continue").click()
        person.page.wait_for_selector("#examples button")
        person.page.locator("#examples button").last.click()
        person.opened()


def test_the_theme_can_be_chosen_and_the_note_is_always_in_sight(person: Person, volume: Path) -> None:
    person.arrive()
    page = person.page
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    for name in ("light", "dark"):
        page.locator("#theme").click()
        assert page.locator("#theme").get_attribute("aria-label") == f"Theme: {name}"
    assert page.evaluate(ground) != light
    page.reload()
    assert page.evaluate(ground) != light
    person.give(volume)
    for width in (1280, 800, 390):
        page.set_viewport_size({"width": width, "height": 844})
        page.mouse.wheel(0, 3000)
        assert page.get_by_text("Not a medical device.").first.is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_page_in_use_keeps_its_scans_and_an_abandoned_one_does_not(person: Person, volume: Path) -> None:
    person.page.clock.install()
    person.arrive()
    person.give(volume)
    asked: list[str] = []
    person.page.on("request", lambda request: asked.append(request.url))
    person.page.clock.fast_forward(20 * 60 * 1000)
    assert asked == []
    person.press("ArrowDown", "ArrowDown")
    sync_api.expect(person.page.locator(".scan-button")).to_have_count(1)
    assert asked == [f"{person.address}/v1/segmentations"]


def test_the_page_measures_as_the_server_does(person: Person) -> None:
    person.arrive()
    draw = np.random.default_rng(8)
    for density, spacing in ((0.08, None), (0.3, None), (0.02, (4.0, 0.5, 1.5))):
        mask = (draw.random((5, 23, 31)) < density).astype(np.uint8)
        mask[2] = 0
        there = measure(mask, spacing=spacing)
        here = person.page.evaluate(
            """async ([bytes, slices, height, width, spacing]) => {
                const { measure } = await import("/static/measure.js");
                const area = height * width;
                const slicesOf = (_, slice) => bytes.slice(slice * area, (slice + 1) * area);
                const masks = Array.from({ length: slices }, slicesOf);
                const areas = masks.map((mask) => mask.filter(Boolean).length);
                return measure({ slices, height, width, areas, mask: (slice) => masks[slice] }, spacing);
            }""",
            [mask.ravel().tolist(), *mask.shape, (spacing or (1.0, 1.0, 1.0))[1:]],
        )
        assert here["components"] == there["components"]
        assert here["diameter"] == pytest.approx(
            there["largest_diameter_mm" if spacing else "largest_diameter_pixels"], rel=1e-6
        )


def test_outlines_enclose_the_mask_and_nothing_else(person: Person) -> None:
    person.arrive()
    mask = (np.random.default_rng(4).random((24, 24)) < 0.4).astype(np.uint8)
    inside = person.page.evaluate(
        """async (bytes) => {
            const { outline } = await import("/static/outline.js");
            const path = outline(Uint8Array.from(bytes), 24, 24);
            const context = document.createElement("canvas").getContext("2d");
            return bytes.map((_, place) =>
                Number(context.isPointInPath(path, (place % 24) + 0.5, Math.floor(place / 24) + 0.5, "evenodd")));
        }""",
        mask.ravel().tolist(),
    )
    assert inside == mask.ravel().tolist()


def test_fingers_move_through_slices_and_zoom(server: Serving, browser: Any, volume: Path) -> None:
    with browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True) as context:
        person = Person(context.new_page(), server.address)
        person.arrive()
        person.give(volume)
        fingers = context.new_cdp_session(person.page)
        box = person.page.locator("#slice").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

        def touch(kind: str, *points: float) -> None:
            places = [{"x": x + point, "y": y, "id": index} for index, point in enumerate(points)]
            fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

        touch("touchStart", 0)
        for step in range(1, 7):
            touch("touchMove", step * 6)
        touch("touchEnd")
        sync_api.expect(person.page.locator("#slice-text")).to_have_text("Slice 4 of 4")
        person.page.locator("#largest").click()
        before = person.canvas()
        touch("touchStart", -30, 30)
        for step in range(1, 6):
            touch("touchMove", -30 - 10 * step, 30 + 10 * step)
        touch("touchEnd")
        assert person.canvas() != before
        assert person.slice() == "Slice 2 of 4"
        assert person.page.locator("#slice").get_attribute("data-mode") == "pan"
        person.page.locator("#zoom-fit").click()
        assert person.canvas() == before
        assert person.errors == []


def test_several_classes_have_their_own_outlines_and_brushes(browser: Any, tmp_path: Path) -> None:
    kernel = np.zeros((3, 3, 1, 1), np.float32)
    kernel[1, 1], kernel[2, 2] = GAIN, 1.5 * GAIN
    bias = np.array([0, -OFFSET, -1.5 * OFFSET], np.float32)
    model = write_model(tmp_path / "model", kernel=kernel, bias=bias, classes=("oedema", "core"))
    flair, post = marked(), marked()
    post[:, :, 18:] = 10
    channels = np.stack([marked(), flair, post], axis=-1)
    path = write_nifti(tmp_path / "head.nii.gz", channels)
    with serving(tmp_path / "server", model) as server, browser.new_context() as context:
        person = Person(context.new_page(), server.address)
        person.arrive()
        person.give(path)
        assert person.page.locator("#key-box span").all_inner_texts() == ["Oedema", "Core"]
        before = person.measure("volume")
        person.slide("threshold", 0.52)
        assert person.measure("volume") == before
        person.open_panel("correct-panel")
        person.page.locator("#brush-class").select_option(label="Core")
        person.press("b")
        box = person.page.locator("#slice").bounding_box()
        person.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.8)
        assert person.page.locator("#measures small").first.inner_text() != f"{VOXELS:,} voxels"
        person.press("Control+s")
        sync_api.expect(person.page.locator("#edit-note")).to_contain_text("Saved")
        assert person.errors == []


def test_every_control_has_a_name_and_can_be_reached_with_the_keyboard(person: Person, volume: Path) -> None:
    person.arrive()
    person.give(volume)
    for name in ("correct-panel", "reference-panel", "download-panel"):
        person.open_panel(name)
    nameless = person.page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, canvas:not([aria-hidden])")]
            .filter((one) => !one.hidden)
            .filter((one) => !(one.getAttribute("aria-label") || one.textContent.trim() || one.labels?.length))
            .map((one) => one.outerHTML)"""
    )
    assert nameless == []
    reached = set()
    person.page.locator(".skip").focus()
    for _ in range(80):
        reached.add(person.page.evaluate("document.activeElement.id"))
        person.page.keyboard.press("Tab")
    wanted = {"pick-files", "pick-folder", "slice", "slice-slider", "threshold", "outline", "fill", "opacity"}
    assert wanted | {"brightness", "contrast", "brush-size", "pick-reference", "model", "theme", "help"} <= reached
    person.page.locator("#largest").focus()
    for _ in range(2):
        person.page.keyboard.press("ArrowRight")
    assert person.page.evaluate("document.activeElement.id") == "zoom-fit"


def test_the_installed_package_holds_the_whole_page() -> None:
    from tumorseg.web.offers import static_folder

    folder = static_folder()
    page = (folder / "index.html").read_text(encoding="utf-8")
    asked = set(re.findall(r'(?:src|href)="/static/([^"]+)"', page))
    for script in folder.glob("*.js"):
        asked |= set(re.findall(r'from "\./([^"]+)"', script.read_text(encoding="utf-8")))
    assert asked
    assert asked <= {path.name for path in folder.iterdir()}
    for path in folder.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|eval\(|style=\"|\son[a-z]+=\"", text), path
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)[a-z]", text), path


def test_real_scans_open(person: Person) -> None:
    data = Path(os.environ.get("TUMORSEG_TEST_DATA", ""))
    if not os.environ.get("TUMORSEG_TEST_DATA"):
        pytest.skip("TUMORSEG_TEST_DATA names no folder with real scans")
    case = data / "nifti" / "brats_2013_pat0005_1"
    person.arrive()
    person.page.set_input_files("#files", [str(case / f"{name}_subtrMeanDivStd.nii.gz") for name in ("Flair", "T1c")])
    person.page.get_by_role("dialog").get_by_role("button", name="Segment").click()
    person.opened()
    assert person.slice().endswith("of 155")
    series = sorted((data / "dicom" / "T1w").iterdir())
    person.page.evaluate("history.replaceState(null, '', '/')")
    person.give(*series)
    assert person.slice().endswith("of 20")
