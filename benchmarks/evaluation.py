"""Judging masks: our scores against MONAI's on the same masks, and stored masks from the command line.

    python benchmarks/evaluation.py --data kaggle_3m [--slices 10000]

Predictions are the reference masks moved, grown or shrunk, with a spot where there is nothing, by a fixed seed. Both
sides get them in memory and give, for every slice, Dice, the 95 % Hausdorff distance and the surface Dice at 2 pixels,
and for every volume the latter two in space; the largest difference between the two is printed beside the times. Then
as many slices as asked for are written as files, and `tumorseg evaluate --predictions` judges them with every score.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from monai.metrics.meandice import compute_dice
from monai.metrics.surface_dice import compute_surface_dice
from numpy.typing import NDArray
from scipy import ndimage

from tumorseg.datasets.store import prepare
from tumorseg.formats.tiff import write_mask_tiff
from tumorseg.metrics.overlap import confusion_by_slice
from tumorseg.metrics.surface import surface_distances

SPACING = (5.0, 1.0, 1.0)
"""Of the volumes in space, in millimetres; the LGG files carry none."""

Masks = NDArray[np.uint8]


def disturbed(reference: Masks, random: np.random.Generator) -> Masks:
    """A prediction for a reference, (slices, height, width), of one tumour class."""
    moved = ndimage.shift(reference, (0, *random.integers(-4, 5, 2)), order=0)
    change = (ndimage.binary_dilation, ndimage.binary_erosion)[random.integers(2)]
    predicted: Masks = change(moved, np.ones((1, 3, 3), np.bool_)).astype(np.uint8)
    index, row, column = (random.integers(0, size - 8) if size > 8 else 0 for size in reference.shape)
    predicted[index, row : row + 6, column : column + 6] = 1
    return predicted


def ours(pairs: list[tuple[Masks, Masks]]) -> NDArray[np.float64]:
    """(values,): of all slices Dice, HD95 and surface Dice, then of all volumes HD95 and surface Dice in space."""
    slices, volumes = [], []
    for predicted, reference in pairs:
        counted = confusion_by_slice(predicted, reference)
        distances, shares = surface_distances(predicted, reference).by_slice(len(predicted))
        slices.append(np.stack([counted.dice, distances, shares], 1))
        in_space = surface_distances(predicted, reference, SPACING)
        volumes.append([in_space.hausdorff(), in_space.surface_dice()])
    return np.concatenate([np.concatenate(slices).ravel(), np.ravel(volumes)])


def monai(pairs: list[tuple[Masks, Masks]]) -> NDArray[np.float64]:
    """The same by MONAI."""
    slices, volumes = [], []
    for predicted, reference in pairs:
        one, other = (torch.from_numpy(mask[:, None].astype(np.float32)) for mask in (predicted, reference))
        found = (
            compute_dice(one, other, ignore_empty=True),
            compute_hausdorff_distance(one, other, include_background=True, percentile=95),
            compute_surface_dice(one, other, [2.0], include_background=True),
        )
        slices.append(np.concatenate([values.numpy() for values in found], 1))
        one, other = (torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (predicted, reference))
        volumes.append(
            [
                float(compute_hausdorff_distance(one, other, include_background=True, percentile=95, spacing=SPACING)),
                float(compute_surface_dice(one, other, [2.0], include_background=True, spacing=SPACING)),
            ]
        )
    return np.concatenate([np.concatenate(slices).ravel(), np.ravel(volumes)])


def timed(score: Callable[[list[tuple[Masks, Masks]]], NDArray[np.float64]], pairs: list[tuple[Masks, Masks]]) -> float:
    """Seconds."""
    began = time.perf_counter()
    score(pairs)
    return time.perf_counter() - began


def side_by_side(pairs: list[tuple[Masks, Masks]]) -> None:
    """Print both times, in turns, and how far the scores lie apart where both are defined."""
    left, right = ours(pairs), monai(pairs)
    both = np.isfinite(left) & np.isfinite(right)
    lone = np.isfinite(left) != np.isfinite(right)
    apart = np.abs(left - right)[both] / np.maximum(1, np.abs(right[both]))
    times = np.array([(timed(ours, pairs), timed(monai, pairs)) for _ in range(3)])
    best = times.min(axis=0)
    slices = sum(len(predicted) for predicted, _ in pairs)
    print(
        f"{slices:,} slices of {len(pairs)} volumes; {both.sum():,} scores defined on both sides, {lone.sum():,} on one"
    )
    print(f"largest difference {apart.max():.1e} (relative above 1)")
    print(
        f"tumorseg {best[0]:.2f} s, MONAI {best[1]:.2f} s: {best[1] / best[0]:.1f} times as fast (best of 3, in turns)"
    )


def from_files(references: list[Masks], slices: int, random: np.random.Generator) -> None:
    """Write that many slices and their predictions, and judge them through the command."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        written = volume = 0
        while written < slices:
            reference = references[volume % len(references)][: slices - written]
            predicted = disturbed(reference, random)
            for kind, mask in (("truth", reference), ("drawn", predicted)):
                home = folder / kind / f"P{volume:04}"
                home.mkdir(parents=True)
                for number, frame in enumerate(mask, 1):
                    write_mask_tiff(home / f"P{volume:04}_{number}_mask.tif", frame[None])
            written, volume = written + len(reference), volume + 1
        command = [shutil.which("tumorseg") or sys.exit("tumorseg is not installed"), "-q", "evaluate"]
        command += [
            "--predictions",
            f"{folder}/drawn",
            "--reference",
            f"{folder}/truth",
            "--output",
            f"{folder}/judged",
        ]
        began = time.perf_counter()
        peak = highest_memory(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        seconds = time.perf_counter() - began
    print(
        f"{written:,} stored slices of {volume} patients, every score, report included: {seconds:.0f} s, {peak:.2f} GiB"
    )


def highest_memory(process: "subprocess.Popen[bytes]") -> float:
    """Wait for a process; the most memory that it had resident, in GiB. (What the system reports of a child at its end
    would count this program's own memory from before the exec.)"""
    peak = 0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak = max([peak, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))])
        time.sleep(0.05)
    if process.returncode:
        sys.exit(process.returncode)
    return peak / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--slices", type=int, default=10_000)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", module="monai")
    cv2.setNumThreads(2)
    random = np.random.default_rng(0)
    references = [(np.asarray(scan.reference) > 0).astype(np.uint8) for scan in prepare(options.data).scans]
    side_by_side([(disturbed(reference, random), reference) for reference in references])
    from_files(references, options.slices, random)


if __name__ == "__main__":
    main()
