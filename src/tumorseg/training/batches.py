"""Batches from the prepared store: which slices a step shows, and what a network needs of them.

Everything random is drawn from (seed, step), so that a run that was cut off goes on to the same weights.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from torch import Tensor

from tumorseg.datasets.prepared import Store, StoredScan
from tumorseg.datasets.split import Part, Split
from tumorseg.errors import TrainingError
from tumorseg.grid import Grid, plan_grid
from tumorseg.preprocess import Statistics, filtered, fixed_statistics, percentile_statistics, stacked
from tumorseg.recipe import Recipe
from tumorseg.training.augmentation import Changes, draw


class Batch(NamedTuple):
    """One step's slices as they lie in the store, and how to normalise and change them.

    Attributes:
        pixels: (B, H, W, C) uint8, or float32 where the store's pixels are of another dtype; C counts the channels
            of the slice and then those of its neighbours, where the recipe has such.
        masks: (B, H, W) uint8, the data set's classes.
        low, span: (B, C) float32; see `Statistics`.
        floor, ceiling: see `Statistics`.
        changes: augmentation; None in validation.
        owners: (B,) int64: index of each slice's patient among those of the part; -1 for padding.
    """

    pixels: Tensor
    masks: Tensor
    low: Tensor
    span: Tensor
    floor: float
    ceiling: float
    changes: Changes | None
    owners: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same with its tensors on `device`."""
        pixels, masks, low, span, owners = (
            tensor.to(device, non_blocking=True)
            for tensor in (self.pixels, self.masks, self.low, self.span, self.owners)
        )
        return self._replace(pixels=pixels, masks=masks, low=low, span=span, owners=owners)


@dataclass(frozen=True, eq=False)
class PartOfStore:
    """The slices of some patients of a store.

    Attributes:
        rows: (N,) int64: their rows in the store's table.
        owners: (N,) int64: index into `patients`.
        patients: sorted.
        channels: the recipe's, or where it names none the store's.
    """

    store: Store
    recipe: Recipe
    rows: NDArray[np.int64]
    owners: NDArray[np.int64]
    patients: tuple[str, ...]
    channels: tuple[str, ...]

    @classmethod
    def of(cls, store: Store, recipe: Recipe, split: Split, part: Part) -> "PartOfStore":
        """The slices of one part, in the store's order."""
        rows = store.rows(split, part)
        patient_of_scan = np.array([entry.patient for entry in store.stored], np.str_)
        patients, owners = np.unique(patient_of_scan[store.scan_index[rows]], return_inverse=True)
        names = tuple(str(patient) for patient in patients)
        return cls(store, recipe, rows, owners.astype(np.int64), names, recipe.channels or store.channels)

    def grid(self, entry: StoredScan) -> Grid:
        """The way from a scan's frame to the network's grid."""
        box = self.store.box(entry) if self.recipe.crop == "head" else None
        return plan_grid(entry.shape[1], entry.shape[2], image_size=self.recipe.image_size, box=box)

    def assemble(self, picked: NDArray[np.int64], changes: Changes | None, rng: Generator | None) -> Batch:
        """Gather slices; `picked` indexes `rows`.

        With `rng`, statistics may come from a subset of a volume, which then lacks neighbours too, and which way the
        slices of a volume are counted is drawn as well.
        """
        size, channels, stack = self.recipe.image_size, len(self.channels), self.recipe.stack
        eight_bits = bool(self.recipe.filters) or all(entry.dtype == "uint8" for entry in self.store.stored)
        pixels = np.empty((len(picked), size, size, stack * channels), np.uint8 if eight_bits else np.float32)
        masks = np.empty((len(picked), size, size), np.uint8)
        low = np.empty((len(picked), stack * channels), np.float32)
        span = np.empty((len(picked), stack * channels), np.float32)
        measured: Statistics | None = None
        for place, index in enumerate(picked):
            row = int(self.rows[index])
            entry = self.store.stored[int(self.store.scan_index[row])]
            order = [entry.channels.index(channel) for channel in self.channels]
            grid = self.grid(entry)
            present = self._present(entry, row, rng)
            seen = self._seen(entry, row, present, rng)
            for index_in_stack, own in enumerate(seen):
                at = slice(index_in_stack * channels, (index_in_stack + 1) * channels)
                frame = self.store.pixels(entry)[own - entry.first]
                frame = frame if order == list(range(len(entry.channels))) else frame[..., order]
                scale = self._statistics(entry, own, present).of_channels(order)
                frame, measured = filtered(frame, scale, self.recipe.filters)
                pixels[place, ..., at] = grid.apply(frame)
                low[place, at], span[place, at] = measured.low[0], measured.span[0]
            masks[place] = grid.apply(self.store.masks(entry)[row - entry.first], nearest=True)
        assert measured is not None
        return Batch(
            torch.from_numpy(pixels),
            torch.from_numpy(masks),
            torch.from_numpy(low),
            torch.from_numpy(span),
            measured.floor,
            measured.ceiling,
            changes,
            torch.from_numpy(self.owners[picked]),
        )

    def _present(self, entry: StoredScan, row: int, rng: Generator | None) -> NDArray[np.int64]:
        """Rows of the volume that are taken to be there: all, or with `rng` perhaps a random few."""
        slices = entry.shape[0]
        rows = np.arange(entry.first, entry.first + slices)
        if self.recipe.normalization != "volume-percentile" or rng is None:
            return rows
        if rng.random() < self.recipe.sampling.subset_statistics:
            # As many other slices as chance has it, none included: what a lone slice will be normalised by.
            others = rng.choice(rows, size=int(slices * rng.random() ** 2), replace=False)
            rows = np.union1d(others, [row])
        return rows

    def _seen(self, entry: StoredScan, row: int, present: NDArray[np.int64], rng: Generator | None) -> list[int]:
        """Rows of a slice and its neighbours; the slice itself stands for what is not there."""
        neighbours = self.recipe.neighbours
        if not neighbours:
            return [row]
        seen = [entry.first + at for at in stacked(row - entry.first, entry.shape[0], neighbours)]
        if rng is not None and rng.random() < 0.5:
            seen = [2 * row - other for other in seen]
        there = set(present.tolist())
        return [other if other in there else row for other in seen]

    def _statistics(self, entry: StoredScan, row: int, present: NDArray[np.int64]) -> Statistics:
        levels = self.store.levels(entry)
        if self.recipe.normalization in ("imagenet", "full-range"):
            full = 255.0 if levels is None else float(levels.max())
            return fixed_statistics(self.recipe.normalization, len(entry.channels), full=full)
        counts = self.store.histograms
        if self.recipe.normalization == "slice-percentile":
            return percentile_statistics(counts[row : row + 1], levels)
        return percentile_statistics(counts[present].sum(axis=0, keepdims=True), levels)


class TrainingBatches:
    """An endless plan of training steps, cut into epochs of equal length.

    Args:
        part: the training patients' slices.
        batch_size: slices in one step on one device.
        step_now: tells the number of steps done since the start of the run; a resumed run starts there.
        rank, world_size: which device of how many; each sees its own slices.

    Raises:
        TrainingError: there are fewer slices than one batch needs.
    """

    def __init__(
        self,
        part: PartOfStore,
        *,
        batch_size: int,
        step_now: Callable[[], int],
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.part = part
        self.batch_size = batch_size
        self.step_now = step_now
        self.rank = rank
        self.world_size = world_size
        tumour = part.store.tumour_pixels[part.rows] > 0
        self._with, self._without = np.flatnonzero(tumour), np.flatnonzero(~tumour)
        ratio = part.recipe.sampling.empty_ratio
        empty = len(self._without) if ratio is None else min(len(self._without), round(ratio * len(self._with)))
        self._empty = empty
        self.steps_per_epoch = (len(self._with) + empty) // (batch_size * world_size)
        if self.steps_per_epoch == 0:
            raise TrainingError(
                f"the training part shows {len(self._with) + empty} slices an epoch, fewer than one batch of "
                f"{batch_size * world_size}",
                next_step="lower batch_size or add patients",
            )

    def __len__(self) -> int:
        return self.steps_per_epoch

    def __iter__(self) -> Iterator[Batch]:
        """The rest of the epoch that `step_now` lies in; the next batch is gathered while one is trained on."""
        first = self.step_now()
        last = (first // self.steps_per_epoch + 1) * self.steps_per_epoch
        with ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(self.batch, first)
            for step in range(first, last):
                batch = coming.result()
                if step + 1 < last:
                    coming = ahead.submit(self.batch, step + 1)
                yield batch

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from the start of the run; the same whenever it is asked for."""
        recipe = self.part.recipe
        epoch, within = divmod(step, self.steps_per_epoch)
        order = self._order(epoch)
        start = (within * self.world_size + self.rank) * self.batch_size
        picked = order[start : start + self.batch_size]
        rng = default_rng((recipe.seed, step, self.rank))
        changes = draw(
            recipe.augmentation,
            batch=len(picked),
            channels=self.part.channels,
            size=recipe.image_size,
            patch=recipe.patch_size or recipe.image_size,
            rng=rng,
        )
        return self.part.assemble(picked, changes, rng)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        rng = default_rng((self.part.recipe.seed, epoch, 7))
        empty = rng.permutation(self._without)[: self._empty]
        return rng.permutation(np.concatenate([self._with, empty]))


class ValidationBatches:
    """Every slice of the validation patients once, in order, shared out among the devices."""

    def __init__(self, part: PartOfStore, *, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        self.part = part
        indices = np.arange(len(part.rows))[rank::world_size]
        self._chunks = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]

    def __len__(self) -> int:
        return len(self._chunks)

    def __iter__(self) -> Iterator[Batch]:
        for chunk in self._chunks:
            yield self.part.assemble(chunk, None, None)
