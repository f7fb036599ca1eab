"""Files of a segmented scan, written in a worker process when somebody asks for them."""

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tumorseg.errors import FormatError
from tumorseg.formats import FORMATS, find_format
from tumorseg.inference.inputs import InputScan
from tumorseg.inference.mask_files import Grid, write_mask_files
from tumorseg.inference.measure import measure, measure_slices
from tumorseg.inference.places import mask_suffix
from tumorseg.scan import Mask, Segmentation
from tumorseg.web.stored import EDIT, StoredScan, finite, write_array


def export(scan: StoredScan, kind: str, output: Path, *, threshold: float | None, edited: bool) -> Path:
    """Write one file of a scan.

    Args:
        scan: of a job.
        kind: one of `downloads.KINDS`.
        output: a new folder for it.
        threshold: None takes the model's.
        edited: take the mask that a person corrected, where there is one.

    Returns:
        The file, whose name says nothing of the scan but its number.

    Raises:
        TumorsegError: this scan has no such file.
    """
    output.mkdir(mode=0o700)
    mask = scan.mask(threshold=threshold, edited=edited)
    return _WRITERS[kind](scan, mask, output)


def export_all(
    scans: Sequence[StoredScan],
    failures: Sequence[Mapping[str, str]],
    model: str,
    output: Path,
    *,
    threshold: float | None,
    edited: bool,
) -> Path:
    """Write the masks of all scans of a job with summary.csv and summary.json into one ZIP."""
    from tumorseg.inference.model import read_model
    from tumorseg.inference.summary import SUMMARY_CSV, SUMMARY_JSON, Outcome, Result, summary_rows
    from tumorseg.inference.walking import Failure

    output.mkdir(mode=0o700)
    outcome = Outcome(failures=[Failure(Path(f"file {n}"), each["reason"]) for n, each in enumerate(failures, start=1)])
    with summary_rows() as rows:
        for scan in scans:
            mask = scan.mask(threshold=threshold, edited=edited)
            written = _mask_files(scan, mask, output / scan.record["id"])
            changed = threshold is not None or (edited and (scan.folder / EDIT).is_file())
            numbers = _measured(scan, mask) if changed else _numbers(scan.record["measurements"])
            result = Result(
                id=scan.record["id"],
                status="segmented",
                sources=(),
                masks=tuple(path.relative_to(output) for path in written),
                slices=measure_slices(mask, spacing=scan.spacing),
                measurements=numbers,
                warnings=scan.cautions,
            )
            outcome.count(result)
            rows.add(result)
        rows.write(output, outcome, read_model(model).spec)
    files = sorted(
        path for path in output.rglob("*") if path.is_file() and path.name not in (SUMMARY_CSV, SUMMARY_JSON)
    )
    return _zipped(output / "results.zip", output, [output / SUMMARY_CSV, output / SUMMARY_JSON, *files])


def correct(scan: StoredScan, body: Path) -> dict[str, Any]:
    """Keep a mask that a person corrected, and measure it.

    Args:
        scan: of a job.
        body: (slices, height, width) uint8 in C order, of exactly that size.

    Raises:
        FormatError: it holds other values than the scan's classes.
    """
    import numpy as np

    mask: Mask = np.fromfile(body, np.uint8).reshape(scan.shape)
    if int(mask.max(initial=0)) > len(scan.classes):
        raise FormatError(
            f"the mask holds {int(mask.max())}, and this scan's classes end with {len(scan.classes)}",
            next_step="send 0 for background and 1 for the first class",
        )
    measured = described(scan, mask)
    write_array(scan.folder / EDIT, mask)
    return measured


def described(scan: StoredScan, mask: Mask) -> dict[str, Any]:
    """The numbers of a mask that is not the model's own, as the page shows them."""
    import numpy as np

    numbers = _measured(scan, mask)
    slices = measure_slices(mask, spacing=scan.spacing)
    result: dict[str, Any] = finite(
        {
            "measurements": numbers,
            "tumour_voxels": int(np.count_nonzero(mask)),
            "tumour_volume_ml": numbers.get("tumour_ml"),
            "slices": {
                "number": scan.record["slices"]["number"],
                "tumour_pixels": list(slices.pixels),
                "area_mm2": list(slices.areas) or None,
                "diameter": list(slices.diameters),
                "diameter_unit": scan.record["slices"]["diameter_unit"],
            },
        }
    )
    return result


def _measured(scan: StoredScan, mask: Mask) -> dict[str, float]:
    import numpy as np

    from tumorseg.web.stored import FINE

    return measure(
        mask,
        probability=np.load(scan.folder / FINE, mmap_mode="r"),
        spacing=scan.spacing,
        geometry=scan.geometry,
        pixels=scan.shown(),
    )


def _numbers(kept: Mapping[str, Any]) -> dict[str, float]:
    return {name: float("nan") if value is None else value for name, value in kept.items()}


def _mask_files(scan: StoredScan, mask: Mask, folder: Path, wanted: str = "same") -> tuple[Path, ...]:
    """The mask in the format of its scan's files, or in `wanted`, under neutral names."""
    folder.mkdir(mode=0o700, exist_ok=True)
    record = scan.record
    grid = _grid(scan)
    suffix = mask_suffix(grid.format, _suffix(grid.sources[0]), wanted)
    identity = record["id"]
    if record["targets"] == 1 or wanted in ("nifti", "dicom-seg"):
        targets = [folder / f"{identity}-mask{suffix}"]
    else:
        targets = [folder / f"{identity}_{number}_mask{suffix}" for number in record["slices"]["number"]]
    written = write_mask_files(mask, targets, scan.scan(), grid, wanted, scan.classes, record["model"])
    return tuple(file for path in written for file in (sorted(path.iterdir()) if path.is_dir() else [path]))


def _grid(scan: StoredScan) -> Grid:
    kind = next(entry for entry in FORMATS.values() if entry.name == scan.record["format_name"])
    return Grid(kind, tuple(Path(path) for path in scan.record["grid"]), tuple(scan.record["slice_numbers"]))


def _suffix(path: Path) -> str:
    kind = find_format(path)
    return next((suffix for suffix in kind.suffixes if path.name.endswith(suffix)), "") if kind else ""


def _mask(scan: StoredScan, mask: Mask, output: Path) -> Path:
    return _one(scan, _mask_files(scan, mask, output / "files"), output, "mask")


def _nifti(scan: StoredScan, mask: Mask, output: Path) -> Path:
    return _mask_files(scan, mask, output / "files", "nifti")[0]


def _dicom_seg(scan: StoredScan, mask: Mask, output: Path) -> Path:
    return _mask_files(scan, mask, output / "files", "dicom-seg")[0]


def _overlay(scan: StoredScan, mask: Mask, output: Path) -> Path:
    import cv2

    from tumorseg.inference.overlay import grey_window, overlay_slice

    segmentation = _segmentation(scan, mask)
    window = grey_window(segmentation.scan)
    folder = output / "files"
    folder.mkdir(mode=0o700)
    written = []
    for index, number in enumerate(scan.record["slices"]["number"]):
        picture = overlay_slice(segmentation, index, window)
        path = folder / (f"{scan.record['id']}-overlay.png" if len(mask) == 1 else f"{number}.png")
        path.write_bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
        written.append(path)
    return _one(scan, written, output, "overlay")


def _contours(scan: StoredScan, mask: Mask, output: Path) -> Path:
    from tumorseg.inference.contours import contours

    found = contours(_segmentation(scan, mask), scan.classes)
    for entry in found["slices"]:
        entry.pop("source", None)  # the server's own name of the file
    path = output / f"{scan.record['id']}-contours.json"
    path.write_text(json.dumps(found), encoding="utf-8")
    return path


def _report(scan: StoredScan, mask: Mask, output: Path) -> Path:
    from tumorseg.web.report import write_report

    path = output / f"{scan.record['id']}-report.pdf"
    write_report(path, scan, _segmentation(scan, mask), described(scan, mask))
    return path


def _training(scan: StoredScan, mask: Mask, output: Path) -> Path:
    """The scan as it was read, with this mask, in the layout of one's own images; see docs/data.md."""
    import numpy as np
    import yaml

    from tumorseg.formats.numpy_file import AFFINE, CHANNELS, IMAGE, MASK
    from tumorseg.inference.loading import load
    from tumorseg.inference.sequence_choice import SequenceChoice

    record = scan.record
    grid = _grid(scan)
    sequences = tuple((name, tuple(map(Path, files))) for name, files in record["sequences"])
    entry = InputScan(
        id=record["id"],
        sources=scan.sources,
        slice_numbers=tuple(record["slice_numbers"]),
        targets=(),
        format=grid.format,
        sequences=sequences,
    )
    choice = SequenceChoice(indices=record["indices"])
    loaded = load(entry, choice=choice, wanted=record["model_channels"])
    if loaded.scan is None:
        raise FormatError("the scan cannot be read any more", next_step="send it again")
    identity = record["id"]
    folder = output / "files"
    (folder / "scans").mkdir(parents=True, mode=0o700)
    arrays: dict[str, Any] = {
        IMAGE: loaded.scan.pixels,
        MASK: mask,
        "slice_numbers": np.array(record["slices"]["number"], np.int64),
        CHANNELS: np.array(loaded.scan.channels),
        "classes": np.array(scan.classes),
    }
    if loaded.scan.geometry is not None:
        arrays[AFFINE] = loaded.scan.geometry.affine
    np.savez_compressed(folder / "scans" / f"{identity}.npz", **arrays)
    place = f"scans/{identity}.npz"
    (folder / "dataset.csv").write_text(
        f"image,mask,patient,scan\n{place},{place},{identity},{identity}\n", encoding="utf-8"
    )
    words = {"channels": list(loaded.scan.channels), "classes": list(scan.classes)}
    (folder / "dataset.yaml").write_text(yaml.safe_dump(words), encoding="utf-8")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return _zipped(output / f"{identity}-training.zip", folder, files)


def _segmentation(scan: StoredScan, mask: Mask) -> Segmentation:
    import numpy as np

    from tumorseg.web.stored import FINE

    return Segmentation(scan.scan(), mask, np.load(scan.folder / FINE, mmap_mode="r"), {}, scan.cautions)


def _one(scan: StoredScan, files: Sequence[Path], output: Path, kind: str) -> Path:
    """The one file there is, or a ZIP of all."""
    if len(files) == 1:
        return files[0]
    return _zipped(output / f"{scan.record['id']}-{kind}.zip", files[0].parent, files)


def _zipped(path: Path, root: Path, files: Sequence[Path]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in files:
            archive.write(file, file.relative_to(root))
    return path


_WRITERS: dict[str, Callable[[StoredScan, Mask, Path], Path]] = {
    "mask": _mask,
    "nifti": _nifti,
    "dicom-seg": _dicom_seg,
    "overlay": _overlay,
    "contours": _contours,
    "report": _report,
    "training": _training,
}
