"""Scans to try the page with: synthetic heads, nobody's."""

from pathlib import Path
from typing import NamedTuple

from tumorseg.web.arranged import Upload


class Example(NamedTuple):
    """One example: its name in addresses, and what people read."""

    name: str
    title: str


EXAMPLES = (
    Example("synthetic-head", "A synthetic head with a lesion: 12 slices, three sequences, with its reference"),
    Example("synthetic-slice", "One slice of it"),
)


def draw(name: str, folder: Path) -> tuple[tuple[Upload, ...], tuple[Upload, ...]]:
    """Draw an example below a job's folder: images and reference masks, as if they had been uploaded.

    Raises:
        KeyError: there is no such example.
    """
    import numpy as np

    from tumorseg.datasets.example import write_example
    from tumorseg.formats.tiff import read_mask_tiff

    if name not in {example.name for example in EXAMPLES}:
        raise KeyError(name)
    patient = write_example(folder / "drawn")
    masks = sorted(patient.glob("*_mask.tif"), key=lambda path: int(path.stem.split("_")[-2]))
    if name == "synthetic-slice":
        sizes = [int(np.count_nonzero(read_mask_tiff(path))) for path in masks]
        masks = [masks[int(np.argmax(sizes))]]
    images = [path.with_name(path.name.replace("_mask", "")) for path in masks]
    shown = {path: f"synthetic/head_{path.name.removesuffix('_mask.tif').split('_')[-1]}" for path in masks}
    uploads = tuple(Upload(f"{shown[mask]}.tif", image) for mask, image in zip(masks, images, strict=True))
    return uploads, tuple(Upload(f"{shown[mask]}_mask.tif", mask) for mask in masks)
