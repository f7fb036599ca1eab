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
from tumorseg.preprocess import Grid, Statistics, head_box, normalise, plan_grid, statistics
from tumorseg.scan import Pixels, Scan, Segmentation

Failed = Callable[[Scan, TumorsegError], None]

_AXES: dict[Flip, int] = {"horizontal": -1, "vertical": -2}


@dataclass(eq=False)
class _Task:
    """One scan on its way; `left` slices of it have not come back from the network.

    `pixels` are the scan's, with the network's channels in the network's order.
    """

    scan: Scan
    pixels: Pixels
    measured: Statistics
    grid: Grid
    warnings: tuple[str, ...]
    probability: NDArray[np.float16] = field(init=False)
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.probability = allocate(self.pixels.shape[:3], np.float16)
        self.left = len(self.pixels)

    def frame(self, index: int) -> Float32:
        """One slice as the network sees it, (channels, size, size)."""
        per_slice = len(self.measured.low) > 1
        row = slice(index, index + 1) if per_slice else slice(None)
        measured = Statistics(
            self.measured.low[row], self.measured.span[row], self.measured.floor, self.measured.ceiling
        )
        # Resampled before it is normalised, as in training.
        square = self.grid.apply(self.pixels[index])
        return np.ascontiguousarray(np.moveaxis(normalise(square[None], measured)[0], -1, 0))


class Predictor:
    """The one way from a Scan to its Segmentation, in every verb and in evaluation.

    What comes out for a scan does not depend on the scans beside it.

    Args:
        model: what `read_model` gives.
        runtime: computes the network; without one, ONNX Runtime computes the model's own graph.
        device: for that; auto takes CUDA where it is there.

    Raises:
        ModelError: the model cannot be computed here.
    """

    def __init__(self, model: Model, *, runtime: Runtime | None = None, device: Device = "auto") -> None:
        if len(model.spec.classes) != 1:
            raise ModelError(
                f"the model in {model.folder} has {len(model.spec.classes)} classes", next_step="use one with one class"
            )
        if runtime is None:
            from tumorseg.inference.onnx_runtime import OnnxRuntime

            runtime = OnnxRuntime(model.onnx, device=device)
        self.model = model
        self.spec = model.spec
        self._runtime = runtime

    def segment(self, scan: Scan) -> Segmentation:
        """Segment one scan; see `segment_all`."""
        return next(self.segment_all([scan]))

    def probabilities(self, scan: Scan) -> NDArray[np.float16]:
        """Probability of tumour on the scan's own grid, (slices, height, width), 0 to 1."""
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
                if len(batch) >= self._runtime.batch_size:
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
        return _Task(scan, pixels, statistics(pixels, self.spec.normalization), grid, warnings)

    def _compute(self, batch: list[tuple[_Task, int]]) -> None:
        """Send slices through the network and put their probabilities where they belong."""
        frames = np.stack([task.frame(index) for task, index in batch])
        for (task, index), square in zip(batch, self._probability(frames), strict=True):
            task.probability[index] = task.grid.undo(square)
            task.left -= 1

    def _probability(self, frames: Float32) -> Float32:
        """(slices, size, size), 0 to 1, averaged over the plain image and its mirror images."""
        total = self._plain_probability(frames)
        for flip in self.spec.test_time_flips:
            axis = _AXES[flip]
            total += np.flip(self._plain_probability(np.flip(frames, axis)), axis)
        total /= 1 + len(self.spec.test_time_flips)
        return total

    def _plain_probability(self, frames: Float32) -> Float32:
        logits = self._runtime(frames)
        expected = (len(frames), 1, *frames.shape[2:])
        if logits.shape != expected:
            raise ModelError(
                f"the network of {self.model.folder} gives {logits.shape} where {expected} is due",
                next_step="check that model.json and model.onnx belong together",
            )
        if not np.isfinite(logits).all():
            raise ModelError(
                f"the network of {self.model.folder} gives values that are not finite", next_step="train it again"
            )
        return _sigmoid(logits[:, 0] / np.float32(self.spec.temperature))

    def _answer(self, task: _Task) -> Segmentation:
        mask = postprocess(
            task.probability,
            threshold=self.spec.threshold,
            min_component_voxels=self.spec.postprocessing.min_component_voxels,
            fill_holes=self.spec.postprocessing.fill_holes,
        )
        numbers = measure(mask, probability=task.probability, spacing=task.scan.spacing)
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
