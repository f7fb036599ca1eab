"""Fit a recipe to a data set: from a folder of scans to a run folder."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import lightning
import torch

from tumorseg.datasets.dealing import make_split
from tumorseg.datasets.prepared import Store
from tumorseg.datasets.split import PARTS, Split, read_split, write_split
from tumorseg.datasets.store import prepare
from tumorseg.errors import ModelError, RecipeError, TrainingError
from tumorseg.files import atomic_folder, refuse_existing, write_json, write_text
from tumorseg.inference.model import read_model
from tumorseg.inference.run_folder import read_environment
from tumorseg.networks import build_network, parameter_count
from tumorseg.networks.weights import read_state
from tumorseg.progress import Progress, silent
from tumorseg.recipe import Recipe
from tumorseg.recipe_file import dump_recipe, load_recipe
from tumorseg.training.checkpoints import read_checkpoint
from tumorseg.training.devices import Device, choose_batch_size, choose_device, device_count
from tumorseg.training.ensemble import package_ensemble, train_members
from tumorseg.training.environment import describe_environment
from tumorseg.training.everyone import all_but_tested, all_train, carry_readings, described_everyone, everyone_like
from tumorseg.training.loop import fit, prepare_loop
from tumorseg.training.package import package_model
from tumorseg.training.ranks import check_processes, this_rank
from tumorseg.training.several import train_in_processes

logger = logging.getLogger(__name__)


def train(
    recipe: Recipe,
    data: Path,
    output: Path,
    *,
    fold: int | None = None,
    folds: int | None = None,
    split: Split | None = None,
    everyone: Path | None = None,
    keep_test: bool = False,
    resume: bool = False,
    init: Path | None = None,
    device: str = "auto",
    devices: int | Literal["auto"] = 1,
    nodes: int = 1,
    command: Sequence[str] = (),
    progress: Progress = silent,
    show_bar: bool = False,
) -> Path:
    """Train a network and write the run folder.

    Of several devices each takes its own slices of every step, which then shows devices x nodes x batch_size slices.

    Args:
        recipe: every choice; with `resume` the run's own recipe is taken instead.
        data: whatever `tumorseg.datasets.open_data` recognises.
        output: the run folder; must not exist, or, with `resume`, must hold a checkpoint.
        fold, folds: fold `fold` of `folds` is the test part.
        split: who trains, chooses and is tested; None deals the patients by the recipe's shares.
        everyone: a run or a cross-validation that was judged; all patients train then, the last weights are taken,
            and its temperature, threshold and cleaning.
        keep_test: with `everyone`, the patients that the judged one is tested on do not train, but are tested again.
        resume: go on from `checkpoints/last.ckpt`, to the same weights as an uninterrupted run on this device.
        init: a run, or a .safetensors file, whose weights training starts from.
        device: auto, cpu or cuda.
        devices: how many of each node, one process on each; auto takes every visible GPU. Where nothing else has
            started such processes, as srun and torchrun do, they are started here.
        nodes: how many machines; more than one needs srun or torchrun.
        command: what the user typed, for the record.
        progress: shows the preparation of the data.
        show_bar: show Lightning's progress bar, for a terminal.

    Returns:
        The run folder.

    Raises:
        TumorsegError: whatever the user can mend; the last good checkpoint stands.
    """
    output, rank = Path(output), this_rank()
    if keep_test and everyone is None and not resume:
        raise RecipeError(
            "--keep-test keeps back the test patients of a judged run, and none is named",
            next_step="name it with --everyone",
        )
    if resume:
        recipe = _resumed(output, recipe)
    elif rank.leads:
        refuse_existing(output)
    chosen = choose_device(device, recipe)
    on_each = device_count(devices, chosen)
    check_processes(rank, devices=on_each, nodes=nodes)
    if rank.processes > 1:
        if recipe.ensemble > 1:
            raise TrainingError(
                f"{rank.launcher} started several processes, and an ensemble starts those of each member itself",
                next_step="start one process with --devices, on one node",
            )
        if chosen.accelerator == "cuda":
            torch.cuda.set_device(rank.local)
    store = prepare(Path(data), progress=progress)
    if on_each > 1 and not rank.launcher and recipe.ensemble == 1:
        asked = {
            "recipe": dump_recipe(recipe),
            "data": str(data),
            "output": str(output),
            "fold": fold,
            "folds": folds,
            "split": {"parts": dict(split.parts), "unit": split.unit} if split is not None else None,
            "everyone": str(everyone) if everyone is not None else None,
            "keep_test": keep_test,
            "resume": resume,
            "init": str(init) if init is not None else None,
            "device": chosen.accelerator,
            "devices": on_each,
            "command": list(command),
            "show_bar": show_bar,
        }
        train_in_processes(asked, count=on_each)
        return output
    recipe = fitted_to(store, recipe).model_copy(update={"batch_size": choose_batch_size(recipe, chosen)})
    if resume:
        split = read_split(output / "split.csv")
        _same_data(output, store, Path(data))
        everyone = everyone_like(output)
    elif everyone is not None:
        split = all_but_tested(store, everyone) if keep_test else all_train(store)
    elif split is None:
        split = make_split(store, recipe.split, fold=fold, folds=folds)
    like = read_model(everyone).spec if everyone is not None else None
    begin = partial(_write_run, output, data, recipe, split, store, chosen, rank.processes, command, everyone)
    if recipe.ensemble > 1:
        if not resume:
            begin(0)

        def member(own: Recipe, run: Path, begun: bool) -> None:
            train(
                own,
                data,
                run,
                fold=fold,
                folds=folds,
                split=split,
                everyone=everyone,
                keep_test=keep_test,
                resume=begun,
                init=init,
                device=device,
                devices=devices,
                command=command,
                progress=progress,
                show_bar=show_bar,
            )

        train_members(recipe, output, member)
        package_ensemble(output, recipe, store, split, like=like, progress=progress)
        return output
    together = f"{rank.processes} x {chosen.name}" if rank.processes > 1 else chosen.name
    each = " each" if rank.processes > 1 else ""
    logger.info("training on %s, %s, batches of %d%s", together, chosen.precision, recipe.batch_size, each)
    logger.info("%s: %s", _dealt(split), ", ".join(f"{len(split.keys(part))} {part}" for part in PARTS))
    pretrained = init is None and not resume
    lightning.seed_everything(recipe.seed, verbose=False)  # the first weights are part of what the seed fixes
    network = build_network(
        recipe.network,
        channels=len(recipe.channels),
        classes=recipe.logits,
        stack=recipe.stack,
        pretrained=pretrained,
    )
    if init is not None:
        _start_from(network, Path(init))
    # All that can be wrong with the recipe or the data is found before anything is written.
    task, training, validation = prepare_loop(recipe, store, split, network, rank)
    if not resume and rank.leads:
        begin(parameter_count(network))
    fit(recipe, task, training, validation, output, chosen, rank=rank, nodes=nodes, resume=resume, show_bar=show_bar)
    if rank.leads:
        package_model(output, recipe, store, split, like=like, progress=progress)
    return output


def _write_run(
    output: Path,
    data: Path,
    recipe: Recipe,
    split: Split,
    store: Store,
    device: Device,
    processes: int,
    command: Sequence[str],
    everyone: Path | None,
    parameters: int,
) -> None:
    """The run folder as it is before its first step, whole or not at all."""
    with atomic_folder(output) as folder:
        write_text(folder / "recipe.yaml", dump_recipe(recipe))
        write_split(folder / "split.csv", split)
        described = describe_environment(data, store, recipe, device, command, parameters, processes=processes)
        write_json(folder / "environment.json", described | described_everyone(everyone))
        if everyone is not None and split.keys("test"):
            carry_readings(everyone, folder)
        (folder / ("members" if recipe.ensemble > 1 else "checkpoints")).mkdir()


def fitted_to(store: Store, recipe: Recipe) -> Recipe:
    """The recipe with the channels of the data, where it names none.

    Raises:
        RecipeError: its channels or classes are not the data set's.
    """
    channels = recipe.channels or store.channels
    if missing := [channel for channel in channels if channel not in store.channels]:
        raise RecipeError(
            f"key 'channels': the data set {store.name} has no {missing[0]}, only {', '.join(store.channels)}",
            next_step="take channels of these, or leave channels empty to take all",
        )
    if len(recipe.classes) > 1 and recipe.classes != store.classes:
        raise RecipeError(
            f"key 'classes': the data set {store.name} has {', '.join(store.classes)}",
            next_step="name these in this order, or one name for all of them together",
        )
    return recipe.model_copy(update={"channels": channels})


def _dealt(split: Split) -> str:
    return "patients" if split.unit == "patient" else "SLICES, which leak between the parts"


def _resumed(output: Path, given: Recipe) -> Recipe:
    """The recipe of the run that goes on."""
    last = output / "checkpoints" / "last.ckpt"
    members = (output / "members").is_dir()
    if not last.is_file() and not members:
        raise TrainingError(f"{output} holds no checkpoint to resume from", next_step="train without --resume")
    if not members:
        read_checkpoint(last)
    if (output / "model").exists():
        raise TrainingError(f"the training of {output} has ended", next_step=f"judge it: tumorseg evaluate {output}")
    recipe = load_recipe(output / "recipe.yaml")
    if recipe.name != given.name:
        raise TrainingError(
            f"{output} was trained with recipe {recipe.name}, not {given.name}",
            next_step=f"resume with --recipe {recipe.name}",
        )
    return recipe


def _same_data(output: Path, store: Store, data: Path) -> None:
    if read_environment(output)["store_digest"] != store.digest:
        raise TrainingError(
            f"{data} is not, or no longer, the data that {output} was trained on",
            next_step="resume with the same, unchanged --data",
        )


def _start_from(network: torch.nn.Module, init: Path) -> None:
    """Take the weights of another run, or of a file, to fine-tune."""
    path = init / "model" / "weights.safetensors" if init.is_dir() else init
    path = path if path.is_file() or not init.is_dir() else init / "weights.safetensors"
    state = read_state(path)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(
            f"the weights of {init} do not fit the recipe's network", next_step="take the network of that run's recipe"
        ) from error
