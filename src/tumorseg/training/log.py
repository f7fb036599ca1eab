"""What a training says of itself: log.csv, and a line or a bar for the person who waits."""

import csv
import logging
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from tumorseg.files import atomic_write
from tumorseg.progress import duration

logger = logging.getLogger(__name__)

COLUMNS = (
    "epoch",
    "step",
    "lr",
    "train_loss",
    "val_loss",
    "val_dice_patient",
    "seconds",
    "images_per_second",
)


class EpochLog(Callback):
    """Writes one row of log.csv an epoch, and says in a line how far it is and how long it will take.

    Args:
        path: of log.csv; a resumed run keeps the rows of the epochs that its checkpoint has seen.
        images_per_step: slices in one step on all devices.
        epochs: of the whole run.
    """

    def __init__(self, path: Path, *, images_per_step: int, epochs: int) -> None:
        self.path = path
        self.images_per_step = images_per_step
        self.epochs = epochs
        self._rows: list[dict[str, str]] = []
        self._loss = torch.zeros(())
        self._steps = 0
        self._began = self._entered = time.monotonic()
        self._training = 0.0
        self._spent: list[float] = []

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keep the rows of epochs that are done."""
        self._loss = torch.zeros((), device=pl_module.device)
        self._began = self._entered = time.monotonic()
        if self.path.is_file():
            with open(self.path, newline="", encoding="utf-8") as file:
                self._rows = [row for row in csv.DictReader(file) if int(row["epoch"]) <= trainer.current_epoch]

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock."""
        self._loss = torch.zeros((), device=pl_module.device)
        self._steps, self._training = 0, 0.0
        self._began = self._entered = time.monotonic()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add up the loss where it lies, without waiting for the device."""
        self._loss += outputs["loss"].detach()
        self._steps += 1
        self._training = time.monotonic() - self._began

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write the row and say the line."""
        if self._steps == 0:
            return
        loss = self._loss / self._steps
        if trainer.world_size > 1:
            loss = trainer.strategy.reduce(loss, reduce_op="mean")
        if not trainer.is_global_zero:
            return
        seconds = time.monotonic() - self._entered
        self._spent.append(seconds)
        epoch = trainer.current_epoch + 1
        due = epoch % int(trainer.check_val_every_n_epoch or 1) == 0
        validated = due and "val_loss" in trainer.callback_metrics
        row: dict[str, float | int | None] = {
            "epoch": epoch,
            "step": trainer.global_step,
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "train_loss": self._loss.item() / self._steps if trainer.world_size == 1 else float(loss),
            "val_loss": float(trainer.callback_metrics["val_loss"]) if validated else None,
            "val_dice_patient": float(trainer.callback_metrics["val_dice_patient"]) if validated else None,
            "seconds": seconds,
            "images_per_second": self._steps * self.images_per_step / max(self._training, 1e-9),
        }
        self._rows.append({key: "" if value is None else f"{value:.6g}" for key, value in row.items()})
        with atomic_write(self.path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self._rows)
        if trainer.logger is not None:
            measured = {key: value for key, value in row.items() if value is not None}
            trainer.logger.log_metrics(measured, step=trainer.global_step)
        judged = f", validation Dice by patient {row['val_dice_patient']:.3f}" if validated else ""
        left = sum(self._spent[-4:]) / len(self._spent[-4:]) * (self.epochs - epoch)
        logger.info(
            "epoch %d of %d: loss %.3f%s, %.1f images/s, %s left",
            epoch,
            self.epochs,
            row["train_loss"],
            judged,
            row["images_per_second"],
            duration(left),
        )
