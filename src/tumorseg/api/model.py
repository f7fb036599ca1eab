"""A model that is ready to segment, and its answers."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tumorseg.api.picture import Picture, draw
from tumorseg.errors import DataError
from tumorseg.inference.predictor import Predictor
from tumorseg.progress import Progress, silent
from tumorseg.scan import Caution, Pixels, Scan, Segmentation

if TYPE_CHECKING:
    from tumorseg.inference.model import ModelSpec
    from tumorseg.inference.summary import Outcome

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, eq=False, repr=False)
class SegmentedScan(Segmentation):
    """A segmentation that can be looked at and saved.

    Attributes:
        classes: names of the mask's values 1…K.
        model: the name of what drew it.
    """

    classes: tuple[str, ...] = ("tumour",)
    model: str = ""

    def overlay(self, slice: int | None = None) -> Picture:
        """One slice with the outline; see `tumorseg.show`."""
        return draw(self, slice)

    def save(self, path: str | Path) -> Path:
        """Write the mask: .tif, .png (of a volume a folder of them), .nii, .nii.gz, .npy, or .dcm for DICOM scans.

        Returns:
            What was written.

        Raises:
            DataError: this mask cannot be of that format.
            OutputError: it cannot be written.
        """
        from tumorseg.api.saving import save_mask

        return save_mask(self, Path(path))

    def _repr_png_(self) -> bytes:
        return self.overlay()._repr_png_()

    def __repr__(self) -> str:
        voxels = int(self.measurements.get("tumour_voxels", 0))
        said = "".join(f"; {warning}" for warning in self.warnings)
        return f"<segmentation of {self.scan.id}: {len(self.mask)} slices, {voxels:,} voxels of tumour{said}>"


class Model:
    """A trained network with all that it needs to answer scans.

    Args:
        predictor: the one way from a scan to its segmentation.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    @property
    def spec(self) -> "ModelSpec":
        """What model.json says."""
        return self.predictor.spec

    def segment(self, what: "Scan | str | os.PathLike[str] | Pixels", *, channels: Sequence[str] = ()) -> SegmentedScan:
        """Outline the tumour in one scan.

        Args:
            what: a Scan; a file, or a folder that holds one scan; or an array: (height, width) or (height, width, 1
                or 3 channels) of a slice, (slices, height, width) or (slices, height, width, channels) of a volume.
            channels: names of an array's channels; without any, three are pre, flair, post, and one is flair.

        Raises:
            DataError: there is not exactly one scan, or it is not what the model takes.
        """
        if isinstance(what, Scan):
            return self._answer(self.predictor.segment(what))
        if isinstance(what, str | os.PathLike):
            scan, warnings = read_scan(Path(what))
        else:
            scan, warnings = _of_array(np.asarray(what), tuple(channels))
        answer = self._answer(self.predictor.segment(scan))
        return replace(answer, warnings=(*warnings, *answer.warnings))

    def segment_all(self, scans: Iterable[Scan]) -> Iterator[SegmentedScan]:
        """Outline the tumour in many scans, one after the other, in flat memory."""
        return map(self._answer, self.predictor.segment_all(scans))

    def segment_files(
        self,
        inputs: "str | Path | Sequence[str | Path]",
        output: str | Path,
        *,
        channels: Mapping[str, str] | None = None,
        format: str = "same",
        existing: Literal["refuse", "overwrite", "resume"] = "refuse",
        progress: Progress = silent,
    ) -> "Outcome":
        """Write a mask for every scan in files and folders, and a summary, as `tumorseg segment` does.

        Args:
            inputs: files, folders and ZIPs.
            output: takes the masks, summary.csv and summary.json.
            channels: which file, channel or name is which sequence, such as {"flair": "*_FLAIR.nii.gz"}; see
                `tumorseg segment --help`.
            format: of the masks: same, nifti, dicom-seg or png.
            existing: what happens to outputs that are there already.
            progress: watches the scans go by.

        Returns:
            What became of the inputs; a file that fails does not stop the rest.

        Raises:
            DataError: an input is not there or of no format that is read, or there is nothing to segment.
            OutputError: an output exists and is not to be replaced, or cannot be written.
        """
        from tumorseg.inference.batch import segment_listing
        from tumorseg.inference.inputs import find_inputs
        from tumorseg.inference.outputs import Wanted
        from tumorseg.inference.sequence_choice import parse_choice

        paths = [Path(inputs)] if isinstance(inputs, str | Path) else [Path(path) for path in inputs]
        choice = parse_choice([f"{name}={value}" for name, value in (channels or {}).items()], inputs=paths)
        listing = find_inputs(paths, choice=choice, output_format=format)
        return segment_listing(
            listing,
            self.predictor,
            Path(output),
            existing=existing,
            wanted=Wanted(format),
            choice=choice,
            progress=progress,
        )

    def __repr__(self) -> str:
        spec = self.spec
        licence = f"; trained on data under {spec.data_licence}" if spec.data_licence else ""
        return (
            f"<model {spec.name}: recipe {spec.recipe}, takes {', '.join(spec.channels)}, "
            f"finds {', '.join(spec.classes)}{licence}>"
        )

    def _answer(self, found: Segmentation) -> SegmentedScan:
        return SegmentedScan(
            found.scan,
            found.mask,
            found.probability,
            found.measurements,
            found.warnings,
            classes=self.spec.classes,
            model=self.spec.name,
        )


def load_model(path: "str | os.PathLike[str] | None" = None, *, device: Device = "auto", fast: bool = False) -> Model:
    """Open a model; torch is not needed.

    Args:
        path: the name of an installed model, a run, a model folder, or a model.json; None takes the model in the box.
        device: where it computes; auto takes CUDA where it is there.
        fast: compute its fast way, which was measured to lose next to nothing.

    Raises:
        ModelError: it is none of these, a file of it is missing or damaged, or it has no fast way.
    """
    from tumorseg.inference.catalogue import default_model
    from tumorseg.inference.model import read_model

    return Model(Predictor(read_model(default_model() if path is None else Path(path)), device=device, fast=fast))


def export_model(
    run: "str | os.PathLike[str]",
    output: str | Path,
    to: Literal["onnx", "safetensors"] = "onnx",
    *,
    data: str | Path | None = None,
    progress: Progress = silent,
) -> Path:
    """Write a run's model for use elsewhere, as `tumorseg export` does, once it computes what was trained.

    Args:
        run: what was trained.
        output: a folder that is new or empty.
        to: graphs for ONNX Runtime, or weights to go on training from.
        data: the data set on which masks are compared; None takes that of the training.
        progress: watches the comparison.

    Returns:
        The folder.

    Raises:
        ModelError: the exported model computes something else; nothing is written then.
    """
    from tumorseg.training.release import export_run

    export_run(Path(run), to, Path(output), data=None if data is None else Path(data), progress=progress)
    return Path(output)


def read_scan(path: Path) -> tuple[Scan, tuple[Caution, ...]]:
    """The one scan in a file or folder, and warnings about it.

    Raises:
        DataError: there is none, there are several, or it cannot be read.
    """
    from tumorseg.inference.inputs import find_inputs
    from tumorseg.inference.loading import load

    listing = find_inputs([path])
    if len(listing.scans) != 1:
        raise DataError(
            f"{path} holds {len(listing.scans)} scans", next_step="give one of them, or take Model.segment_files"
        )
    loaded = load(listing.scans[0])
    if loaded.scan is None:
        raise DataError(loaded.failures[0].reason)
    lost = tuple(Caution("lost", failure.reason) for failure in loaded.failures)
    return loaded.scan, (*loaded.warnings, *lost)


def _of_array(pixels: Pixels, channels: tuple[str, ...]) -> tuple[Scan, tuple[Caution, ...]]:
    from tumorseg.inference.sequences import name_channels

    pixels = _as_volume(pixels, channels)
    if not (np.issubdtype(pixels.dtype, np.number) and not np.issubdtype(pixels.dtype, np.complexfloating)):
        raise DataError(f"an array of {pixels.dtype} is no image", next_step="give numbers")
    if not pixels.size or not np.isfinite(pixels).all():
        raise DataError("the array is empty, or holds values that are not finite", next_step="mend it")
    warnings: tuple[Caution, ...] = ()
    if channels:
        if len(channels) != pixels.shape[-1]:
            raise DataError(
                f"{len(channels)} names for {pixels.shape[-1]} channels", next_step="name each of them once"
            )
        names: tuple[str, ...] = channels
    else:
        pixels, names, warnings = name_channels(pixels, where="the array")
    return Scan(id="array", patient="array", channels=names, read_pixels=lambda: pixels), warnings


def _as_volume(pixels: Pixels, channels: tuple[str, ...]) -> Any:
    """The array as (slices, height, width, channels)."""
    if pixels.ndim == 2:
        return pixels[None, ..., None]
    if pixels.ndim == 3:
        has_channels = pixels.shape[-1] in ({len(channels)} if channels else {1, 3})
        return pixels[None] if has_channels else pixels[..., None]
    if pixels.ndim != 4:
        raise DataError(
            f"an array of shape {pixels.shape} is no scan", next_step="give (slices, height, width, channels)"
        )
    return pixels
