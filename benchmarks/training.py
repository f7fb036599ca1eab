"""Images per second of training, side by side in one run on real slices.

    python benchmarks/training.py DATA [--recipe default] [--steps 12] [--rounds 3]

(a) is the loop that `tumorseg train` runs. (b) is the same network, loss and optimizer on one batch that lies ready
in memory: what (a) could reach if data and bookkeeping cost nothing. (c) is the loop as public repositories write
it: a Dataset that opens a TIFF for each item and augments on the CPU, a DataLoader, a step; in fp32, in the
precision of (a), and in that precision with channels_last as well. All see squares of the same size. The rounds
take turns, so that whatever else the machine does meets all of them alike; the median round counts.
"""

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import lightning
import numpy as np
import tifffile
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from tumorseg.datasets.dealing import make_split
from tumorseg.datasets.prepared import Store
from tumorseg.datasets.store import prepare
from tumorseg.losses import build_loss
from tumorseg.networks import build_network
from tumorseg.preprocess import stacked
from tumorseg.recipe import Recipe
from tumorseg.recipe_file import load_recipe
from tumorseg.training.batches import PartOfStore, TrainingBatches
from tumorseg.training.callbacks import training_callbacks
from tumorseg.training.checkpoints import StopSignals
from tumorseg.training.devices import Device, choose_batch_size, choose_device
from tumorseg.training.memory import large_arrays_kept
from tumorseg.training.task import SegmentationTask
from tumorseg.training.task import prepare as prepare_batch

WARM_UP = 3
"""Steps that are not counted."""


class Stopwatch(lightning.Callback):
    """Times the steps after the first few."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def on_train_batch_end(self, trainer: lightning.Trainer, *rest: Any) -> None:
        if trainer.global_step == WARM_UP:
            self._began = time.perf_counter()
        self.seconds = time.perf_counter() - self._began


class PlainDataset(Dataset[tuple[Tensor, Tensor]]):
    """One slice from its two files, and its neighbours from theirs, augmented as a public repository would."""

    def __init__(self, files: list[tuple[Path, ...]], patch: int) -> None:
        self.files, self.patch = files, patch

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        path, *beside = self.files[index]
        image = np.concatenate([tifffile.imread(each) for each in (path, *beside)], axis=-1)
        mask = tifffile.imread(path.with_name(f"{path.stem}_mask{path.suffix}"))
        image = image.astype(np.float32) / 255
        mask = (mask > 0).astype(np.float32)
        if np.random.rand() < 0.5:
            image, mask = image[:, ::-1].copy(), mask[:, ::-1].copy()
        height, width = mask.shape
        turn = cv2.getRotationMatrix2D(
            (width / 2, height / 2), float(np.random.uniform(-20, 20)), float(np.random.uniform(0.8, 1.25))
        )
        parts = np.split(image, 1 + len(beside), axis=-1)
        image = np.concatenate([cv2.warpAffine(part, turn, (width, height)) for part in parts], axis=-1)
        mask = cv2.warpAffine(mask, turn, (width, height), flags=cv2.INTER_NEAREST)
        if np.random.rand() < 0.4:
            image = np.clip(image, 1e-6, 1) ** np.exp(np.random.uniform(-0.3, 0.3))
        if np.random.rand() < 0.4:
            image = image + np.random.normal(0, 0.03, image.shape)
        top, left = np.random.randint(0, height - self.patch + 1), np.random.randint(0, width - self.patch + 1)
        image = image[top : top + self.patch, left : left + self.patch].astype(np.float32)
        mask = mask[top : top + self.patch, left : left + self.patch]
        return torch.from_numpy(image.transpose(2, 0, 1).copy()), torch.from_numpy(mask[None].copy())


def fresh_network(recipe: Recipe) -> nn.Module:
    return build_network(recipe.network, channels=3, classes=1, stack=recipe.stack, pretrained=False).train()


def real_loop(recipe: Recipe, store: Store, device: Device, steps: int) -> float:
    """(a) images/s of the loop of `tumorseg train`."""
    assert recipe.batch_size != "auto"
    split = make_split(store, recipe.split)
    trainer: lightning.Trainer
    batches = TrainingBatches(
        PartOfStore.of(store, recipe, split, "train"),
        batch_size=recipe.batch_size,
        step_now=lambda: trainer.global_step,
    )
    task = SegmentationTask(
        recipe,
        fresh_network(recipe),
        channels=batches.part.channels,
        steps_per_epoch=len(batches),
        validation_patients=1,
    )
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "checkpoints").mkdir()
        callbacks = training_callbacks(
            recipe, Path(folder), images_per_step=recipe.batch_size, signals=StopSignals(), show_bar=False
        )
        trainer = lightning.Trainer(
            accelerator=device.accelerator,
            devices=1,
            precision=device.precision,  # type: ignore[arg-type]
            max_steps=WARM_UP + steps,
            gradient_clip_val=recipe.optimizer.clip,
            callbacks=[*callbacks, watch],
            logger=False,
            enable_progress_bar=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        trainer.fit(task, batches)
    return steps * recipe.batch_size / watch.seconds


def steps_per_second(
    recipe: Recipe, device: Device, batches: Iterator[tuple[Tensor, Tensor]], steps: int, *, half: bool, last: bool
) -> float:
    """images/s of a bare loop; `half` is bf16 autocast, `last` channels_last."""
    where = torch.device(device.accelerator)
    network, loss_of = fresh_network(recipe).to(where), build_loss(recipe.loss)
    layout = torch.channels_last if last else torch.contiguous_format
    network = network.to(memory_format=layout)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.optimizer.lr)
    seen, began = 0, 0.0
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            seen, began = 0, time.perf_counter()
        images, masks = next(batches)
        images = images.to(where).contiguous(memory_format=layout)
        with torch.autocast(where.type, torch.bfloat16) if half else nullcontext():
            logits = network(images)
        loss = loss_of(logits.float(), masks.to(where))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        seen += len(images)
    return seen / (time.perf_counter() - began)


def in_memory(recipe: Recipe, store: Store) -> Iterator[tuple[Tensor, Tensor]]:
    """(b) one batch, for ever."""
    assert recipe.batch_size != "auto"
    part = PartOfStore.of(store, recipe, make_split(store, recipe.split), "train")
    images, masks = prepare_batch(part.assemble(np.arange(recipe.batch_size), None, None))
    patch = recipe.patch_size or recipe.image_size
    images, masks = images[..., :patch, :patch].contiguous(), masks[..., :patch, :patch].contiguous()
    while True:
        yield images, masks


def plain(recipe: Recipe, store: Store, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """(c) what a DataLoader gives, for ever."""
    files = [
        tuple(scan.sources[at] for at in stacked(index, len(scan.sources), recipe.neighbours))
        for scan in store.scans
        for index in range(len(scan.sources))
    ]
    loader = DataLoader(
        PlainDataset(files, recipe.patch_size or recipe.image_size),
        batch_size=recipe.batch_size,  # type: ignore[arg-type]
        shuffle=True,
        num_workers=workers,
        drop_last=True,
    )
    while True:
        yield from loader


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder in the LGG layout")
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--steps", type=int, default=12, help="steps that are timed in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    recipe = load_recipe(options.recipe)
    device = choose_device(options.device, recipe)
    recipe = recipe.model_copy(update={"batch_size": choose_batch_size(recipe, device)})
    store = prepare(options.data)
    half, steps = device.precision != "32-true", options.steps

    def bare(batches: Iterator[tuple[Tensor, Tensor]], *, half: bool, last: bool) -> float:
        return steps_per_second(recipe, device, batches, steps, half=half, last=last)

    def ours_whole() -> float:
        with large_arrays_kept():
            return real_loop(recipe, store, device, steps)

    def ours_without_data() -> float:
        with large_arrays_kept():
            return bare(in_memory(recipe, store), half=half, last=True)

    contestants: dict[str, Callable[[], float]] = {
        "a  tumorseg train": ours_whole,
        "b  one batch in memory": ours_without_data,
        "c  plain loop, fp32": lambda: bare(plain(recipe, store, 0), half=False, last=False),
        "c  plain loop, fp32, 2 workers": lambda: bare(plain(recipe, store, 2), half=False, last=False),
        "c' plain loop, same precision": lambda: bare(plain(recipe, store, 0), half=half, last=False),
        "c' the same with channels_last": lambda: bare(plain(recipe, store, 0), half=half, last=True),
        "c' and 2 workers": lambda: bare(plain(recipe, store, 2), half=half, last=True),
    }
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(options.rounds):
        for name, run in contestants.items():
            rates[name].append(run())
            print(f"round {number + 1}  {name:32} {rates[name][-1]:6.1f} images/s", flush=True)
    median = {name: statistics.median(values) for name, values in rates.items()}
    ours = median["a  tumorseg train"]
    print(f"\n{device.name}, {device.precision}, batches of {recipe.batch_size}, recipe {recipe.name}")
    print(f"{'':34}{'images/s':>9}{'a / it':>9}")
    for name, rate in median.items():
        print(f"{name:34}{rate:9.1f}{ours / rate:9.2f}")
    slow = max(rate for name, rate in median.items() if name.startswith("c "))
    same = max(rate for name, rate in median.items() if name.startswith("c'"))
    for what, ratio, bar in (
        ("a / b", ours / median["b  one batch in memory"], 0.90),
        ("a / c, fp32, the faster", ours / slow, 2.0),
        ("a / c, same precision, the fastest", ours / same, 1.1),
    ):
        print(f"{what:36}{ratio:6.2f}   bar {bar:.2f}   {'met' if ratio >= bar else 'MISSED'}")


if __name__ == "__main__":
    main()
