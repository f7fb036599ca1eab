"""A job's work, in a worker process: find the scans of an upload, segment them, keep what the page and files need."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import DataError, FormatError, TumorsegError
from tumorseg.inference.inputs import InputScan, Listing, find_inputs
from tumorseg.inference.loading import Loaded, load
from tumorseg.inference.measure import measure_slices
from tumorseg.inference.model import ModelSpec, read_model
from tumorseg.inference.position import side
from tumorseg.inference.predictor import Predictor
from tumorseg.inference.runtime import Device
from tumorseg.inference.sequence_choice import refuse_useless
from tumorseg.scan import Scan, Segmentation
from tumorseg.web.arranged import Arranged, Upload, arrange
from tumorseg.web.problems import Refused, without_paths
from tumorseg.web.reference import keep_references, scan_keys
from tumorseg.web.stored import FINE, IMAGE, MASK, PROBABILITY, finite, write_array, write_raw, write_record

WHITE = 99.95
"""Percentile of a channel that is shown as white."""

_SAMPLE = 2_000_000


@dataclass(frozen=True)
class Work:
    """What a worker is told of a job.

    Attributes:
        folder: of the job, private.
        model: where the model lies.
        channels: words as of `--channels`.
        uploads, references: files as they came.
        max_files, max_unpacked_bytes, max_slices, max_pixels: see `ServeSettings`.
    """

    folder: Path
    model: str
    channels: str
    uploads: tuple[Upload, ...]
    references: tuple[Upload, ...]
    max_files: int
    max_unpacked_bytes: int
    max_slices: int
    max_pixels: int


@dataclass
class Segmenter:
    """Models that are ready, and the way of a job through one of them.

    Attributes:
        device: where networks compute.
        done: told how many slices have been computed since the last time; may raise to end the job.
    """

    device: Device = "auto"
    done: Callable[[int], None] = lambda _: None
    _ready: dict[str, Predictor] = field(default_factory=dict)

    def ready(self, model: str) -> Predictor:
        """The predictor of a model, made once."""
        if model not in self._ready:
            self._ready[model] = Predictor(read_model(model), device=self.device, watch=lambda count: self.done(count))
        return self._ready[model]

    def warm(self, model: str) -> None:
        """Let a network compute once, since the first time takes longest."""
        predictor = self.ready(model)
        channels = predictor.spec.channels
        pixels = np.zeros((1, 64, 64, len(channels)), np.uint8)
        predictor.segment(Scan("warm", "warm", channels, lambda: pixels))

    def segment(self, work: Work, begun: Callable[[int], None]) -> dict[str, Any]:
        """Segment all scans of a job; what cannot be read is listed, unless it is all there is.

        Args:
            work: what to do.
            begun: told how many slices there are.

        Returns:
            `scans`, the records of all, and `failures`, with the user's own name of each file and why.

        Raises:
            Refused: more than the server takes.
            TumorsegError: nothing of it can be segmented.
        """
        predictor = self.ready(work.model)
        arranged = arrange(
            work.uploads,
            work.channels,
            work.folder / "inputs",
            max_files=work.max_files,
            max_bytes=work.max_unpacked_bytes,
        )
        known = arranged.known()
        failures: list[dict[str, str]] = [
            {"file": str(name), "reason": without_paths(str(error), {**known, str(path): "it"})}
            for name, path, error in arranged.failures
        ]
        listing = _listing(arranged, work, predictor)
        slices, pixels = _sizes(listing)
        if slices > work.max_slices:
            raise Refused(413, f"there are {slices:,} slices, more than {work.max_slices:,}", next_step="send fewer")
        if pixels > work.max_pixels:
            raise Refused(
                413,
                f"there are {pixels:,} pixels (all channels counted), more than {work.max_pixels:,}",
                next_step="send fewer or smaller scans",
            )
        begun(slices)
        records: list[dict[str, Any]] = []
        for failure in listing.failures:
            failures.append(_failure(failure.path, failure.reason, arranged, known))
        for entry in listing.scans:
            loaded = load(entry, choice=arranged.choice, wanted=predictor.spec.channels)
            failures += [_failure(each.path, each.reason, arranged, known) for each in loaded.failures]
            if loaded.scan is None:
                continue
            try:
                segmentation = predictor.segment(loaded.scan)
            except DataError as error:
                failures.append(_failure(loaded.scan.sources[0], str(error), arranged, known))
                continue
            index = len(records) + 1
            folder = work.folder / f"scan-{index}"
            folder.mkdir(mode=0o700)
            _store_arrays(folder, segmentation)
            record = _record(index, entry, loaded, segmentation, predictor.spec, arranged, known)
            write_record(folder, record)
            records.append(record)
        if not records:
            raise _alone(failures)
        failures += keep_references(work.references, work.folder, records, max_bytes=work.max_unpacked_bytes)
        return {"scans": finite([_public(record) for record in records]), "failures": failures}


def _listing(arranged: Arranged, work: Work, predictor: Predictor) -> Listing:
    choice = arranged.choice
    refuse_useless(choice, predictor.spec.channels)
    try:
        return find_inputs([arranged.folder], choice=choice)
    except FormatError:
        raise
    except DataError as error:
        if arranged.numbers:
            raise
        raise Refused(
            422, "there is no file in what was sent", next_step="send image files, folders of them, or ZIPs"
        ) from error


def _sizes(listing: Listing) -> tuple[int, int]:
    """Slices, and values of all channels, that the headers promise; damaged files count nothing."""
    slices = pixels = 0
    for entry in listing.scans:
        files = dict(entry.sequences) if entry.sequences else {"": entry.sources}
        deepest = 0
        for sources in files.values():
            depth = 0
            for path in sources:
                try:
                    header = entry.format.header(path)
                except TumorsegError:
                    continue
                depth += header.slices
                pixels += header.slices * header.height * header.width * header.channels
            deepest = max(deepest, depth)
        slices += deepest
    return slices, pixels


def _failure(path: Path, reason: str, arranged: Arranged, known: Mapping[str, str]) -> dict[str, str]:
    name = arranged.names.get(path)
    return {"file": str(name) if name is not None else "", "reason": without_paths(reason, known)}


def _alone(failures: Sequence[Mapping[str, str]]) -> Refused:
    """What is wrong where nothing could be segmented."""
    if not failures:
        return Refused(422, "there is no scan in what was sent", next_step="send image files; masks are never inputs")
    reason, _, step = failures[0]["reason"].partition("; ")
    more = f" ({len(failures) - 1} more failed as well)" if len(failures) > 1 else ""
    return Refused(422, reason + more, next_step=step)


def _store_arrays(folder: Path, segmentation: Segmentation) -> None:
    scan, probability = segmentation.scan, segmentation.probability
    windows = [_window(scan.pixels[..., channel]) for channel in range(scan.pixels.shape[-1])]
    low = np.array([window[0] for window in windows], np.float32)
    scale = np.array([255 / (window[1] - window[0]) for window in windows], np.float32)
    write_raw(
        folder / IMAGE,
        (_bytes((frame.astype(np.float32) - low) * scale) for frame in scan.pixels),
    )
    layers = (
        [probability] if probability.ndim == 3 else [probability[..., index] for index in range(probability.shape[3])]
    )
    write_raw(
        folder / PROBABILITY,
        (_bytes(frame.astype(np.float32) * 255) for layer in layers for frame in layer),
    )
    write_array(folder / FINE, probability)
    write_array(folder / MASK, segmentation.mask)


def _window(values: NDArray[Any]) -> tuple[float, float]:
    """The values of a channel that are shown as black and white."""
    sparse = values.reshape(-1)[:: max(1, values.size // _SAMPLE)]
    low, high = float(sparse.min()), float(np.percentile(sparse, WHITE))
    return low, high if high > low else max(float(sparse.max()), low + 1)


def _bytes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.clip(values, 0, 255).round().astype(np.uint8)


def _record(
    index: int,
    entry: InputScan,
    loaded: Loaded,
    segmentation: Segmentation,
    spec: ModelSpec,
    arranged: Arranged,
    known: Mapping[str, str],
) -> dict[str, Any]:
    """All that is kept of a scan, but for its arrays; `_public` says what of it leaves the server."""
    scan, mask = segmentation.scan, segmentation.mask
    slices = measure_slices(mask, spacing=scan.spacing)
    numbers = dict(segmentation.measurements)
    each = {
        "number": list(scan.slice_numbers) or list(range(1, len(mask) + 1)),
        "tumour_pixels": list(slices.pixels),
        "area_mm2": list(slices.areas) or None,
        "diameter": list(slices.diameters),
        "diameter_unit": "px" if scan.spacing is None else "mm",
    }
    geometry = scan.geometry
    own = [arranged.names[path] for path in entry.sources if path in arranged.names]
    return {
        "index": index,
        "id": f"scan-{index}",
        "name": _shown(own, f"scan {index}"),
        "keys": scan_keys(own),
        "files": len(entry.sources),
        "format": next(iter(entry.format.suffixes)).lstrip("."),
        "format_name": entry.format.name,
        "shape": list(mask.shape),
        "spacing": None if scan.spacing is None else list(scan.spacing),
        "channels": list(scan.channels),
        "model": spec.name,
        "model_channels": list(spec.channels),
        "classes": list(spec.classes),
        "threshold": spec.threshold,
        "postprocessing": spec.postprocessing.model_dump(mode="json"),
        "largest_slice": int(np.argmax(slices.pixels)) if any(slices.pixels) else len(mask) // 2,
        "tumour_voxels": int(numbers["tumour_voxels"]),
        "tumour_volume_ml": numbers.get("tumour_ml"),
        "measurements": numbers,
        "side": side(numbers) or None,
        "slices": each,
        "warnings": [
            each.reworded(lambda text: _for_the_page(text, known)).as_json()
            for each in (*loaded.warnings, *segmentation.warnings)
        ],
        "sources": [str(path) for path in scan.sources],
        "grid": [str(path) for path in (entry.sequences[0][1] if entry.sequences else scan.sources)],
        "sequences": [[name, [str(path) for path in files]] for name, files in entry.sequences],
        "indices": dict(arranged.choice.indices),
        "slice_numbers": list(scan.slice_numbers),
        "targets": len(loaded.targets),
        "affine": None if geometry is None else geometry.affine.tolist(),
        "frame_of_reference": "" if geometry is None else geometry.frame_of_reference,
        "has_reference": False,
        "edited": False,
    }


PRIVATE = (
    "id", "sources", "grid", "sequences", "indices", "slice_numbers", "targets", "affine", "frame_of_reference",
    "format", "model_channels", "keys",
)  # fmt: skip
"""What of a record stays on the server."""


def _public(record: Mapping[str, Any]) -> dict[str, Any]:
    from tumorseg.web.downloads import kinds_of

    return {key: value for key, value in record.items() if key not in PRIVATE} | {"downloads": kinds_of(record)}


def _for_the_page(text: str, known: Mapping[str, str]) -> str:
    return without_paths(text, known).replace("with --channels", "by assigning the sequences")


def _shown(own: Sequence[Any], otherwise: str) -> str:
    """What the user calls a scan: its file, or the folder of its files."""
    if not own:
        return otherwise
    if len(own) == 1:
        return str(own[0].name)
    parents = {path.parent for path in own}
    if len(parents) == 1 and (name := next(iter(parents)).name):
        return str(name)
    first = own[0].name
    return f"{first} and {len(own) - 1} more"
