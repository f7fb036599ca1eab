"""Checkpoints that are whole or not there: `last` after every epoch, `best` by validation, and on request."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import lightning
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback

from tumorseg.errors import TrainingError
from tumorseg.files import atomic_write


class Interrupted(TrainingError):
    """Somebody stopped the training; what was learned is saved."""

    exit_code = 130


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes beside, flushes, renames; reads nothing that could run code."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to `path`, whole or not at all."""
        with atomic_write(Path(path)) as temporary:
            torch.save(checkpoint, temporary)

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint of tensors and plain values."""
        return read_checkpoint(Path(path), map_location=map_location or "cpu")


def read_checkpoint(path: Path, *, map_location: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint of tensors and plain values.

    Raises:
        TrainingError: the file is damaged or not a checkpoint.
    """
    try:
        loaded: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
    except FileNotFoundError as error:
        raise TrainingError(f"no checkpoint {path}", next_step="train without --resume") from error
    except Exception as error:  # whatever a damaged file makes the reader raise means the same here
        next_step = "delete it and train without --resume"
        raise TrainingError(f"checkpoint {path} is damaged", next_step=next_step) from error
    return loaded


class Checkpoints(Callback):
    """Saves `last.ckpt` after every epoch and when asked to stop, `best.ckpt` when validation was never better.

    Args:
        folder: where they go.
        monitor: what "better" looks at.
        highest: whether more is better.
        patience: validations without a better one before training ends; None never ends early.
        signals: asked after every step; once somebody wants to stop, all is saved and `Interrupted` raised.
    """

    def __init__(
        self,
        folder: Path,
        *,
        monitor: str,
        highest: bool,
        patience: int | None,
        signals: "StopSignals",
    ) -> None:
        self.folder = folder
        self.monitor = monitor
        self.highest = highest
        self.patience = patience
        self.signals = signals
        self.best: float | None = None
        self.best_epoch = -1
        self.waited = 0

    def state_dict(self) -> dict[str, Any]:
        """The best score so far, so that a resumed run does not take a worse one for it."""
        return {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the best score."""
        self.best, self.best_epoch = state_dict["best"], state_dict["best_epoch"]
        self.waited = state_dict["waited"]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Listen again: Lightning's own handler would end the run in the middle of a validation, unsaved."""
        self.signals.install()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save `best` where this validation was better than all before."""
        if trainer.sanity_checking:
            return
        score = float(trainer.callback_metrics[self.monitor])
        if self.best is None or (score > self.best if self.highest else score < self.best):
            self.best, self.best_epoch, self.waited = score, trainer.current_epoch, 0
            trainer.save_checkpoint(self.folder / "best.ckpt")
        else:
            self.waited += 1
            if self.patience is not None and self.waited >= self.patience:
                trainer.should_stop = True

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save `last`; stop here, where somebody asked for it since the last step."""
        trainer.save_checkpoint(self.folder / "last.ckpt")
        if self._asked(trainer):
            self._stop(trainer)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save `last` and stop, where somebody asked for it; at an epoch's end `on_train_epoch_end` is near."""
        if batch_idx + 1 < int(trainer.num_training_batches) and self._asked(trainer):
            trainer.save_checkpoint(self.folder / "last.ckpt")
            self._stop(trainer)

    def _asked(self, trainer: lightning.Trainer) -> bool:
        """Whether any process was asked to stop: all must do so after the same step."""
        if trainer.world_size == 1:
            return self.signals.asked
        return trainer.strategy.reduce_boolean_decision(self.signals.asked, all=False)

    def _stop(self, trainer: lightning.Trainer) -> NoReturn:
        raise Interrupted(
            f"stopped at step {trainer.global_step} (epoch {trainer.current_epoch + 1}); saved to {self.folder}",
            next_step="go on with the same command and --resume",
        )


class StopSignals:
    """Turns the first Ctrl-C or SIGTERM into a request to stop; a second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    @property
    def asked(self) -> bool:
        """Whether somebody wants the training to stop."""
        return self._asked.is_set()

    def install(self) -> None:
        """Listen; only the main thread may, and elsewhere nothing changes."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise Interrupted("stopped at once", next_step="go on from the last checkpoint with --resume")
        self._asked.set()


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_on_signals() -> Iterator[StopSignals]:
    """Listen for signals within the block, and give their old handlers back after it."""
    signals = StopSignals()
    before = [signal.getsignal(number) for number in _SIGNALS]
    signals.install()
    try:
        yield signals
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in zip(_SIGNALS, before, strict=True):
                signal.signal(number, handler)
