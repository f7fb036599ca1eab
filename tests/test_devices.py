"""Training on several devices: each sees its own slices, all hold one network, one run folder comes out."""

import csv
import json
import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from small_recipe import SMALL
from tumorseg.datasets.dealing import make_split
from tumorseg.datasets.store import prepare
from tumorseg.errors import TrainingError
from tumorseg.recipe_file import load_recipe
from tumorseg.training.batches import PartOfStore, TrainingBatches, ValidationBatches
from tumorseg.training.ranks import Rank, check_processes, this_rank

SETTINGS = [*SMALL, "epochs=1", "ema=0.9"]

PROCESS = """
import sys
from pathlib import Path
import torch
from tumorseg.recipe_file import load_recipe
from tumorseg.training import fit

def watched(recipe, task, *rest, **named):
    real(recipe, task, *rest, **named)
    torch.save(task.network.state_dict(), Path(sys.argv[3]) / f"{named['rank'].index}.pt")

real, fit.fit = fit.fit, watched
fit.train(load_recipe("default", sys.argv[4:]), Path(sys.argv[1]), Path(sys.argv[2]), device="cpu", devices=2)
"""


def test_two_processes_hold_the_same_network_after_training(phantom: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}
    run = tmp_path / "run"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(phantom), str(run), str(tmp_path), *SETTINGS],
            env={**os.environ, **shared, "RANK": index, "LOCAL_RANK": index, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in ("0", "1")
    ]
    for process in processes:
        stderr = process.communicate(timeout=600)[1]
        assert process.returncode == 0, stderr
    one, other = (torch.load(tmp_path / f"{index}.pt", weights_only=True) for index in (0, 1))
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name
    assert (run / "model" / "model.json").is_file()


def test_one_command_trains_on_two_devices_and_leaves_one_run(phantom: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["train", "--data", str(phantom), "--output", str(run), "--device", "cpu", "--devices", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "tumorseg", *words, "--set", *SETTINGS], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"run: {run}\nnext: tumorseg evaluate {run}\n"
    assert done.stderr.count("epoch 1 of 1") == 1, "every process speaks"
    assert json.loads((run / "environment.json").read_text())["devices"] == 2
    with open(run / "log.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert math.isfinite(float(row["train_loss"])) and math.isfinite(float(row["val_loss"]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    assert not list(run.rglob("*.partial*"))


@pytest.mark.parametrize("devices", [2, 3])
def test_an_epoch_is_shared_out_and_no_slice_is_shown_twice(
    phantom: Path, devices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe("default", SMALL)
    store = prepare(phantom)
    part = PartOfStore.of(store, recipe, make_split(store, recipe.split), "train")
    shown: list[int] = []

    def note(self: PartOfStore, picked: NDArray[np.int64], *_: object) -> None:
        shown.extend(picked.tolist())

    monkeypatch.setattr(PartOfStore, "assemble", note)
    for rank in range(devices):
        batches = TrainingBatches(part, batch_size=4, step_now=lambda: 0, rank=rank, world_size=devices)
        for step in range(len(batches)):
            batches.batch(step)
    assert len(shown) == len(set(shown)) == len(batches) * 4 * devices
    alone = TrainingBatches(part, batch_size=4, step_now=lambda: 0)
    assert len(alone) * 4 - len(shown) < 4 * devices, "only what makes no whole step is left out"
    shown.clear()
    for rank in range(devices):
        list(ValidationBatches(part, batch_size=4, rank=rank, world_size=devices))
    assert sorted(shown) == list(range(len(part.rows)))


def test_a_process_knows_its_place_from_what_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert this_rank() == Rank()
    monkeypatch.setenv("SLURM_PROCID", "0")  # as in a batch script, which is no task of a step
    assert this_rank() == Rank()
    for name, value in {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1"}.items():
        monkeypatch.setenv(name, value)
    assert this_rank() == Rank(3, 4, 1, "slurm")
    assert not this_rank().leads
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert this_rank() == Rank(1, 2, 1, "torchrun")


@pytest.mark.parametrize(
    ("rank", "devices", "nodes", "said"),
    [
        (Rank(), 1, 2, "nothing has started"),
        (Rank(0, 4, 0, "slurm"), 1, 1, "started 4 processes"),
        (Rank(0, 4, 0, "torchrun"), 2, 1, "started 4 processes"),
        (Rank(), 0, 1, "0 devices"),
    ],
)
def test_processes_that_do_not_fit_what_was_asked_are_an_error(rank: Rank, devices: int, nodes: int, said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        check_processes(rank, devices=devices, nodes=nodes)
