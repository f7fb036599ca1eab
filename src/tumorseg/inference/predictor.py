"""Predictor: scan -> normalise -> grid -> network -> probability -> the scan's own grid -> blend -> postprocess."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import TumorsegError
from tumorseg.inference.measure import measure
from tumorseg.inference.model import Model
from tumorseg.inference.opened_scan import OpenedScan, open_scan
from tumorseg.inference.runtime import Device, Float32, Runtime
from tumorseg.inference.slice_probability import Overlaps, SliceProbability
from tumorseg.inference.trust import input_cautions
from tumorseg.inference.trust_in_mask import mask_cautions
from tumorseg.postprocess import blend_slices, postprocess
from tumorseg.scan import Scan, Segmentation

Failed = Callable[[Scan, TumorsegError], None]
Watch = Callable[[int], None]

ROUND = 4
"""Slices that each lane computes in one go, where there are several lanes."""

AHEAD = 2
"""Such rounds that wait for the lanes, so that none of these is idle while scans are read and answered."""


@dataclass(frozen=True)
class _Round:
    """Slices on their way through the network; `parts` are those that are not known to be through."""

    slices: Sequence[tuple[OpenedScan, int]]
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
        if runtime is None:
            from tumorseg.inference.onnx_runtime import OnnxRuntime

            runtimes: tuple[Runtime, ...] = tuple(OnnxRuntime(graph, device=device) for graph in model.graphs)
        else:
            runtimes = (runtime,)
        self._network = SliceProbability(model, runtimes, fast=fast)
        self._pool = ThreadPoolExecutor(self._network.lanes, thread_name_prefix="tumorseg-lane")

    def segment(self, scan: Scan) -> Segmentation:
        """Segment one scan; see `segment_all`."""
        return next(self.segment_all([scan]))

    def frame(self, scan: Scan, index: int) -> Float32:
        """One slice, with its neighbours, as the network sees it, (stack * channels, size, size) float32."""
        return open_scan(scan, self.spec).frame(index)

    def probabilities(self, scan: Scan) -> NDArray[np.float16]:
        """Probability of tumour on the scan's own grid; see `Segmentation.probability`."""
        (opened,) = self._computed([scan], None)
        return opened.probability

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
        for opened in self._computed(scans, failed):
            yield self._answer(opened)

    def _computed(self, scans: Iterable[Scan], failed: Failed | None) -> Iterator[OpenedScan]:
        """Scans with their probabilities filled in."""
        waiting: deque[OpenedScan] = deque()
        batch: list[tuple[OpenedScan, int]] = []
        under_way: deque[_Round] = deque()
        side_by_side = self._network.lanes > 1
        size = self._network.batch_size * (ROUND * self._network.lanes if side_by_side else 1)
        for scan in scans:
            try:
                opened = open_scan(scan, self.spec)
            except TumorsegError as error:
                if failed is None:
                    raise
                failed(scan, error)
                continue
            waiting.append(opened)
            for index in range(len(opened.pixels)):
                batch.append((opened, index))
                if len(batch) >= size:
                    under_way.append(self._begin(batch))
                    batch = []
                # While the next are computed, what came before is answered, and the next scans are read.
                while len(under_way) > (AHEAD if side_by_side else 0):
                    self._finish(under_way.popleft())
            while waiting and waiting[0].left == 0:
                yield self._whole(waiting.popleft())
        under_way.append(self._begin(batch))
        while under_way:
            self._finish(under_way.popleft())
        # Not a list of them: each is forgotten once it is answered.
        while waiting:
            yield self._whole(waiting.popleft())

    def _whole(self, opened: OpenedScan) -> OpenedScan:
        """What is due once all slices of a scan are there."""
        blend_slices(opened.probability, self.spec.blend)
        return opened

    def _begin(self, batch: list[tuple[OpenedScan, int]]) -> _Round:
        """Send slices through the network, in the background where there are several lanes."""
        step = self._network.batch_size
        parts = [batch[start : start + step] for start in range(0, len(batch), step)]
        if self._network.lanes > 1:
            return _Round(batch, [self._pool.submit(self._fill, part) for part in parts])
        for part in parts:
            self._fill(part)
        return _Round(batch)

    def _finish(self, under_way: _Round) -> None:
        """Wait until a round's probabilities are where they belong."""
        for part in under_way.parts:
            part.result()
        for opened, _ in under_way.slices:
            opened.left -= 1
        if self._watch is not None and under_way.slices:
            self._watch(len(under_way.slices))

    def _fill(self, batch: list[tuple[OpenedScan, int]]) -> None:
        """Compute as many slices as go through the network at once, and put their probabilities where they belong."""
        seen = [opened.frame(index) for opened, index in batch]
        frames = seen[0][None] if len(seen) == 1 else np.stack(seen)
        for (opened, index), square, overlap in zip(batch, *self._network(frames), strict=True):
            opened.fill(index, square, overlap)

    def _answer(self, opened: OpenedScan) -> Segmentation:
        scan, probability = opened.scan, opened.probability
        mask = postprocess(probability, threshold=self.spec.threshold, cleaning=self.spec.postprocessing)
        numbers = measure(
            mask, probability=probability, spacing=scan.spacing, geometry=scan.geometry, pixels=scan.pixels
        )
        if self.spec.test_time_flips:
            numbers["flip_disagreement"] = _disagreement(opened.overlaps)
        warnings = opened.warnings
        if self.spec.usual is not None:
            warnings = (*warnings, *input_cautions(opened.pixels, self.spec.usual, self.spec.channels))
        warnings = (*warnings, *mask_cautions(numbers))
        return Segmentation(scan, mask, probability, numbers, warnings)


def _disagreement(overlaps: Overlaps) -> float:
    """1 - Dice over all slices; NaN where both masks are empty."""
    twice, both = overlaps.sum(axis=0)
    return float(1 - twice / both) if both else float("nan")
