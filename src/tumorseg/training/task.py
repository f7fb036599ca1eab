"""What Lightning needs to know: the step, the validation, the optimizers of each stage."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from tumorseg.errors import TrainingError
from tumorseg.losses import build_loss
from tumorseg.recipe import Recipe, Stage
from tumorseg.training.augmentation import apply
from tumorseg.training.batches import Batch


class SegmentationTask(lightning.LightningModule):
    """Fits a network to slices by a recipe.

    Args:
        recipe: every choice.
        network: (N, C, H, W) float -> logits (N, 1, H, W), or of K classes (N, 1 + K, H, W), background first.
        channels: names of C.
        steps_per_epoch: of one device, for the schedule of the learning rate.
        validation_patients: how many, for Dice by patient.
    """

    def __init__(
        self,
        recipe: Recipe,
        network: nn.Module,
        *,
        channels: Sequence[str],
        steps_per_epoch: int,
        validation_patients: int,
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = network.to(memory_format=torch.channels_last)
        self.loss = build_loss(recipe.loss, classes=recipe.logits)
        self.steps_per_epoch = steps_per_epoch
        self.stage = 0
        self.validation_patients = validation_patients
        # No buffers: those would be averaged and swapped with the weights.
        self._counts = self._loss_sum = torch.empty(0)
        self._flair = list(channels).index("flair") if "flair" in channels else 0

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move the tensors; what was drawn for augmentation moves when it is applied."""
        return batch.to(device)

    def on_train_start(self) -> None:
        """Freeze what this stage freezes; a run that resumes within an epoch does not start that epoch again."""
        self._freeze()

    def on_train_epoch_start(self) -> None:
        """Enter the stage that this epoch belongs to."""
        stage = self._stage_of(self.current_epoch)
        if stage != self.stage:
            self.stage = stage
            self.trainer.strategy.setup_optimizers(self.trainer)
        self._freeze()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Draw what layers draw, such as dropout, from the seed and the step: resuming then repeats it."""
        # Each device draws its own; the first one draws what a single device would.
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.global_step + self.global_rank * 1_000_000_007)
        if self.recipe.scheduler.name == "plateau":
            self._warm_up()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one augmented batch."""
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            images, masks = prepare(batch)
            if batch.changes is not None:
                black = (-batch.low / batch.span).clamp_min(batch.floor)
                images, masks = apply(
                    batch.changes,
                    images,
                    masks,
                    patch=self.recipe.patch_size or self.recipe.image_size,
                    fill=black if self.recipe.augmentation.fill == "black" else None,
                    flair=self._flair,
                )
            images = images.clamp(batch.floor, batch.ceiling).contiguous(memory_format=torch.channels_last)
        logits = self.network(images)
        with torch.autocast(self.device.type, enabled=False):
            loss = cast(Tensor, self.loss(logits.float(), self._target(masks)))
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss.item()} at step {self.global_step} (epoch {self.current_epoch + 1})",
                next_step="lower optimizer.lr or set precision=fp32, then go on with --resume",
            )
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation."""
        self._counts = torch.zeros(self.validation_patients, 3, dtype=torch.float64, device=self.device)
        self._loss_sum = torch.zeros(2, dtype=torch.float64, device=self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count, for each patient, the pixels of prediction, reference and both."""
        images, masks = prepare(batch)
        images = images.contiguous(memory_format=torch.channels_last)
        logits = self.network(images).float()
        predicted, reference = _tumour(logits), masks[:, 0] > 0
        counts = torch.stack(
            [mask.flatten(1).sum(1) for mask in (predicted & reference, predicted, reference)], dim=1
        ).double()
        self._counts.index_add_(0, batch.owners, counts)
        with torch.autocast(self.device.type, enabled=False):
            loss = cast(Tensor, self.loss(logits, self._target(masks))).double()
        self._loss_sum.add_(torch.stack([loss * len(images), torch.full_like(loss, len(images))]))

    def on_validation_epoch_end(self) -> None:
        """Log the mean of Dice over patients, and the loss over slices."""
        counts = cast(Tensor, self.trainer.strategy.reduce(self._counts, reduce_op="sum"))
        loss = cast(Tensor, self.trainer.strategy.reduce(self._loss_sum, reduce_op="sum"))
        both, predicted, reference = counts.unbind(1)
        judged = predicted + reference > 0
        dice = 2 * both[judged] / (predicted + reference)[judged]
        self.log("val_dice_patient", dice.mean().float() if len(dice) else torch.tensor(0.0))
        self.log("val_loss", (loss[0] / loss[1]).float())

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer and schedule of the present stage, over what it does not freeze."""
        stage, choice = self.recipe.schedule[self.stage], self.recipe.optimizer
        self._freeze()
        parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[choice.name]
        optimizer = kind(parameters, lr=stage.lr or choice.lr, weight_decay=choice.weight_decay)
        return cast(OptimizerLRScheduler, {"optimizer": optimizer, "lr_scheduler": self._schedule(optimizer, stage)})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the stage: its optimizer must be there before its state is restored."""
        checkpoint["stage"] = self.stage

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Return to the stage."""
        self.stage = checkpoint["stage"]

    def _target(self, masks: Tensor) -> Tensor:
        """What the loss compares with: (B, 1, H, W) of 0 and 1; of several classes their indices, (B, H, W)."""
        return masks[:, 0].long() if self.recipe.logits > 1 else (masks > 0).float()

    def _schedule(self, optimizer: torch.optim.Optimizer, stage: Stage) -> dict[str, Any]:
        choice, steps = self.recipe.scheduler, stage.epochs * self.steps_per_epoch
        schedulers = torch.optim.lr_scheduler
        rate = stage.lr or self.recipe.optimizer.lr
        warmup = max(1, round(choice.warmup * steps))
        if choice.name == "plateau":
            plateau = schedulers.ReduceLROnPlateau(optimizer, factor=choice.factor, patience=choice.patience)
            return {
                "scheduler": plateau,
                "monitor": "val_loss",
                "interval": "epoch",
                "frequency": self.recipe.validate_every,
                "strict": False,
            }
        if choice.name == "one-cycle":
            rise = max(choice.warmup, min(1.0, 2 / (steps + 1)))  # a rise of no step divides by zero
            built: Any = schedulers.OneCycleLR(optimizer, rate, total_steps=steps + 1, pct_start=rise)
        elif choice.name == "cosine":
            rising = schedulers.LinearLR(optimizer, 1 / warmup, 1.0, warmup)
            falling = schedulers.CosineAnnealingLR(optimizer, max(1, steps - warmup), eta_min=rate * choice.final)
            built = schedulers.SequentialLR(optimizer, [rising, falling], [warmup])
        elif choice.name == "exponential":
            rising = schedulers.LinearLR(optimizer, 1 / warmup, 1.0, warmup)
            decay = schedulers.ExponentialLR(optimizer, choice.final ** (1 / max(1, steps - warmup)))
            built = schedulers.SequentialLR(optimizer, [rising, decay], [warmup])
        else:
            built = schedulers.LinearLR(optimizer, 1 / warmup, 1.0, warmup)
        return {"scheduler": built, "interval": "step"}

    def _warm_up(self) -> None:
        """Raise the rate over the first steps of a stage; what waits for a plateau cannot do so itself."""
        stage = self.recipe.schedule[self.stage]
        begun = self.steps_per_epoch * sum(earlier.epochs for earlier in self.recipe.schedule[: self.stage])
        steps, done = (
            round(self.recipe.scheduler.warmup * stage.epochs * self.steps_per_epoch),
            self.global_step - begun,
        )
        if done < steps:
            for group in cast(torch.optim.Optimizer, self.optimizers()).param_groups:
                group["lr"] = (stage.lr or self.recipe.optimizer.lr) * (done + 1) / steps

    def _stage_of(self, epoch: int) -> int:
        ends = 0
        for index, stage in enumerate(self.recipe.schedule):
            ends += stage.epochs
            if epoch < ends:
                return index
        return len(self.recipe.schedule) - 1

    def _freeze(self) -> None:
        frozen = self.recipe.schedule[self.stage].freeze
        for name, module in self.network.named_children():
            module.requires_grad_(name not in frozen)
            if name in frozen:
                module.eval()  # its running statistics stay as they are, too
            elif self.training:
                module.train()


def prepare(batch: Batch) -> tuple[Tensor, Tensor]:
    """Normalised images (B, C, H, W) and masks (B, 1, H, W) of class indices, both float32, on the batch's device."""
    # Turned while they are bytes: what follows is quicker channel by channel.
    images = batch.pixels.permute(0, 3, 1, 2).contiguous().float() - batch.low[:, :, None, None]
    images.div_(batch.span[:, :, None, None]).clamp_(batch.floor, batch.ceiling)
    return images, batch.masks.float()[:, None]


def _tumour(logits: Tensor) -> Tensor:
    """Whether a pixel is more probably tumour, of whichever class, than background; (B, H, W) bool."""
    if logits.shape[1] == 1:
        return logits[:, 0] > 0
    return logits[:, 0] < torch.logsumexp(logits[:, 1:], dim=1)
