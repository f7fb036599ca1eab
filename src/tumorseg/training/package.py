"""What ships of a run: the best weights as ONNX, and model.json with what validation chose for them."""

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
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
from tumorseg.postprocess import NO_CLEANING
from tumorseg.progress import Progress, silent
from tumorseg.recipe import Cleaning, Recipe
from tumorseg.scan import Scan
from tumorseg.training.calibration import fit_temperature
from tumorseg.training.checkpoints import read_checkpoint
from tumorseg.training.choices import choose
from tumorseg.training.export import write_onnx, write_safetensors
from tumorseg.training.usual import learn_usual

logger = logging.getLogger(__name__)

LGG_LICENCE = "CC BY-NC-SA 4.0"
FIGSHARE_LICENCE = "CC BY 4.0"
PARITY = 1e-3
"""Largest difference in probability between the network in torch and its ONNX graph."""


def package_model(
    run: Path,
    recipe: Recipe,
    store: Store,
    split: Split,
    *,
    like: ModelSpec | None = None,
    progress: Progress = silent,
) -> Path:
    """Write `model/` of a run from its best checkpoint, with what validation patients choose for it; see `fitted`.

    Where nobody validated, from its last one.

    Returns:
        The model folder.

    Raises:
        TrainingError: the run has no such checkpoint.
        ModelError: the exported graph does not compute what the network computes.
    """
    which = "best" if split.keys("val") else "last"
    chosen = run / "checkpoints" / f"{which}.ckpt"
    if not chosen.is_file():
        raise TrainingError(f"{run} has no {which} checkpoint", next_step="go on with --resume")
    network = build_network(
        recipe.network, channels=len(recipe.channels), classes=recipe.logits, stack=recipe.stack, pretrained=False
    )
    prefix = "network."
    state = read_checkpoint(chosen)["state_dict"]
    network.load_state_dict({key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)})
    sample = (store.scans_of(split, "val") or store.scans_of(split, "train"))[0]
    trained_on = [store.stored[index].digest for index in np.unique(store.scan_index[store.rows(split, "train")])]
    with atomic_folder(run / "model") as folder:
        write_onnx(folder / ONNX_NAME, network, channels=recipe.stack * len(recipe.channels), size=recipe.image_size)
        write_safetensors(folder / "weights.safetensors", network.state_dict())
        spec = ModelSpec(
            name=run.resolve().name,
            recipe=recipe.name,
            channels=recipe.channels,
            neighbours=recipe.neighbours,
            classes=recipe.classes,
            filters=recipe.filters,
            normalization=recipe.normalization,
            crop=recipe.crop,
            image_size=recipe.image_size,
            test_time_flips=recipe.test_time_flips,
            blend=recipe.blend,
            postprocessing=Cleaning(**recipe.postprocessing.model_dump(exclude={"threshold"})),
            training_patients=tuple(trained_on),
            data_licence=licence_of(store.kind, trained_on),
            files={name: digest_file(folder / name) for name in (ONNX_NAME, "weights.safetensors")},
        )
        predictor = Predictor(Model(spec, folder))
        check_parity(predictor, network, sample)
        spec = fitted(predictor.model, recipe, store, split, like=like, progress=progress)
        write_spec(folder, spec)
    logger.info("temperature %.2f, threshold %.2f; model in %s", spec.temperature, spec.threshold, run / "model")
    return run / "model"


def licence_of(kind: str, digests: Iterable[str]) -> str:
    """The licence that a published set hands on to what is trained on it; "" for other data."""
    if kind == "figshare":
        return FIGSHARE_LICENCE
    return LGG_LICENCE if set(digests) & set(published_lgg().values()) else ""


def fitted(
    model: Model,
    recipe: Recipe,
    store: Store,
    split: Split,
    *,
    like: ModelSpec | None = None,
    progress: Progress = silent,
) -> ModelSpec:
    """What is chosen for a trained model on validation patients, and what its training scans look like.

    Where the recipe leaves the threshold to validation, the temperature is fitted first, then the threshold is
    chosen, and then the cleaning, where the recipe gives none beyond `min_component_slices` and
    `min_component_share`. Nothing is trained.

    Args:
        model: with its graphs.
        recipe: of its run.
        store: the data of its run.
        split: of its run.
        like: a model whose temperature, threshold and cleaning to take; needed where nobody validates.
    """
    spec = model.spec
    validation = store.scans_of(split, "val")
    given = recipe.postprocessing
    if like is not None:
        spec = spec.model_copy(
            update={key: getattr(like, key) for key in ("temperature", "threshold", "postprocessing")}
        )
    elif given.threshold == "validation":
        watched = progress.track(validation, what="Fitting the temperature on validation patients")
        spec = spec.model_copy(update={"temperature": 1.0})
        spec = spec.model_copy(update={"temperature": fit_temperature(Model(spec, model.folder), list(watched))})
        watched = progress.track(validation, what="Choosing threshold and cleaning on validation patients")
        beside = {"threshold", "min_component_slices", "min_component_share"}
        asked = Cleaning(**given.model_dump(exclude=beside)) == NO_CLEANING
        chosen = choose(Predictor(Model(spec, model.folder)), watched, cleaning=asked)
        spec = spec.model_copy(update={"threshold": chosen.threshold})
        if chosen.cleaning is not None:
            spec = spec.model_copy(update={"postprocessing": chosen.cleaning})
    else:
        spec = spec.model_copy(update={"threshold": given.threshold})
    usual = learn_usual(store.scans_of(split, "train"), spec.channels, progress=progress)
    return spec.model_copy(update={"usual": usual})


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
