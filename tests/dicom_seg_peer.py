"""DICOM-SEG by others: highdicom, an independent implementation that writes it, and dciodvfy, which judges it."""

import shutil
import subprocess
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest


def theirs_of(
    paths: list[Path],
    mask: np.ndarray,
    classes: tuple[str, ...],
    path: Path,
    *,
    kind: str = "BINARY",
    software: str = "1",
) -> Path:
    """Write to `path` what highdicom writes; `mask` and `paths` in the order of the stored frames."""
    code = highdicom.sr.CodedConcept
    identity = highdicom.AlgorithmIdentificationSequence(
        name="box", version="1.0", family=code("123110", "DCM", "Artificial Intelligence")
    )
    described = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=code("49755003", "SCT", "Morphologically Abnormal Structure"),
            segmented_property_type=code("108369006", "SCT", "Neoplasm"),
            algorithm_type="AUTOMATIC",
            algorithm_identification=identity,
        )
        for number, name in enumerate(classes, start=1)
    ]
    highdicom.seg.Segmentation(
        [pydicom.dcmread(each) for each in paths],
        mask,
        kind,
        described,
        series_instance_uid=highdicom.UID(),
        series_number=9100,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="tumorseg",
        manufacturer_model_name="tumorseg",
        software_versions=software,
        device_serial_number="0",
        series_description="Tumour outline, drawn by a program",
        content_label="TUMOUR",
        content_description="Not a medical device; review before use",
        omit_empty_frames=bool(mask.any()),
    ).save_as(path)
    return path


def errors_of(path: Path) -> list[str]:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy of dicom3tools is not installed")
    done = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    assert any("Segmentation" in line for line in lines)
    return [line for line in lines if line.startswith("Error")]
