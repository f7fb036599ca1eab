"""How a model is computed fastest without losing accuracy that could be seen: measured on validation patients."""

import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import ModelError
from tumorseg.files import digest_file
from tumorseg.inference.model import FastWay, Flip, Model, ModelSpec
from tumorseg.inference.predictor import Predictor
from tumorseg.postprocess import postprocess
from tumorseg.progress import Progress, silent
from tumorseg.scan import Scan
from tumorseg.training.joined import join_members
from tumorseg.training.quantised import CALIBRATION_SLICES, write_quantised

logger = logging.getLogger(__name__)

FAST_NAME = "fast.onnx"
MOST_LOSS = 0.001
"""Of the mean Dice by patient."""

FAINT = 0.1
"""A slice in whose plain image no probability is above this hardly ever has a tumour in the mean with mirror images."""


@dataclass(frozen=True)
class Trial:
    """A network, and the patients on whom it shows what a faster way loses.

    Attributes:
        model: as it is computed the ordinary way.
        training: scans by which the ranges of 8 bits are set.
        judged: scans with a reference, by which the loss is measured.
    """

    model: Model
    training: Sequence[Scan]
    judged: Sequence[Scan]


@dataclass(frozen=True)
class _Ready:
    """A trial whose 8-bit graph is written, and the Dice of each patient the ordinary way."""

    model: Model
    judged: Sequence[Scan]
    ordinary: NDArray[np.float64]

    def losses(self, way: FastWay, progress: Progress) -> NDArray[np.float64]:
        """Of Dice, for each patient.

        Raises:
            ModelError: the network cannot be computed so, as one that takes a single size.
        """
        spec = self.model.spec.model_copy(update={"fast": way})
        return self.ordinary - _dice(Predictor(Model(spec, self.model.folder), fast=True), self.judged, progress)


def with_fast_way(
    model: Model,
    source: Path,
    training: Sequence[Scan],
    validation: Sequence[Scan],
    *,
    trained_on: bool = False,
    rehearsals: Sequence[Trial] = (),
    progress: Progress = silent,
) -> ModelSpec:
    """Find the fastest way that loses at most `MOST_LOSS`, and write its graph beside the model's.

    Tried one after the other, the fastest first: 8 bits where slices are lit, then on the whole frame; each without the
    model's flips, then with those of slices that show something, then with all; then the same in float32. The
    ordinary way is none of them.

    Args:
        model: as it ships, of one graph; fast.onnx is written into its folder where 8 bits are chosen.
        source: the graph of its network with float32 weights.
        training: scans by which the ranges of 8 bits are set.
        validation: scans with a reference, by which the loss is measured.
        trained_on: whether the network was trained on those, for want of others. What 8 bits lose shows on them too;
            what the flips are worth does not: these are kept, unless rehearsals say what they are worth.
        rehearsals: networks of the same settings with patients whom they never saw, as the folds that were judged
            before everyone trained. They choose the way then, and `validation` must confirm it: on patients who
            trained a network flips are worth less than on others, so that a loss that shows there is real.
        progress: watches the scans go by.

    Returns:
        The model's spec with its fast way; as it is, with a warning, where none loses so little.
    """
    spec = model.spec
    ways = _ways(spec, flips_kept=trained_on and not rehearsals)
    with TemporaryDirectory(prefix="tumorseg-rehearsal-") as place:
        own = [_ready(Trial(model, training, validation), source, progress)]
        rehearsed = [_rehearsed(trial, Path(place) / str(index), progress) for index, trial in enumerate(rehearsals)]
        chosen = _first_good(ways, [rehearsed, own] if rehearsed else [own], progress)
    if chosen is not None:
        chosen = chosen.model_copy(update={"trained_on": trained_on and not rehearsed})
    else:
        logger.warning("no fast way of %s loses at most %g of Dice: it ships without one", spec.name, MOST_LOSS)
    if chosen is not None and chosen.graph:
        return own[0].model.spec.model_copy(update={"fast": chosen})
    (model.folder / FAST_NAME).unlink(missing_ok=True)
    return spec.model_copy(update={"fast": chosen})


def _ways(spec: ModelSpec, *, flips_kept: bool) -> list[FastWay]:
    """All that there are, the fastest first as a rule."""
    flips = spec.test_time_flips
    looks: list[tuple[tuple[Flip, ...], float]] = [((), 0.0), (flips, FAINT), (flips, 0.0)] if flips else [((), 0.0)]
    return [
        FastWay(graph=graph, test_time_flips=chosen, flips_above=above, cut=cut, loss=0.0, patients=0)
        for graph in (FAST_NAME, "")
        for chosen, above in looks
        for cut in (True, False)
        if (graph or cut or (chosen, above) != (flips, 0.0)) and not (flips_kept and chosen != flips)
    ]


def _rehearsed(trial: Trial, folder: Path, progress: Progress) -> _Ready:
    """The trial in a copy of its model, an ensemble as one graph, so that the model itself stays as it is."""
    shutil.copytree(trial.model.folder, folder)
    model = Model(trial.model.spec, folder)
    if model.spec.members:
        model = join_members(model, folder)
    return _ready(replace(trial, model=model), model.graphs[0], progress)


def _ready(trial: Trial, source: Path, progress: Progress) -> _Ready:
    """Write the 8-bit graph of `source` beside the model's own, and compute the ordinary way."""
    model, target = trial.model, trial.model.folder / FAST_NAME
    write_quantised(source, target, _calibration(Predictor(model), trial.training))
    files = {**model.spec.files, FAST_NAME: digest_file(target)}
    model = Model(model.spec.model_copy(update={"files": files}), model.folder)
    return _Ready(model, trial.judged, _dice(Predictor(trial.model), trial.judged, progress))


def _first_good(ways: Sequence[FastWay], groups: Sequence[Sequence[_Ready]], progress: Progress) -> FastWay | None:
    """The first way that loses at most `MOST_LOSS` in the mean over the patients of every group of trials.

    The loss that it states is that of the first group.
    """
    for way in ways:
        stated: FastWay | None = None
        for trials in groups:
            try:
                losses = np.concatenate([trial.losses(way, progress) for trial in trials])
            except ModelError as error:  # a network that takes one size only
                logger.info("not a fast way: %s", error)
                break
            loss = float(losses.mean())
            logger.info("%s: Dice %.4f below the ordinary way, %d patients", _words(way), loss, len(losses))
            if loss > MOST_LOSS:
                break
            stated = stated or way.model_copy(update={"loss": round(loss, 6), "patients": len(losses)})
        else:
            return stated
    return None


def _words(way: FastWay) -> str:
    words = f"{'8 bits' if way.graph else 'float32'}, {'with' if way.test_time_flips else 'without'} flips"
    words += " of slices that show something" if way.flips_above else ""
    return words + (", where a slice is lit" if way.cut else "")


def _calibration(predictor: Predictor, scans: Sequence[Scan]) -> Iterator[NDArray[np.float32]]:
    """Of scans all over the list, the slice with the most tumour and the one in the middle."""
    step = max(1, len(scans) * 2 // CALIBRATION_SLICES)
    for scan in scans[::step]:
        reference = scan.reference
        tumour = len(scan.pixels) // 2 if reference is None else int(np.argmax((reference > 0).sum(axis=(1, 2))))
        for index in dict.fromkeys((tumour, len(scan.pixels) // 2)):
            yield predictor.frame(scan, index)


def _dice(predictor: Predictor, scans: Sequence[Scan], progress: Progress) -> NDArray[np.float64]:
    """Dice of each patient that has tumour, (patients,)."""
    counts: dict[str, NDArray[np.float64]] = {}
    spec = predictor.spec
    for scan in progress.track(scans, what="Measuring a fast way"):
        mask = postprocess(predictor.probabilities(scan), threshold=spec.threshold, cleaning=spec.postprocessing) > 0
        assert scan.reference is not None
        reference = scan.reference > 0
        both = np.count_nonzero(mask & reference)
        found = np.array([both, np.count_nonzero(mask) + np.count_nonzero(reference)], np.float64)
        counts[scan.patient] = counts.get(scan.patient, np.zeros(2)) + found
    overlaps = np.stack(list(counts.values()))
    return 2 * overlaps[:, 0] / np.maximum(overlaps[:, 1], 1)
