"""Several trainings of one recipe on the same patients: how much of the scatter is patients, how much is seed."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumorseg.errors import ShapeMismatch


@dataclass(frozen=True)
class VarianceSplit:
    """Variances of one score, by where they come from; NaN where the design cannot tell.

    Attributes:
        patient: between patients, whatever the network.
        seed: between networks that differ in nothing but the seed, over all their patients alike.
        rest: what is left: one network and one patient together.
        mean_moves_by: standard deviation of the mean over these patients when everything is trained again.
        patients, seeds: that were used.
        left_out: patients without a score under every seed.
        clipped: whether a variance came out negative and is shown as 0, as moments do when it is small.
    """

    patient: float
    seed: float
    rest: float
    mean_moves_by: float
    patients: int
    seeds: int
    left_out: int
    clipped: bool

    @property
    def total(self) -> float:
        """Of one patient's score under one network."""
        return self.patient + self.seed + self.rest


def variance_split(scores: ArrayLike, blocks: ArrayLike | None = None) -> VarianceSplit:
    """Split the variance of scores into patient, seed and rest by moments (analysis of variance).

    The model is y = block + patient + network + rest, patients crossed with the networks of their block, both drawn at
    random, one score in each cell. With sums of squares taken within blocks, F blocks, S seeds and n patients, the
    mean squares have the expectations

        E[MS patient] = S·σ²(patient) + σ²(rest)
        E[MS network] = n/F·σ²(network) + σ²(rest)
        E[MS rest]    = σ²(rest)

    which are solved for the variances (Henderson 1953, method 1; Searle, Casella and McCulloch, Variance Components,
    1992, chapter 4). With one block this is the two-way random model without replication.

    Args:
        scores: (patients, seeds); a patient with a NaN is left out and counted.
        blocks: (patients,), who shares networks, such as the fold; None takes all as one block.

    Raises:
        ShapeMismatch: the scores are no table, or blocks are not one for each patient.
    """
    table = np.asarray(scores, np.float64)
    groups = np.zeros(table.shape[:1], np.intp) if blocks is None else np.asarray(blocks)
    if table.ndim != 2 or groups.shape != table.shape[:1]:
        raise ShapeMismatch(
            f"scores of shape {table.shape} and blocks of shape {groups.shape} do not belong together",
            next_step="give (patients, seeds) and one block for each patient",
        )
    whole = ~np.isnan(table).any(axis=1)
    kept, (_, group) = table[whole], np.unique(groups[whole], return_inverse=True)
    patients, seeds = kept.shape
    sizes = np.bincount(group)
    folds = sizes.size
    within = patients - folds
    left_out = int(np.count_nonzero(~whole))
    if seeds < 2 or within < 1:
        nothing = math.nan
        return VarianceSplit(nothing, nothing, nothing, nothing, patients, seeds, left_out, False)
    by_patient = kept.mean(axis=1)
    by_network = _block_means(kept, group, sizes)
    by_block = by_network.mean(axis=1)
    ms_patient = seeds * float(((by_patient - by_block[group]) ** 2).sum()) / within
    ms_network = float((sizes[:, None] * (by_network - by_block[:, None]) ** 2).sum()) / (folds * (seeds - 1))
    residual = kept - by_patient[:, None] - by_network[group] + by_block[group][:, None]
    rest = float((residual**2).sum()) / (within * (seeds - 1))
    patient, network = (ms_patient - rest) / seeds, (ms_network - rest) * folds / patients
    shown_patient, shown_network = max(patient, 0.0), max(network, 0.0)
    moves = shown_network * float((sizes**2).sum()) / patients**2 + rest / patients
    return VarianceSplit(
        patient=shown_patient,
        seed=shown_network,
        rest=rest,
        mean_moves_by=math.sqrt(moves),
        patients=patients,
        seeds=seeds,
        left_out=left_out,
        clipped=patient < 0 or network < 0,
    )


def _block_means(table: NDArray[np.float64], group: NDArray[np.intp], sizes: NDArray[np.intp]) -> NDArray[np.float64]:
    """Mean of each block under each seed, (blocks, seeds)."""
    sums = np.zeros((sizes.size, table.shape[1]))
    np.add.at(sums, group, table)
    return np.asarray(sums / sizes[:, None], np.float64)
