"""How a model is computed fastest without losing accuracy that could be seen: measured on validation patients."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import ModelError
from tumorseg.files import digest_file
from tumorseg.inference.model import FastWay, Model, ModelSpec
from tumorseg.inference.predictor import Predictor
from tumorseg.postprocess import postprocess
from tumorseg.progress import Progress, silent
from tumorseg.scan import Scan
from tumorseg.training.quantised import CALIBRATION_SLICES, write_quantised

logger = logging.getLogger(__name__)

FAST_NAME = "fast.onnx"
MOST_LOSS = 0.001
"""Of the mean Dice by patient."""


def with_fast_way(
    model: Model,
    source: Path,
    training: Sequence[Scan],
    validation: Sequence[Scan],
    *,
    trained_on: bool = False,
    progress: Progress = silent,
) -> ModelSpec:
    """Find the fastest way that loses at most `MOST_LOSS`, and write its graph beside the model's.

    Tried one after the other, the fastest first: 8 bits where slices are lit, without and with the model's flips; then
    the same in float32. Of an ensemble, float32 alone.

    Args:
        model: as it ships; fast.onnx is written into its folder where 8 bits are chosen.
        source: the graph of its network with float32 weights.
        training: scans by which the ranges of 8 bits are set.
        validation: scans with a reference, by which the loss is measured.
        trained_on: whether the network was trained on those, for want of others. What 8 bits lose shows on them too;
            what the flips are worth does not, and these are kept.
        progress: watches the validation scans go by.

    Returns:
        The model's spec with its fast way; as it is, with a warning, where none loses so little.
    """
    spec, target = model.spec, model.folder / FAST_NAME
    fast_spec = spec
    if not spec.members:
        write_quantised(source, target, _calibration(Predictor(model), training))
        fast_spec = spec.model_copy(update={"files": {**spec.files, FAST_NAME: digest_file(target)}})
    ordinary = _dice(Predictor(model), validation, progress)
    chosen: FastWay | None = None
    for graph in ("",) if spec.members else (FAST_NAME, ""):
        for flips in dict.fromkeys((spec.test_time_flips,) if trained_on else ((), spec.test_time_flips)):
            way = FastWay(
                graph=graph,
                test_time_flips=flips,
                cut=True,
                loss=0.0,
                patients=len(ordinary),
                trained_on=trained_on,
            )
            tried = Model(fast_spec.model_copy(update={"fast": way}), model.folder)
            try:
                dice = _dice(Predictor(tried, fast=True), validation, progress)
            except ModelError as error:  # a network that takes one size only
                logger.info("not a fast way: %s", error)
                continue
            loss = float(np.mean(ordinary - dice))
            words = f"{'8 bits' if graph else 'float32'}, {'with' if flips else 'without'} flips"
            logger.info("%s: Dice %.4f, %.4f the ordinary way", words, dice.mean(), ordinary.mean())
            if loss <= MOST_LOSS:
                chosen = way.model_copy(update={"loss": round(loss, 6)})
                break
        if chosen is not None:
            break
    if chosen is None or not chosen.graph:
        target.unlink(missing_ok=True)
        fast_spec = spec
    if chosen is None:
        logger.warning("no fast way of %s loses at most %g of Dice: it ships without one", spec.name, MOST_LOSS)
    return fast_spec.model_copy(update={"fast": chosen})


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
