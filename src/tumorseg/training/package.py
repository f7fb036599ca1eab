"""What ships of a run: the best weights as ONNX, and model.json with what validation chose for them."""

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tumorseg.datasets.known import published_lgg
from tumorseg.datasets.prepared import Store
from tumorseg.datasets.split import Split
from tumorseg.errors import ModelError, TrainingError
from tumorseg.files import atomic_folder, digest_file
from tumorseg.inference.model import ONNX_NAME, Model, ModelSpec, write_spec
from tumorseg.inference.predictor import Predictor
from tumorseg.inference.torch_runtime import TorchRuntime
from tumorseg.networks import build_network
from tumorseg.postprocess import tumour_probability
from tumorseg.progress import Progress, silent
from tumorseg.recipe import Cleaning, Recipe
from tumorseg.scan import Scan
from tumorseg.training.checkpoints import read_checkpoint
from tumorseg.training.export import write_onnx, write_safetensors

logger = logging.getLogger(__name__)

THRESHOLDS = np.round(np.arange(0.20, 0.81, 0.05), 2)
LGG_LICENCE = "CC BY-NC-SA 4.0"
FIGSHARE_LICENCE = "CC BY 4.0"
PARITY = 1e-3
"""Largest difference in probability between the network in torch and its ONNX graph."""


def package_model(run: Path, recipe: Recipe, store: Store, split: Split, *, progress: Progress = silent) -> Path:
    """Write `model/` of a run from its best checkpoint; the threshold is chosen on the validation patients.

    Returns:
        The model folder.

    Raises:
        TrainingError: the run has no best checkpoint.
        ModelError: the exported graph does not compute what the network computes.
    """
    best = run / "checkpoints" / "best.ckpt"
    if not best.is_file():
        raise TrainingError(f"{run} has no best checkpoint", next_step="go on with --resume")
    network = build_network(recipe.network, channels=len(recipe.channels), classes=recipe.logits, pretrained=False)
    prefix = "network."
    state = read_checkpoint(best)["state_dict"]
    network.load_state_dict({key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)})
    validation = store.scans_of(split, "val")
    trained_on = [store.stored[index].digest for index in np.unique(store.scan_index[store.rows(split, "train")])]
    with atomic_folder(run / "model") as folder:
        write_onnx(folder / ONNX_NAME, network, channels=len(recipe.channels), size=recipe.image_size)
        write_safetensors(folder / "weights.safetensors", network.state_dict())
        spec = ModelSpec(
            name=run.resolve().name,
            recipe=recipe.name,
            channels=recipe.channels,
            classes=recipe.classes,
            filters=recipe.filters,
            normalization=recipe.normalization,
            crop=recipe.crop,
            image_size=recipe.image_size,
            test_time_flips=recipe.test_time_flips,
            postprocessing=Cleaning(**recipe.postprocessing.model_dump(exclude={"threshold"})),
            training_patients=tuple(trained_on),
            data_licence=licence_of(store.kind, trained_on),
            files={name: digest_file(folder / name) for name in (ONNX_NAME, "weights.safetensors")},
        )
        predictor = Predictor(Model(spec, folder))
        check_parity(predictor, network, validation[0])
        threshold = recipe.postprocessing.threshold
        if threshold == "validation":
            watched = progress.track(validation, what="Choosing the threshold on validation patients")
            threshold = choose_threshold(predictor, watched)
        write_spec(folder, spec.model_copy(update={"threshold": threshold}))
    logger.info("threshold %.2f; model in %s", threshold, run / "model")
    return run / "model"


def licence_of(kind: str, digests: Iterable[str]) -> str:
    """The licence that a published set hands on to what is trained on it; "" for other data."""
    if kind == "figshare":
        return FIGSHARE_LICENCE
    return LGG_LICENCE if set(digests) & set(published_lgg().values()) else ""


def choose_threshold(predictor: Predictor, scans: Iterable[Scan]) -> float:
    """The threshold of `THRESHOLDS` nearest to 0.5 that does as well as the best one on these patients.

    As well means: its Dice by patient is on average no more than one standard error of the paired difference below
    that of the threshold with the highest mean (the one-standard-error rule, Breiman et al. 1984). Few patients tell
    neighbouring thresholds apart, and the highest of many equals is chance.
    """
    by_patient: dict[str, NDArray[np.float64]] = {}
    for scan in scans:
        probability, reference = predictor.probabilities(scan), scan.reference
        assert reference is not None
        counts = sum(
            (
                _overlaps(tumour_probability(values), frame > 0)
                for values, frame in zip(probability, reference, strict=True)
            ),
            start=np.zeros((len(THRESHOLDS), 3)),
        )
        by_patient[scan.patient] = by_patient.get(scan.patient, 0.0) + counts
    overlaps = np.stack(list(by_patient.values()))
    both, predicted, reference_voxels = overlaps[..., 0], overlaps[..., 1], overlaps[..., 2]
    return nearest_equal(2 * both / np.maximum(predicted + reference_voxels, 1))


def _overlaps(probability: NDArray[np.float32], tumour: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Pixels of prediction and reference together, of the prediction, of the reference; for each threshold."""
    predicted = [probability > threshold for threshold in THRESHOLDS.astype(np.float32)]
    return np.array(
        [[np.count_nonzero(over & tumour), np.count_nonzero(over), np.count_nonzero(tumour)] for over in predicted],
        np.float64,
    )


def nearest_equal(dice: NDArray[np.float64]) -> float:
    """The one-standard-error rule of `choose_threshold`, on Dice as (patients, thresholds)."""
    best = int(np.argmax(dice.mean(axis=0)))
    behind = dice[:, best : best + 1] - dice
    patients = len(dice)
    error = behind.std(axis=0, ddof=1) / np.sqrt(patients) if patients > 1 else np.zeros(len(THRESHOLDS))
    equal = THRESHOLDS[behind.mean(axis=0) <= error + 1e-9]
    return float(equal[np.argmin(np.abs(equal - 0.5))])


def check_parity(predictor: Predictor, network: nn.Module, scan: Scan) -> None:
    """Compare the ONNX graph with the network on a real scan.

    Raises:
        ModelError: they differ by more than `PARITY` in the probability of any pixel.
    """
    reference = Predictor(predictor.model, runtime=TorchRuntime(network.eval()))
    with torch.no_grad():
        difference = np.abs(predictor.probabilities(scan) - reference.probabilities(scan)).max()
    # Probabilities are kept as float16, whose steps below 1 are up to 0.0005.
    if difference > PARITY:
        raise ModelError(
            f"the exported graph differs from the network by {difference:.4f} in probability",
            next_step="report this with recipe.yaml of the run",
        )
