"""The callbacks of one training, in the order in which they must run."""

from pathlib import Path

from lightning.pytorch.callbacks import Callback, RichProgressBar, WeightAveraging

from tumorseg.recipe import Recipe
from tumorseg.training.averaging import warm_average
from tumorseg.training.checkpoints import Checkpoints, StopSignals
from tumorseg.training.log import EpochLog
from tumorseg.training.shared_statistics import SharedStatistics


def training_callbacks(
    recipe: Recipe, output: Path, *, images_per_step: int, signals: StopSignals, show_bar: bool, processes: int = 1
) -> list[Callback]:
    """Averaged weights, checkpoints, log and, where `show_bar`, a bar with the time left."""
    callbacks: list[Callback] = [SharedStatistics()] if processes > 1 else []
    if recipe.ema is not None:
        callbacks.append(WeightAveraging(avg_fn=warm_average(recipe.ema)))
    callbacks.append(
        EpochLog(output / "log.csv", images_per_step=images_per_step, epochs=recipe.total_epochs),
    )
    callbacks.append(
        Checkpoints(
            output / "checkpoints",
            monitor="val_loss" if recipe.select_by == "loss" else "val_dice_patient",
            highest=recipe.select_by != "loss",
            patience=recipe.early_stopping,
            signals=signals,
        )
    )
    if show_bar:
        callbacks.append(RichProgressBar(console_kwargs={"stderr": True}))
    return callbacks
