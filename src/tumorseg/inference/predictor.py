"""Predictor: scan -> normalise -> grid -> network -> probability -> the scan's own grid -> blend -> postprocess."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import DataError, ModelError, TumorsegError
from tumorseg.inference.cutting import lit_box
from tumorseg.inference.measure import measure
from tumorseg.inference.model import Flip, Model
from tumorseg.inference.runtime import Device, Float32, Runtime
from tumorseg.inference.scratch import allocate
from tumorseg.inference.sequences import choose_channels
from tumorseg.inference.trust import input_cautions
from tumorseg.inference.trust_in_mask import mask_cautions
from tumorseg.postprocess import blend_slices, postprocess
from tumorseg.preprocess import Grid, Statistics, filtered, head_box, normalise, plan_grid, stacked, statistics
from tumorseg.recipe import Filter
from tumorseg.scan import Caution, Pixels, Scan, Segmentation

Failed = Callable[[Scan, TumorsegError], None]
Watch = Callable[[int], None]

_AXES: dict[Flip, int] = {"horizontal": -1, "vertical": -2}
"""Of (slices, channels, height, width)."""

_RESAMPLED = tuple(map(np.dtype, (np.uint8, np.uint16, np.int16, np.float32, np.float64)))

_RECENT = 32
"""Slices of a scan that are kept as a network with neighbours sees them."""

ROUND = 4
"""Slices that each lane computes in one go, where there are several lanes."""

AHEAD = 2
"""Such rounds that wait for the lanes, so that none of these is idle while scans are read and answered."""


@dataclass(eq=False)
class _Task:
    """One scan on its way; `left` slices of it have not come back from the network.

    `pixels` are the scan's, with the network's channels in the network's order. `classes` is the number of classes.
    `overlaps` are of each slice's masks in the plain and in the mirror images: twice their common pixels, and the sum.
    """

    scan: Scan
    pixels: Pixels
    measured: Statistics
    grid: Grid
    filters: tuple[Filter, ...]
    warnings: tuple[Caution, ...]
    classes: int
    neighbours: int
    alone: Callable[[int], Float32] = field(init=False)
    probability: NDArray[np.float16] = field(init=False)
    overlaps: NDArray[np.int64] = field(init=False)
    left: int = field(init=False)

    def __post_init__(self) -> None:
        axes = () if self.classes == 1 else (self.classes,)
        self.probability = allocate((*self.pixels.shape[:3], *axes), np.float16)
        self.overlaps = np.zeros((len(self.pixels), 2), np.int64)
        self.left = len(self.pixels)
        # Not a method: a cache of one would hold the task that holds it, and memory would wait for the collector.
        alone = partial(_alone, self.pixels, self.measured, self.grid, self.filters)
        # Neighbours meet a slice again and again while its own turn is near.
        self.alone = lru_cache(_RECENT)(alone) if self.neighbours else alone

    def frame(self, index: int) -> Float32:
        """One slice and its neighbours as the network sees them, (stack * channels, size, size)."""
        if not self.neighbours:
            return self.alone(index)
        return np.concatenate([self.alone(each) for each in stacked(index, len(self.pixels), self.neighbours)])


def _alone(pixels: Pixels, measured: Statistics, grid: Grid, filters: Sequence[Filter], index: int) -> Float32:
    """One slice as the network sees it, (channels, size, size)."""
    frame, measured = filtered(pixels[index], measured.of_slice(index), filters)
    # Resampled before it is normalised, as in training.
    square = grid.apply(frame)
    return np.ascontiguousarray(np.moveaxis(normalise(square[None], measured)[0], -1, 0))


@dataclass(frozen=True)
class _Round:
    """Slices on their way through the network; `parts` are those that are not known to be through."""

    slices: Sequence[tuple[_Task, int]]
    parts: Sequence[Future[None]] = ()


class Predictor:
    """The one way from a Scan to its Segmentation, in every verb and in evaluation.

    What comes out for a scan does not depend on the scans beside it.

    Args:
        model: what `read_model` gives.
        runtime: computes the network; without one, ONNX Runtime computes the model's own graph, or each of an
            ensemble's.
        device: for that; auto takes CUDA where it is there.
        watch: told after each batch how many slices it had; what it raises ends the work.
        fast: compute it by its fast way; see `FastWay`.

    Raises:
        ModelError: the model cannot be computed here, or has no fast way.
    """

    def __init__(
        self,
        model: Model,
        *,
        runtime: Runtime | None = None,
        device: Device = "auto",
        watch: Watch | None = None,
        fast: bool = False,
    ) -> None:
        model = model.faster if fast else model
        self.model = model
        self._watch = watch
        self.spec = model.spec
        self._runtimes: tuple[Runtime, ...]
        if runtime is not None:
            self._runtimes = (runtime,)
        else:
            from tumorseg.inference.onnx_runtime import OnnxRuntime

            self._runtimes = tuple(OnnxRuntime(graph, device=device) for graph in model.graphs)
        self._batch_size = max(member.batch_size for member in self._runtimes)
        self._lanes = min(member.lanes for member in self._runtimes)
        self._pool = ThreadPoolExecutor(self._lanes, thread_name_prefix="tumorseg-lane")
        way = self.spec.fast if fast else None
        # A batch has one size for all its slices.
        self._cuts = way is not None and way.cut and self._batch_size == 1
        self._flips_above = way.flips_above if way is not None else 0.0

    def segment(self, scan: Scan) -> Segmentation:
        """Segment one scan; see `segment_all`."""
        return next(self.segment_all([scan]))

    def frame(self, scan: Scan, index: int) -> Float32:
        """One slice, with its neighbours, as the network sees it, (stack * channels, size, size) float32."""
        return self._open(scan).frame(index)

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
        under_way: deque[_Round] = deque()
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
                if len(batch) >= self._batch_size * (ROUND * self._lanes if self._lanes > 1 else 1):
                    under_way.append(self._begin(batch))
                    batch = []
                # While the next are computed, what came before is answered, and the next scans are read.
                while len(under_way) > (AHEAD if self._lanes > 1 else 0):
                    self._finish(under_way.popleft())
            while waiting and waiting[0].left == 0:
                yield self._whole(waiting.popleft())
        under_way.append(self._begin(batch))
        while under_way:
            self._finish(under_way.popleft())
        # Not a list of them: each is forgotten once it is answered.
        while waiting:
            yield self._whole(waiting.popleft())

    def _whole(self, task: _Task) -> _Task:
        """What is due once all slices of a scan are there."""
        blend_slices(task.probability, self.spec.blend)
        return task

    def _open(self, scan: Scan) -> _Task:
        """Read a scan and measure what its slices have in common."""
        pixels = scan.pixels
        if pixels.ndim != 4 or 0 in pixels.shape:
            raise DataError(f"scan {scan.id} has no pixels", next_step="leave it out")
        if pixels.shape[-1] != len(scan.channels):
            raise DataError(f"scan {scan.id} has {pixels.shape[-1]} channels but {len(scan.channels)} names")
        channels, warnings = choose_channels(scan.channels, self.spec.channels, where=f"scan {scan.id}")
        pixels = _resampled_kind(_arranged(pixels, channels))
        box = head_box(pixels) if self.spec.crop == "head" else None
        grid = plan_grid(*pixels.shape[1:3], image_size=self.spec.image_size, box=box)
        measured = statistics(pixels, self.spec.normalization)
        spec = self.spec
        return _Task(scan, pixels, measured, grid, spec.filters, warnings, len(spec.classes), spec.neighbours)

    def _begin(self, batch: list[tuple[_Task, int]]) -> _Round:
        """Send slices through the network, in the background where there are several lanes."""
        step = self._batch_size
        parts = [batch[start : start + step] for start in range(0, len(batch), step)]
        if self._lanes > 1:
            return _Round(batch, [self._pool.submit(self._fill, part) for part in parts])
        for part in parts:
            self._fill(part)
        return _Round(batch)

    def _finish(self, under_way: _Round) -> None:
        """Wait until a round's probabilities are where they belong."""
        for part in under_way.parts:
            part.result()
        for task, _ in under_way.slices:
            task.left -= 1
        if self._watch is not None and under_way.slices:
            self._watch(len(under_way.slices))

    def _fill(self, batch: list[tuple[_Task, int]]) -> None:
        """Compute as many slices as go through the network at once, and put their probabilities where they belong."""
        seen = [task.frame(index) for task, index in batch]
        frames = seen[0][None] if len(seen) == 1 else np.stack(seen)
        squares, overlaps = self._cut_probability(frames) if self._cuts else self._probability(frames)
        for (task, index), square, overlap in zip(batch, squares, overlaps, strict=True):
            task.probability[index] = task.grid.undo(square)
            task.overlaps[index] = overlap

    def _cut_probability(self, frames: Float32) -> tuple[Float32, NDArray[np.int64]]:
        """As `_probability`, of one slice; 0 where it is dark, without a look."""
        channels = self.spec.channels
        flair = frames[0, channels.index("flair")] if "flair" in channels else frames[0].max(axis=0)
        classes = () if len(self.spec.classes) == 1 else (len(self.spec.classes),)
        whole = np.zeros((1, *frames.shape[2:], *classes), np.float32)
        overlaps = np.zeros((1, 2), np.int64)
        box = lit_box(flair)
        if box is not None:
            rows, columns = slice(box.top, box.bottom), slice(box.left, box.right)
            whole[:, rows, columns], overlaps = self._probability(frames[:, :, rows, columns])
        return whole, overlaps

    def _probability(self, frames: Float32) -> tuple[Float32, NDArray[np.int64]]:
        """(slices, size, size), of several classes with an axis for them behind; 0 to 1. And the slices' overlaps.

        Averaged over the members of an ensemble, and over the plain image and its mirror images.
        """
        total = self._members_probability(frames)
        overlaps = np.zeros((len(frames), 2), np.int64)
        flips = self.spec.test_time_flips
        looked_at = self._looked_at(total) if flips else np.arange(0)
        if len(looked_at):
            seen, images = frames[looked_at], total[looked_at]
            plain = self._marked(images)
            for flip in flips:
                mirrored = np.flip(self._members_probability(np.flip(seen, _AXES[flip])), _AXES[flip] + 3)
                images = images + mirrored
                overlaps[looked_at] += _overlaps(plain, self._marked(mirrored))
            total[looked_at] = images / (1 + len(flips))
        return np.asarray(total / len(self._runtimes), np.float32), overlaps

    def _looked_at(self, total: Float32) -> NDArray[np.intp]:
        """Of which slices mirror images are computed, by the members' sum for the plain ones."""
        if not self._flips_above:
            return np.arange(len(total))
        tumour = total if len(self.spec.classes) == 1 else total.sum(axis=-1)
        return np.flatnonzero(tumour.max(axis=(1, 2)) > self._flips_above * len(self._runtimes))

    def _members_probability(self, frames: Float32) -> Float32:
        """The sum over the members of an ensemble."""
        return np.asarray(sum(self._plain_probability(runtime, frames) for runtime in self._runtimes), np.float32)

    def _marked(self, total: Float32) -> NDArray[np.bool_]:
        """Where the members' sum is above the threshold, (slices, size, size)."""
        tumour = total if len(self.spec.classes) == 1 else total.sum(axis=-1)
        return np.asarray(tumour > self.spec.threshold * len(self._runtimes))

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
        if self.spec.test_time_flips:
            numbers["flip_disagreement"] = _disagreement(task.overlaps)
        warnings = task.warnings
        if self.spec.usual is not None:
            warnings = (*warnings, *input_cautions(task.pixels, self.spec.usual, self.spec.channels))
        warnings = (*warnings, *mask_cautions(numbers))
        return Segmentation(task.scan, mask, task.probability, numbers, warnings)


def _arranged(pixels: Pixels, channels: list[int]) -> Pixels:
    """The channels in the network's order; not copied where they are so already."""
    if channels == list(range(pixels.shape[-1])):
        return pixels
    arranged = allocate((*pixels.shape[:3], len(channels)), pixels.dtype)
    for target, frame in zip(arranged, pixels, strict=True):
        target[:] = frame[..., channels]
    return arranged


def _resampled_kind(pixels: Pixels) -> Pixels:
    """Pixels of a type that OpenCV resamples; whole numbers of 32 and 64 bits and half floats become float32."""
    if pixels.dtype in _RESAMPLED:
        return pixels
    wide = allocate(pixels.shape, np.float32)
    for target, frame in zip(wide, pixels, strict=True):
        target[:] = frame
    return wide


def _overlaps(plain: NDArray[np.bool_], mirrored: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Of each slice twice the pixels that both hold, and the sum of what each holds."""
    both, one, other = (np.count_nonzero(each, axis=(1, 2)) for each in (plain & mirrored, plain, mirrored))
    return np.stack([2 * both, one + other], axis=1)


def _disagreement(overlaps: NDArray[np.int64]) -> float:
    """1 - Dice over all slices; NaN where both masks are empty."""
    twice, both = overlaps.sum(axis=0)
    return float(1 - twice / both) if both else float("nan")


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
