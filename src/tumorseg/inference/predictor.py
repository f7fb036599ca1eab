"""Predictor: scan -> normalise -> grid -> network -> probability -> the scan's own grid -> postprocess."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import DataError, ModelError, TumorsegError
from tumorseg.inference.measure import measure
from tumorseg.inference.model import Flip, Model
from tumorseg.inference.runtime import Device, Float32, Runtime
from tumorseg.inference.scratch import allocate
from tumorseg.inference.sequences import choose_channels
from tumorseg.postprocess import postprocess
from tumorseg.preprocess import Grid, Statistics, filtered, head_box, normalise, plan_grid, statistics
from tumorseg.recipe import Filter
from tumorseg.scan import Pixels, Scan, Segmentation

Failed = Callable[[Scan, TumorsegError], None]

_AXES: dict[Flip, int] = {"horizontal": -1, "vertical": -2}
"""Of (slices, channels, height, width)."""


@dataclass(eq=False)
class _Task:
    """One scan on its way; `left` slices of it have not come back from the network.

    `pixels` are the scan's, with the network's channels in the network's order. `classes` is the number of classes.
    """

    scan: Scan
    pixels: Pixels
    measured: Statistics
    grid: Grid
    filters: tuple[Filter, ...]
    warnings: tuple[str, ...]
    classes: int
    probability: NDArray[np.float16] = field(init=False)
    left: int = field(init=False)

    def __post_init__(self) -> None:
        axes = () if self.classes == 1 else (self.classes,)
        self.probability = allocate((*self.pixels.shape[:3], *axes), np.float16)
        self.left = len(self.pixels)

    def frame(self, index: int) -> Float32:
        """One slice as the network sees it, (channels, size, size)."""
        frame, measured = filtered(self.pixels[index], self.measured.of_slice(index), self.filters)
        # Resampled before it is normalised, as in training.
        square = self.grid.apply(frame)
        return np.ascontiguousarray(np.moveaxis(normalise(square[None], measured)[0], -1, 0))


class Predictor:
    """The one way from a Scan to its Segmentation, in every verb and in evaluation.

    What comes out for a scan does not depend on the scans beside it.

    Args:
        model: what `read_model` gives.
        runtime: computes the network; without one, ONNX Runtime computes the model's own graph, or each of an
            ensemble's.
        device: for that; auto takes CUDA where it is there.

    Raises:
        ModelError: the model cannot be computed here.
    """

    def __init__(self, model: Model, *, runtime: Runtime | None = None, device: Device = "auto") -> None:
        self.model = model
        self.spec = model.spec
        self._runtimes: tuple[Runtime, ...]
        if runtime is not None:
            self._runtimes = (runtime,)
        else:
            from tumorseg.inference.onnx_runtime import OnnxRuntime

            self._runtimes = tuple(OnnxRuntime(graph, device=device) for graph in model.graphs)
        self._batch_size = max(member.batch_size for member in self._runtimes)

    def segment(self, scan: Scan) -> Segmentation:
        """Segment one scan; see `segment_all`."""
        return next(self.segment_all([scan]))

    def probabilities(self, scan: Scan) -> NDArray[np.float16]:
        """Probability of tumour on the scan's own grid; see `Segmentation.probability`."""
        (task,) = self._computed([scan], None)
        return task.probability

    def segment_all(self, scans: Iterable[Scan], *, failed: Failed | None = None) -> Iterator[Segmentation]:
        """Segment scans in the order they come, batching slices across them, with a few in memory at a time.

        Args:
            scans: read one after the other, while results are taken.
            failed: told of each scan that cannot be segmented, which is then left out; without it the first such
                scan ends the iteration with its error.

        Raises:
            DataError: a scan's pixels or channels are not what the model takes.
            ModelError: the network does not compute.
        """
        for task in self._computed(scans, failed):
            yield self._answer(task)

    def _computed(self, scans: Iterable[Scan], failed: Failed | None) -> Iterator[_Task]:
        """Tasks with their probabilities filled in."""
        waiting: deque[_Task] = deque()
        batch: list[tuple[_Task, int]] = []
        for scan in scans:
            try:
                task = self._open(scan)
            except TumorsegError as error:
                if failed is None:
                    raise
                failed(scan, error)
                continue
            waiting.append(task)
            for index in range(len(task.pixels)):
                batch.append((task, index))
                if len(batch) >= self._batch_size:
                    self._compute(batch)
                    batch = []
            while waiting and waiting[0].left == 0:
                yield waiting.popleft()
        if batch:
            self._compute(batch)
        yield from waiting

    def _open(self, scan: Scan) -> _Task:
        """Read a scan and measure what its slices have in common."""
        pixels = scan.pixels
        if pixels.ndim != 4 or 0 in pixels.shape:
            raise DataError(f"scan {scan.id} has no pixels", next_step="leave it out")
        if pixels.shape[-1] != len(scan.channels):
            raise DataError(f"scan {scan.id} has {pixels.shape[-1]} channels but {len(scan.channels)} names")
        channels, warnings = choose_channels(scan.channels, self.spec.channels, where=f"scan {scan.id}")
        pixels = _arranged(pixels, channels)
        box = head_box(pixels) if self.spec.crop == "head" else None
        grid = plan_grid(*pixels.shape[1:3], image_size=self.spec.image_size, box=box)
        measured = statistics(pixels, self.spec.normalization)
        return _Task(scan, pixels, measured, grid, self.spec.filters, warnings, len(self.spec.classes))

    def _compute(self, batch: list[tuple[_Task, int]]) -> None:
        """Send slices through the network and put their probabilities where they belong."""
        frames = np.stack([task.frame(index) for task, index in batch])
        for (task, index), square in zip(batch, self._probability(frames), strict=True):
            task.probability[index] = task.grid.undo(square)
            task.left -= 1

    def _probability(self, frames: Float32) -> Float32:
        """(slices, size, size), of several classes with an axis for them behind; 0 to 1.

        Averaged over the members of an ensemble, and over the plain image and its mirror images.
        """
        total = sum(self._plain_probability(runtime, frames) for runtime in self._runtimes)
        for flip in self.spec.test_time_flips:
            mirrored = np.flip(frames, _AXES[flip])
            for runtime in self._runtimes:
                total += np.flip(self._plain_probability(runtime, mirrored), _AXES[flip] + 3)
        return np.asarray(total / (len(self._runtimes) * (1 + len(self.spec.test_time_flips))), np.float32)

    def _plain_probability(self, runtime: Runtime, frames: Float32) -> Float32:
        logits = runtime(frames)
        expected = (len(frames), self.spec.logits, *frames.shape[2:])
        if logits.shape != expected:
            raise ModelError(
                f"the network of {self.model.folder} gives {logits.shape} where {expected} is due",
                next_step="check that model.json and model.onnx belong together",
            )
        if not np.isfinite(logits).all():
            raise ModelError(
                f"the network of {self.model.folder} gives values that are not finite", next_step="train it again"
            )
        logits = logits / np.float32(self.spec.temperature)
        return _sigmoid(logits[:, 0]) if self.spec.logits == 1 else _softmax(logits)

    def _answer(self, task: _Task) -> Segmentation:
        mask = postprocess(
            task.probability,
            threshold=self.spec.threshold,
            cleaning=self.spec.postprocessing,
        )
        scan = task.scan
        numbers = measure(
            mask, probability=task.probability, spacing=scan.spacing, geometry=scan.geometry, pixels=scan.pixels
        )
        warnings = task.warnings
        if numbers["tumour_voxels"] == 0:
            warnings = (*warnings, "no tumour was found")
        return Segmentation(task.scan, mask, task.probability, numbers, warnings)


def _arranged(pixels: Pixels, channels: list[int]) -> Pixels:
    """The channels in the network's order; not copied where they are so already."""
    if channels == list(range(pixels.shape[-1])):
        return pixels
    arranged = allocate((*pixels.shape[:3], len(channels)), pixels.dtype)
    for target, frame in zip(arranged, pixels, strict=True):
        target[:] = frame[..., channels]
    return arranged


def _sigmoid(logits: NDArray[Any]) -> Float32:
    """1 / (1 + exp(-x)), by way of tanh, which cannot overflow."""
    values: Float32 = np.tanh(logits * np.float32(0.5))
    values += 1
    values *= np.float32(0.5)
    return values


def _softmax(logits: NDArray[Any]) -> Float32:
    """Of (slices, 1 + K, height, width), background first, the K classes as (slices, height, width, K)."""
    values: Float32 = np.exp(logits - logits.max(axis=1, keepdims=True))
    values /= values.sum(axis=1, keepdims=True)
    return np.ascontiguousarray(np.moveaxis(values[:, 1:], 1, -1))
