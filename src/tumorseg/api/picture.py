"""Pictures of slices with outlines: of a reference, of a prediction, of both."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import DataError, OutputError, few
from tumorseg.scan import Mask, Scan, Segmentation

REFERENCE = (86, 180, 233)
PREDICTION = (230, 159, 0)
"""RGB, of the set that the colour-blind tell apart (Okabe & Ito 2008); the prediction's line is dashed as well."""

_SIDE = 512
"""Pixels that the longer side of a picture has at least, so that outlines stay fine."""

_DASH = 9


class Picture:
    """An RGB picture that a notebook displays and that can be saved.

    Args:
        rgb: (height, width, 3) uint8.
        caption: what it shows.
    """

    def __init__(self, rgb: NDArray[np.uint8], caption: str = "") -> None:
        self.rgb = rgb
        self.caption = caption

    def save(self, path: str | Path) -> Path:
        """Write it as PNG, whole or not at all.

        Raises:
            OutputError: the name does not end in .png, or the file cannot be written.
        """
        from tumorseg.files import atomic_write

        path = Path(path)
        if path.suffix.lower() != ".png":
            raise OutputError(f"pictures are saved as PNG, not as {path.name}", next_step="end the name in .png")
        with atomic_write(path) as temporary:
            temporary.write_bytes(self._repr_png_())
        return path

    def _repr_png_(self) -> bytes:
        import cv2

        return bytes(cv2.imencode(".png", np.ascontiguousarray(self.rgb[..., ::-1]))[1].tobytes())

    def __repr__(self) -> str:
        height, width = self.rgb.shape[:2]
        return f"<picture {width} x {height}: {self.caption}>"


def draw(answer: Scan | Segmentation, slice: int | None = None) -> Picture:
    """Draw one slice: FLAIR in grey, the reference in blue, a prediction in dashed orange.

    Args:
        answer: a scan, or a segmentation, whose scan's reference is drawn too where there is one.
        slice: its number as the files count, or from 1 where they do not; None takes the one with the most tumour.

    Raises:
        DataError: there is no such slice.
    """
    from tumorseg.inference.overlay import grey_window, shown_channel

    segmentation = answer if isinstance(answer, Segmentation) else None
    scan = segmentation.scan if segmentation is not None else answer
    assert isinstance(scan, Scan)
    masks = [mask for mask in (scan.reference, segmentation.mask if segmentation else None) if mask is not None]
    numbers = scan.slice_numbers or tuple(range(1, len(scan.pixels) + 1))
    index = _index(scan, numbers, slice, masks)
    low, high = grey_window(scan)
    frame = shown_channel(scan, scan.pixels[index]).astype(np.float32)
    grey = np.clip((frame - low) * (255 / (high - low)), 0, 255).round().astype(np.uint8)
    rgb, scale = _enlarged(grey)
    said = []
    if scan.reference is not None:
        _outline(rgb, scan.reference[index] != 0, scale, REFERENCE, dashed=False)
        said.append(f"reference {int((scan.reference[index] != 0).sum()):,} px (blue)")
    if segmentation is not None:
        _outline(rgb, segmentation.mask[index] != 0, scale, PREDICTION, dashed=True)
        said.append(f"prediction {int((segmentation.mask[index] != 0).sum()):,} px (orange, dashed)")
    return Picture(rgb, ", ".join([f"{scan.id} slice {numbers[index]}", *said]))


def _index(scan: Scan, numbers: Sequence[int], wanted: int | None, masks: Sequence[Mask]) -> int:
    if wanted is None:
        sizes = np.count_nonzero(masks[0], axis=(1, 2)) if masks else np.zeros(len(numbers))
        return int(np.argmax(sizes)) if sizes.any() else len(numbers) // 2
    if wanted not in numbers:
        known = few([str(number) for number in numbers], 5)
        raise DataError(f"{scan.id} has no slice {wanted}", next_step=f"its slices are {known}")
    return list(numbers).index(wanted)


def _enlarged(grey: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
    import cv2

    scale = max(1, -(-_SIDE // max(grey.shape)))
    size = (grey.shape[1] * scale, grey.shape[0] * scale)
    larger = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    return np.repeat(larger[..., None], 3, axis=-1), scale


def _outline(
    rgb: NDArray[np.uint8], mask: NDArray[np.bool_], scale: int, colour: tuple[int, int, int], *, dashed: bool
) -> None:
    """Draw along the edges of a mask's pixels, in place."""
    import cv2

    from tumorseg.outlines import outlines

    for loop in outlines(mask):
        corners = np.array([*loop, loop[0]], np.int32) * scale
        lengths = np.abs(np.diff(corners, axis=0)).sum(axis=1)
        # Every edge runs along an axis, so that walking it pixel by pixel is exact.
        walked = np.concatenate(
            [
                np.linspace(start, end, length, endpoint=False)
                for start, end, length in zip(corners[:-1], corners[1:], lengths, strict=True)
            ]
        ).astype(np.int32)
        pieces = [walked[at : at + _DASH] for at in range(0, len(walked), 2 * _DASH)] if dashed else [corners]
        for width, shade in ((5, (0, 0, 0)), (2, colour)):
            cv2.polylines(rgb, pieces, False, shade, width)
