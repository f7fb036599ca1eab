"""From an upload to masks, files and numbers: what the server answers to a person who does everything right."""

import gzip
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import nibabel as nib
import numpy as np
import pydicom
import pytest
import tifffile

from segmenting import COLUMNS, ROWS, SIZE, expected, marked, write_dicom, write_nifti
from tiny_model import write_model
from tumorseg.api.dataset import open_dataset
from web_server import Serving, is_problem, png, send, serving, wait_for


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("web")
    with serving(folder / "server", write_model(folder / "model"), max_jobs=1000) as found:
        yield found


@pytest.fixture
def person(server: Serving) -> Iterator[httpx2.Client]:
    with server.person() as client:
        yield client


def packed(files: dict[str, bytes]) -> bytes:
    """A ZIP."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def dicom_zip(tmp_path: Path) -> bytes:
    paths = write_dicom(tmp_path / "series", marked(4, dtype=np.uint16))
    return packed({f"study/series/{path.name}": path.read_bytes() for path in paths})


def tiff_files(count: int = 4) -> list[tuple[str, bytes]]:
    """Numbered slices as a dropped folder sends them, in no order."""
    files = []
    for index, frame in enumerate(marked(count, bright=200, dtype=np.uint8)):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, frame)
        files.append((f"case/x_{index + 9}.tif", buffer.getvalue()))
    return files[::-1]


def volume(person: httpx2.Client, job: str, which: str, scan: int = 1) -> np.ndarray:
    answer = person.get(f"/v1/segmentations/{job}/scans/{scan}/volume/{which}")
    assert answer.status_code == 200
    shape = tuple(map(int, answer.headers["x-shape"].split(",")))
    return np.frombuffer(answer.content, np.uint8).reshape(shape)


def test_a_slice_is_segmented_while_the_client_waits(person: httpx2.Client) -> None:
    job = send(person)
    (scan,) = job["scans"]
    assert job["status"] == "done" and job["error"] is None and job["failures"] == []
    assert scan["shape"] == [1, SIZE, SIZE]
    assert scan["tumour_voxels"] == np.count_nonzero(expected(1))
    assert scan["index"] == 1 and scan["name"] == "scan.png" and scan["format"] == "PNG"
    assert [warning["code"] for warning in scan["warnings"]] == ["assumed", "missing"]


def test_without_waiting_the_answer_names_where_to_ask(person: httpx2.Client) -> None:
    answer = person.post("/v1/segmentations", files={"file": ("scan.png", png())})
    assert answer.status_code == 202
    wait_for(lambda: person.get(answer.headers["location"]).json()["status"] == "done")
    listed = person.get("/v1/segmentations").json()["jobs"]
    assert [job["id"] for job in listed] == [answer.json()["id"]]


def test_numbered_slices_of_a_dropped_folder_are_one_scan(person: httpx2.Client) -> None:
    job = send(person, *tiff_files())
    (scan,) = job["scans"]
    assert scan["name"] == "case" and scan["shape"] == [4, SIZE, SIZE] and job["files"] == 4
    detail = person.get(f"/v1/segmentations/{job['id']}/scans/1").json()
    assert detail["slices"]["number"] == [9, 10, 11, 12]
    assert detail["slices"]["tumour_pixels"] == expected(4).sum(axis=(1, 2)).tolist()
    assert detail["measurements"]["tumour_voxels"] == expected(4).sum()


def test_volumes_are_the_bytes_that_their_shape_says(person: httpx2.Client) -> None:
    job = send(person, *tiff_files())
    image, probability = volume(person, job["id"], "image"), volume(person, job["id"], "probability")
    assert image.shape == (4, SIZE, SIZE, 1) and probability.shape == (4, SIZE, SIZE)
    assert np.array_equal(probability > 127, expected(4))
    assert image[expected(4)].min() == 255 and image[~expected(4)].max() == 0
    plain = person.get(f"/v1/segmentations/{job['id']}/scans/1/volume/image", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers and plain.content == image.tobytes()


def test_a_dicom_study_comes_back_as_a_segmentation_of_its_images(person: httpx2.Client, tmp_path: Path) -> None:
    job = send(person, ("study.zip", dicom_zip(tmp_path)))
    (scan,) = job["scans"]
    assert scan["spacing"] == [4.0, 1.0, 1.0] and "dicom-seg" in scan["downloads"]
    assert scan["tumour_volume_ml"] == pytest.approx(expected(4).sum() * 4 / 1000)
    answer = person.get(f"/v1/segmentations/{job['id']}/scans/1/files/dicom-seg")
    assert answer.headers["content-disposition"] == 'attachment; filename="scan-1-mask.dcm"'
    written = pydicom.dcmread(io.BytesIO(answer.content))
    assert written.Modality == "SEG"
    assert np.count_nonzero(written.pixel_array) == expected(4).sum()


def test_a_nifti_mask_lies_where_its_scan_does(person: httpx2.Client, tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "v.nii.gz", marked(4))
    job = send(person, ("v.nii.gz", path.read_bytes()))
    for kind in ("mask", "nifti"):
        content = person.get(f"/v1/segmentations/{job['id']}/scans/1/files/{kind}").content
        mask = tmp_path / f"{kind}.nii.gz"
        mask.write_bytes(content)
        assert np.array_equal(nib.load(mask).affine, nib.load(path).affine)
        assert np.array_equal(np.asarray(nib.load(mask).dataobj).T > 0, expected(4))


def test_sequences_in_several_files_are_assigned_by_their_own_names(person: httpx2.Client, tmp_path: Path) -> None:
    dark = write_nifti(tmp_path / "a.nii.gz", marked(4, bright=10)).read_bytes()
    bright = write_nifti(tmp_path / "b.nii.gz", marked(4)).read_bytes()
    files = [(f"cases/{name}", content) for name, content in (("p_t1.nii.gz", dark), ("p_fl.nii.gz", bright))]
    job = send(person, *files, channels="post=*_t1.nii.gz flair=*_fl.nii.gz")
    (scan,) = job["scans"]
    assert scan["channels"] == ["flair", "post"]
    assert scan["tumour_voxels"] == expected(4).sum()
    swapped = send(person, *files, channels="flair=*_t1.nii.gz post=*_fl.nii.gz")
    assert swapped["scans"][0]["tumour_voxels"] == 0


def test_a_reference_gives_scores_and_a_lower_threshold_changes_them(person: httpx2.Client) -> None:
    job = send(person)
    place = f"/v1/segmentations/{job['id']}/scans/1"
    is_problem(person.get(f"{place}/scores"), 409)
    half = expected(1)[0].copy()
    half[:, (COLUMNS.start + COLUMNS.stop) // 2 :] = False
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, half.astype(np.uint8) * 255)
    scores = person.put(f"{place}/reference", files={"file": ("r.tif", buffer.getvalue())}).json()
    assert scores["dice"] == pytest.approx(2 / 3) and scores["recall"] == 1 and scores["hd95_unit"] == "px"
    assert np.array_equal(volume(person, job["id"], "reference")[0] > 0, half)
    everything = person.get(f"{place}/scores", params={"threshold": 0}).json()
    assert everything["dice"] == pytest.approx(2 * half.sum() / (half.sum() + SIZE * SIZE))
    assert person.get(place).json()["scores"]["dice"] == scores["dice"]


def test_a_reference_may_come_with_the_scan(person: httpx2.Client) -> None:
    mask = io.BytesIO()
    tifffile.imwrite(mask, expected(1)[0].astype(np.uint8) * 255)
    parts = [("file", ("s.png", png())), ("reference", ("s_mask.tif", mask.getvalue()))]
    job = person.post("/v1/segmentations", files=parts, data={"wait": "50"}).json()
    assert job["scans"][0]["has_reference"]
    assert person.get(f"/v1/segmentations/{job['id']}/scans/1/scores").json()["dice"] == 1


def test_references_of_several_scans_are_found_by_their_names(person: httpx2.Client) -> None:
    mask = io.BytesIO()
    tifffile.imwrite(mask, expected(1)[0].astype(np.uint8) * 255)
    named = [("a/x.png", png()), ("b/x.png", png()), ("c/y.png", png())]
    parts = [("file", entry) for entry in named]
    parts += [("reference", (name, mask.getvalue())) for name in ("b/x_mask.tif", "y_mask.tif", "z_mask.tif")]
    job = person.post("/v1/segmentations", files=parts, data={"wait": "50"}).json()
    assert [scan["has_reference"] for scan in job["scans"]] == [False, True, True]
    assert [failure["file"] for failure in job["failures"]] == ["z_mask.tif"]


def test_where_sequences_must_be_named_the_problem_says_so(person: httpx2.Client) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((3, SIZE, SIZE, 2), np.uint8))
    job = send(person, ("two.npy", buffer.getvalue()))
    assert job["error"]["type"] == "urn:tumorseg:sequences" and job["error"]["detail"].startswith("file 1 has 2 ")
    named = send(person, ("two.npy", buffer.getvalue()), channels="flair=1 post=0")
    assert named["scans"][0]["channels"] == ["flair", "post"]


def test_a_correction_is_measured_and_goes_into_every_file(person: httpx2.Client) -> None:
    job = send(person)
    place = f"/v1/segmentations/{job['id']}/scans/1"
    mask = np.zeros((1, SIZE, SIZE), np.uint8)
    mask[0, 1:3, 1:6] = 1
    is_problem(person.get(f"{place}/volume/edit"), 404)
    measured = person.put(f"{place}/edit", content=mask.tobytes()).json()
    assert measured["tumour_voxels"] == 10 and measured["measurements"]["components"] == 1
    assert person.get(place).json()["edited"]
    assert np.array_equal(volume(person, job["id"], "edit"), mask)
    assert np.array_equal(volume(person, job["id"], "mask") > 0, expected(1))
    content = person.get(f"{place}/files/nifti", params={"edited": "true"}).content
    assert np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(content)).dataobj).sum() == 10
    is_problem(person.put(f"{place}/edit", content=mask.tobytes()[:-1]), 422)
    is_problem(person.put(f"{place}/edit", content=(mask * 2).tobytes()), 422)
    assert person.delete(f"{place}/edit").status_code == 204
    assert not person.get(place).json()["edited"]
    content = person.get(f"{place}/files/nifti", params={"edited": "true"}).content
    assert np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(content)).dataobj).sum() == expected(1).sum()


def test_the_training_file_is_read_back_as_a_data_set(person: httpx2.Client, tmp_path: Path) -> None:
    job = send(person, *tiff_files())
    place = f"/v1/segmentations/{job['id']}/scans/1"
    mask = np.zeros((4, SIZE, SIZE), np.uint8)
    mask[2, 5:9, 5:9] = 1
    person.put(f"{place}/edit", content=mask.tobytes())
    content = person.get(f"{place}/files/training", params={"edited": "true"}).content
    zipfile.ZipFile(io.BytesIO(content)).extractall(tmp_path / "own")
    (scan,) = open_dataset(tmp_path / "own").scans
    assert np.array_equal(scan.pixels[..., 0], marked(4, bright=200, dtype=np.uint8))
    assert np.array_equal(scan.reference, mask)


@pytest.mark.parametrize(
    ("kind", "start"), [("report", b"%PDF-"), ("overlay", b"PK"), ("contours", b"{"), ("mask", b"PK")]
)
def test_every_kind_of_file_is_what_it_says(person: httpx2.Client, kind: str, start: bytes) -> None:
    job = send(person, *tiff_files())
    answer = person.get(f"/v1/segmentations/{job['id']}/scans/1/files/{kind}")
    assert answer.status_code == 200 and answer.content.startswith(start)
    assert "attachment" in answer.headers["content-disposition"]


def test_several_scans_come_as_one_zip_with_a_summary(person: httpx2.Client, server: Serving) -> None:
    job = send(person, ("a.png", png()), ("b.png", png(10)), ("c.png", b"no picture"))
    assert [scan["tumour_voxels"] > 0 for scan in job["scans"]] == [True, False]
    (failure,) = job["failures"]
    assert failure["file"] == "c.png" and failure["reason"].startswith("file 3 ")
    answer = person.get(f"/v1/segmentations/{job['id']}/results")
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    names = archive.namelist()
    assert {"summary.csv", "summary.json", "scan-1/scan-1-mask.png", "scan-2/scan-2-mask.png"} == set(names)
    summary = json.loads(archive.read("summary.json"))
    assert [scan["measurements"]["tumour_voxels"] for scan in summary["scans"]] == [expected(1).sum(), 0]
    wait_for(lambda: not any("out-" in name for name in server.files))


def test_an_example_is_segmented_with_its_reference(person: httpx2.Client) -> None:
    (first, *_) = person.get("/v1/examples").json()["examples"]
    answer = person.post(f"/v1/examples/{first['name']}", params={"wait": 50})
    assert answer.status_code == 201
    (scan,) = answer.json()["scans"]
    assert scan["has_reference"] and scan["shape"][0] == 12
    is_problem(person.post("/v1/examples/nothing"), 404)


def test_what_is_deleted_is_gone_from_the_disk(person: httpx2.Client, server: Serving) -> None:
    job = send(person)
    before = server.files
    assert person.delete(f"/v1/segmentations/{job['id']}").status_code == 204
    is_problem(person.get(f"/v1/segmentations/{job['id']}"), 404)
    assert len(server.files) < len(before)
    assert person.get("/v1/segmentations").json() == {"jobs": []}


def test_models_cards_and_limits_are_told(person: httpx2.Client, server: Serving) -> None:
    (model,) = person.get("/v1/models").json()["models"]
    assert model["name"] == "tiny" and model["default"] and model["classes"] == ["tumour"]
    is_problem(person.get("/v1/models/tiny/card"), 404)
    assert person.get("/v1/limits").json()["max_slices"] == server.server.settings.max_slices
    is_problem(person.post("/v1/segmentations", files={"file": ("s.png", png())}, data={"model": "other"}), 422)


def test_the_server_says_how_it_is(person: httpx2.Client) -> None:
    send(person)
    assert person.get("/healthz").json() == {"status": "ok"}
    assert person.get("/readyz").status_code == 200
    text = person.get("/metrics").text
    assert 'tumorseg_jobs_total{status="done"}' in text
    assert "tumorseg_queue_length 0.0" in text


def test_the_marker_is_where_it_was_drawn(person: httpx2.Client) -> None:
    job = send(person)
    contours = person.get(f"/v1/segmentations/{job['id']}/scans/1/files/contours").json()
    ((loop,),) = [entry["contours"] for entry in contours["slices"]]
    corners = np.array(loop["pixels"])
    assert corners[:, 1].min() == ROWS.start - 0.5 and corners[:, 1].max() == ROWS.stop - 0.5
    assert "source" not in contours["slices"][0]
