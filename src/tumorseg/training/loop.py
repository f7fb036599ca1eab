"""Lightning's loop over a run: what is fitted, on which batches, with which checkpoints and logs."""

import logging
import time
from datetime import UTC, datetime
from pathlib import Path

import lightning
import torch

from tumorseg.datasets.prepared import Store
from tumorseg.datasets.split import Split
from tumorseg.files import write_json
from tumorseg.inference.run_folder import read_environment
from tumorseg.networks.freezing import refuse_freezing
from tumorseg.recipe import Recipe
from tumorseg.training.batches import PartOfStore, TrainingBatches, ValidationBatches
from tumorseg.training.callbacks import training_callbacks
from tumorseg.training.checkpoints import AtomicCheckpoints, stop_on_signals
from tumorseg.training.devices import Device
from tumorseg.training.distribution import ENVIRONMENTS, strategy_of
from tumorseg.training.failures import explained
from tumorseg.training.memory import large_arrays_kept
from tumorseg.training.ranks import ALONE, Rank
from tumorseg.training.task import SegmentationTask

for _name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # its tips and device tables are not ours to show


def prepare_loop(
    recipe: Recipe, store: Store, split: Split, network: torch.nn.Module, rank: Rank
) -> tuple[SegmentationTask, TrainingBatches, ValidationBatches]:
    """What Lightning fits, and on which batches.

    Returns:
        The task, and the batches of the training and of the validation patients.

    Raises:
        RecipeError: a stage freezes what the network does not have.
        TrainingError: there are fewer slices than one batch needs.
    """
    refuse_freezing(network, (part for stage in recipe.schedule for part in stage.freeze))
    assert recipe.batch_size != "auto"
    validating = PartOfStore.of(store, recipe, split, "val")
    task: SegmentationTask
    training = TrainingBatches(
        PartOfStore.of(store, recipe, split, "train"),
        batch_size=recipe.batch_size,
        step_now=lambda: task.trainer.global_step,
        rank=rank.index,
        world_size=rank.processes,
    )
    task = SegmentationTask(
        recipe,
        network,
        channels=validating.channels,
        steps_per_epoch=len(training),
        validation_patients=len(validating.patients),
    )
    shown = ValidationBatches(validating, batch_size=recipe.batch_size, rank=rank.index, world_size=rank.processes)
    return task, training, shown


def fit(
    recipe: Recipe,
    task: SegmentationTask,
    training: TrainingBatches,
    validation: ValidationBatches,
    output: Path,
    device: Device,
    *,
    rank: Rank = ALONE,
    nodes: int = 1,
    resume: bool,
    show_bar: bool,
) -> None:
    """Run Lightning's loop over the training part, with checkpoints and logs under `output`.

    Args:
        recipe: of the run.
        task, training, validation: see `prepare_loop`.
        output: the run folder.
        device: what each process computes on.
        rank: which process of how many this is.
        nodes: machines.
        resume: go on from `checkpoints/last.ckpt`.
        show_bar: show Lightning's progress bar.

    Raises:
        TrainingError: out of memory, an interruption, a loss that is not finite, or another process that ended; the
            last checkpoint stands.
        OutputError: the disk is full or cannot be written.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    with stop_on_signals() as signals, explained(output), large_arrays_kept():
        trainer = lightning.Trainer(
            accelerator=device.accelerator,
            devices=rank.processes // nodes,
            num_nodes=nodes,
            strategy=strategy_of(recipe, rank),
            precision=device.precision,  # type: ignore[arg-type]
            max_epochs=recipe.total_epochs,
            check_val_every_n_epoch=min(recipe.validate_every, recipe.total_epochs),
            # Of all devices alike, however few slices one has.
            limit_val_batches=1.0 if validation.part.patients else 0,
            gradient_clip_val=recipe.optimizer.clip,
            callbacks=training_callbacks(
                recipe,
                output,
                images_per_step=training.batch_size * rank.processes,
                signals=signals,
                show_bar=show_bar,
                processes=rank.processes,
            ),
            plugins=[AtomicCheckpoints(), ENVIRONMENTS[rank.launcher]()],
            logger=_tensorboard(output),
            enable_progress_bar=show_bar,
            enable_checkpointing=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            log_every_n_steps=50,
            default_root_dir=output,
        )
        trainer.fit(task, training, validation, ckpt_path=str(output / "checkpoints" / "last.ckpt") if resume else None)
    if not rank.leads:
        return
    environment = read_environment(output)
    environment["training_seconds"] = environment.get("training_seconds", 0.0) + time.monotonic() - clock
    environment.setdefault("started", started.isoformat(timespec="seconds"))
    environment["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(output / "environment.json", environment)


def _tensorboard(output: Path) -> "lightning.pytorch.loggers.TensorBoardLogger":
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(output, name="tensorboard", version="")
