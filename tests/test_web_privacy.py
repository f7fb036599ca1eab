"""A patient's name is in the scan, and nowhere else: not in a log, an error, an address, or a name on the disk."""

import io
import logging
import zipfile
from pathlib import Path

import pydicom
import pytest

from segmenting import marked, write_dicom
from tiny_model import write_model
from web_server import png, send, serving

MARK = "XQZMARKER"


def marked_series(folder: Path) -> list[Path]:
    """A DICOM series that names its patient wherever it can."""
    paths = write_dicom(folder, marked(3), names=[f"{MARK}_{n}.dcm" for n in range(3)], description="FLAIR")
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.PatientName, dataset.PatientID, dataset.AccessionNumber = f"{MARK}^Jo", f"{MARK}1", MARK
        dataset.OtherPatientIDs, dataset.InstitutionName, dataset.StudyDescription = MARK, MARK, MARK
        dataset.save_as(path)
    return paths


def test_a_patients_name_is_told_to_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    for client in ("httpx2", "httpcore2"):  # which asks for the marked addresses here, and says so where it may
        caplog.set_level(logging.WARNING, logger=client)
    paths = marked_series(tmp_path / MARK)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in paths:
            archive.write(path, f"{MARK}/{MARK}/{path.name}")
        archive.writestr(f"{MARK}/{MARK}.tif", b"damaged")
        archive.writestr(f"{MARK}/{MARK}.png", png())
    said: list[str] = []
    model = write_model(tmp_path / "model")
    with serving(tmp_path / "server", model) as server, server.person() as owner, server.person() as other:
        uploads = [(f"{MARK}/{path.name}", path.read_bytes()) for path in paths]
        jobs = [
            send(owner, (f"{MARK}.zip", buffer.getvalue())),
            send(owner, *uploads, (f"{MARK}_damaged.dcm", b"DICM" * 100)),
            send(owner, (f"{MARK}.tif", b"damaged")),
            send(owner, (f"{MARK}.png", png()), channels=f"flair={MARK}_other.png"),
        ]
        assert [job["status"] for job in jobs] == ["done", "done", "failed", "failed"]
        said += [str(job["error"]) for job in jobs]
        said += [failure["reason"] for job in jobs for failure in job["failures"]]
        for job in jobs[:2]:
            for scan in job["scans"]:
                place = f"/v1/segmentations/{job['id']}/scans/{scan['index']}"
                said.append(str(scan["warnings"]))
                for kind in scan["downloads"]:
                    answer = owner.get(f"{place}/files/{kind}")
                    said.append(f"{answer.url} {dict(answer.headers)}")
                    segmentation = kind == "dicom-seg" or (kind == "mask" and scan["format"] == "DICOM")
                    if not segmentation:  # which must name whose it is, for the archive it goes to
                        assert MARK.encode() not in answer.content
            said.append(str(dict(owner.get(f"/v1/segmentations/{job['id']}/results").headers)))
        folder = server.server.folder.path
        said += [str(path.relative_to(folder)) for path in folder.rglob("*")]
        for path in ("/v1/segmentations", f"/v1/segmentations/{jobs[0]['id']}", "/v1/models", "/openapi.json"):
            said.append(other.get(path).text)
        said += [owner.get("/metrics").text, owner.get(f"/v1/{MARK}").text, owner.get(f"/static/{MARK}").text]
        said.append(owner.post(f"/v1/examples/{MARK}").text)
        said.append(owner.get(f"/v1/models/{MARK}/card").text)
    captured = capfd.readouterr()
    own = "\n".join(
        record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))
    )
    said += [own, captured.out, captured.err]
    assert [text for text in said if MARK.lower() in text.lower()] == []


def test_only_the_owner_is_told_the_files_own_name(tmp_path: Path) -> None:
    with serving(tmp_path / "server", write_model(tmp_path / "model")) as server, server.person() as owner:
        job = send(owner, (f"{MARK}.png", png()))
        assert job["scans"][0]["name"] == f"{MARK}.png"
        assert not [name for name in server.files if MARK in name]
