"""From probabilities to a mask. Pure functions, NumPy in and NumPy out; SciPy is loaded when it is needed."""

from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorseg.recipe import Cleaning
from tumorseg.scan import Mask, Probabilities

NO_CLEANING = Cleaning()

ENOUGH_SLICES = 6
"""Of a scan, before a component is too thin, or too small beside another, to be believed: fewer may lie far apart."""

FAINT = 0.05
"""What is less probable than this is not blended: that leaves most of a slice out, and takes a tenth of the time."""


def postprocess(probability: Probabilities, *, threshold: float, cleaning: Cleaning = NO_CLEANING) -> Mask:
    """Threshold, clean, and name the class of what is left.

    Args:
        probability: (slices, height, width) of tumour, or (slices, height, width, K) of K classes that exclude each
            other; 0 to 1.
        threshold: a voxel is tumour where its probability, of several classes their sum, is above this.
        cleaning: what follows; all classes are cleaned together, as one tumour.

    Returns:
        (slices, height, width) uint8: 0 background, and 1 or, of several classes, the most probable one.
    """
    mask = apply_threshold(probability, threshold)
    if cleaning.opening or cleaning.closing:
        mask = smooth_outlines(mask, opening=cleaning.opening, closing=cleaning.closing)
    if cleaning.fill_holes:
        mask = fill_slice_holes(mask)
    if len(mask) > 1:  # of a lone slice nobody knows how large in 3D its components are
        enough = len(mask) >= ENOUGH_SLICES
        mask = drop_small_components(
            mask,
            cleaning.min_component_voxels,
            min_slices=cleaning.min_component_slices if enough else 0,
            min_share=cleaning.min_component_share if enough else 0.0,
        )
    if cleaning.largest_component:
        mask = keep_largest_component(mask)
    return name_classes(mask, probability) if probability.ndim == 4 else mask


def blend_slices(probability: NDArray[np.float16], share: float) -> None:
    """Let the probabilities of a scan's slices lend each other some of theirs, in place.

    A network that marks slice by slice is wrong about one slice where it is right about the next; tumours change less
    from slice to slice than such mistakes do.

    Args:
        probability: (slices, height, width) or (slices, height, width, K), 0 to 1, in the order of the slices. Outside
            the box that holds all of a slice and those beside it that is not below `FAINT`, it stays as it is.
        share: of each voxel's probability that the voxels below and above it give, half each; 0 to 1. At an end, and in
            a lone slice, a voxel stands for the one that is not there.
    """
    if not share or len(probability) == 1:
        return
    last = len(probability) - 1
    below = here = _Shown.of(probability[0].copy())
    for index, target in enumerate(probability):
        above = _Shown.of(probability[index + 1].copy()) if index < last else here
        rows, columns = (_span(*(getattr(each, axis) for each in (below, here, above))) for axis in ("rows", "columns"))
        one, own, other = (each.values[rows, columns].astype(np.float32) for each in (below, here, above))
        target[rows, columns] = (1 - share) * own + share / 2 * (one + other)
        below, here = here, above


class _Shown(NamedTuple):
    """A slice, and which of its rows and columns hold a probability that is not below `FAINT`."""

    values: NDArray[np.float16]
    rows: NDArray[np.bool_]
    columns: NDArray[np.bool_]

    @classmethod
    def of(cls, values: NDArray[np.float16]) -> "_Shown":
        # Numbers of 16 bits that are not negative are in the order of their bits, whose comparison is quicker.
        bits = values.view(np.uint16)
        shown = (bits if bits.ndim == 2 else bits.max(axis=-1)) >= np.float16(FAINT).view(np.uint16)
        return cls(values, np.asarray(shown.any(axis=1)), np.asarray(shown.any(axis=0)))


def _span(*marked: NDArray[np.bool_]) -> slice:
    """From the first to the last that any of them marks."""
    where = np.flatnonzero(np.logical_or.reduce(marked))
    return slice(int(where[0]), int(where[-1]) + 1) if len(where) else slice(0)


def apply_threshold(probability: Probabilities, threshold: float) -> Mask:
    """1 where the probability of tumour is above `threshold`, else 0; shapes as in `postprocess`."""
    mask = np.empty(probability.shape[:3], np.uint8)
    for target, values in zip(mask, probability, strict=True):
        # Compared in float32: in float16 the threshold itself would be rounded.
        np.greater(tumour_probability(values), np.float32(threshold), out=target.view(np.bool_))
    return mask


def tumour_probability(values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Probability of any class, (height, width) float32, of one slice with or without an axis of classes."""
    wide = values.astype(np.float32)
    return wide if wide.ndim == 2 else np.asarray(wide.sum(axis=-1), np.float32)


def name_classes(mask: Mask, probability: Probabilities) -> Mask:
    """The most probable class, 1…K, where `mask` is not 0.

    Args:
        mask: (slices, height, width) uint8, 0 and 1.
        probability: (slices, height, width, K).
    """
    named = np.empty_like(mask)
    for target, inside, values in zip(named, mask, probability, strict=True):
        np.multiply(inside, values.argmax(axis=-1).astype(np.uint8) + 1, out=target, casting="unsafe")
    return named


def smooth_outlines(mask: Mask, *, opening: int = 0, closing: int = 0) -> Mask:
    """Morphological opening, then closing, with discs of these radii in pixels, within each slice.

    Args:
        mask: (slices, height, width) uint8, 0 and 1.
    """
    smooth = mask.copy()
    for method, radius in ((cv2.MORPH_OPEN, opening), (cv2.MORPH_CLOSE, closing)):
        if radius:
            disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
            for target in smooth:
                if target.any():
                    # A black border of its own, so that tumour at the frame's edge is not closed against it.
                    padded = np.pad(target, radius)
                    target[:] = cv2.morphologyEx(padded, method, disc)[radius:-radius, radius:-radius]
    return smooth


def drop_small_components(mask: Mask, min_voxels: int, *, min_slices: int = 0, min_share: float = 0.0) -> Mask:
    """Remove 3D components (26-connected) that are small in themselves, or beside the largest one.

    Args:
        mask: (slices, height, width) uint8, 0 and 1.
        min_voxels: what has fewer is removed; 0 and 1 keep all.
        min_slices: of what is left, that lies in fewer slices is removed, unless all does: a small tumour may show in
            one slice alone, and is better marked there than nowhere.
        min_share: of what is left then, that has fewer voxels than this share of the largest component's is removed.
    """
    if max(min_voxels, min_slices) <= 1 and not min_share:
        return mask

    def large(sizes: NDArray[np.int64], depths: NDArray[np.int64]) -> NDArray[np.bool_]:
        kept = sizes >= min_voxels
        deep = kept & (depths >= min_slices)
        kept = deep if deep.any() else kept
        return np.asarray(kept & (sizes >= min_share * sizes[kept].max(initial=0)))

    return _keep_components(mask, large)


def keep_largest_component(mask: Mask) -> Mask:
    """Keep the largest 3D component (26-connected); of equal ones the first.

    Args:
        mask: (slices, height, width) uint8, 0 and 1.
    """
    return _keep_components(mask, lambda sizes, _: np.arange(len(sizes)) == np.argmax(sizes))


def _keep_components(mask: Mask, choose: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]) -> Mask:
    """What is left of a mask when `choose` has said which components stay, from their voxels and their slices."""
    box = tumour_box(mask)
    if box is None:
        return mask
    from scipy import ndimage

    labels, sizes = _label(mask[box])
    depths = [deep.stop - deep.start for deep, _, _ in ndimage.find_objects(labels)]
    kept = np.concatenate([[False], choose(sizes[1:], np.array(depths, np.int64))])
    cleaned = np.zeros_like(mask)
    cleaned[box] = kept[labels]
    return cleaned


def fill_slice_holes(mask: Mask) -> Mask:
    """Fill holes that tumour closes within a slice (background 4-connected).

    Args:
        mask: (slices, height, width) uint8, 0 and 1.
    """
    box = tumour_box(mask)
    if box is None:
        return mask
    from scipy import ndimage

    filled = mask.copy()
    for target in filled[box]:
        target[ndimage.binary_fill_holes(target)] = 1
    return filled


def component_sizes(mask: Mask) -> NDArray[np.int64]:
    """Voxels of each 3D component (26-connected), the largest first."""
    box = tumour_box(mask)
    if box is None:
        return np.zeros(0, np.int64)
    return np.sort(_label(mask[box])[1][1:])[::-1]


def tumour_box(mask: Mask) -> tuple[slice, slice, slice] | None:
    """The smallest box that holds all tumour; None where there is none."""
    deep = np.flatnonzero(mask.any(axis=(1, 2)))
    if deep.size == 0:
        return None
    flat = np.asarray(mask.any(axis=0))
    down, across = np.flatnonzero(flat.any(axis=1)), np.flatnonzero(flat.any(axis=0))
    return (
        slice(int(deep[0]), int(deep[-1]) + 1),
        slice(int(down[0]), int(down[-1]) + 1),
        slice(int(across[0]), int(across[-1]) + 1),
    )


def _label(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Component of each voxel, 0 outside, and the size of each component, the background's first."""
    from scipy import ndimage

    labels = np.empty(mask.shape, np.int32)
    ndimage.label(mask, structure=np.ones((3, 3, 3)), output=labels)
    return labels, np.bincount(labels.ravel()).astype(np.int64)
