"""Frames -> logits -> probabilities, averaged over the members of an ensemble and over mirror images."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import ModelError
from tumorseg.inference.cutting import lit_box
from tumorseg.inference.model import Flip, Model
from tumorseg.inference.runtime import Float32, Runtime

_AXES: dict[Flip, int] = {"horizontal": -1, "vertical": -2}
"""Of (slices, channels, height, width)."""

Overlaps = NDArray[np.int64]
"""(slices, 2): twice the pixels that a slice's masks in the plain and in the mirror images share, and the sum."""


class SliceProbability:
    """What a model says of slices that lie on its grid, whatever scans they are of.

    Args:
        model: whose networks these are.
        runtimes: one of each member of an ensemble.
        fast: compute by the model's fast way; see `FastWay`.
    """

    def __init__(self, model: Model, runtimes: tuple[Runtime, ...], *, fast: bool) -> None:
        self.spec = model.spec
        self._folder = model.folder
        self._runtimes = runtimes
        self.batch_size = max(member.batch_size for member in runtimes)
        self.lanes = min(member.lanes for member in runtimes)
        way = self.spec.fast if fast else None
        # A batch has one size for all its slices.
        self._cuts = way is not None and way.cut and self.batch_size == 1
        self._flips_above = way.flips_above if way is not None else 0.0

    def __call__(self, frames: Float32) -> tuple[Float32, Overlaps]:
        """Probabilities of slices, and how far their mirror images agree.

        Args:
            frames: (slices, stack * channels, size, size), normalised; `batch_size` of them at most.

        Returns:
            (slices, size, size), of several classes with an axis for them behind, 0 to 1; and the overlaps.

        Raises:
            ModelError: the network gives another shape than model.json says, or values that are not finite.
        """
        return self._cut_probability(frames) if self._cuts else self._probability(frames)

    def _cut_probability(self, frames: Float32) -> tuple[Float32, Overlaps]:
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

    def _probability(self, frames: Float32) -> tuple[Float32, Overlaps]:
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
                f"the network of {self._folder} gives {logits.shape} where {expected} is due",
                next_step="check that model.json and model.onnx belong together",
            )
        if not np.isfinite(logits).all():
            raise ModelError(
                f"the network of {self._folder} gives values that are not finite", next_step="train it again"
            )
        logits = logits / np.float32(self.spec.temperature)
        return _sigmoid(logits[:, 0]) if self.spec.logits == 1 else _softmax(logits)


def _overlaps(plain: NDArray[np.bool_], mirrored: NDArray[np.bool_]) -> Overlaps:
    """Of each slice twice the pixels that both hold, and the sum of what each holds."""
    both, one, other = (np.count_nonzero(each, axis=(1, 2)) for each in (plain & mirrored, plain, mirrored))
    return np.stack([2 * both, one + other], axis=1)


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
