"""What breaks a training from outside ends in one line with the cause, and the last good checkpoint stands."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from small_recipe import SMALL
from tumorseg.errors import OutputError, TrainingError, TumorsegError
from tumorseg.recipe_file import load_recipe
from tumorseg.training.checkpoints import AtomicCheckpoints, read_checkpoint
from tumorseg.training.failures import explained


def trained(phantom: Path, run: Path, *changes: str) -> subprocess.CompletedProcess[str]:
    words = [
        "train",
        "--data",
        str(phantom),
        "--output",
        str(run),
        "--device",
        "cpu",
        "--set",
        *SMALL,
        "epochs=2",
        *changes,
    ]
    return subprocess.run([sys.executable, "-m", "tumorseg", *words], capture_output=True, text=True, timeout=300)


def errors(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith("tumorseg: error:")]


@pytest.mark.parametrize(
    ("raised", "kind", "says"),
    [
        (MemoryError(), TrainingError, "batch_size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), TrainingError, "out of memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), TrainingError, "out of memory"),
        (RuntimeError("DataLoader worker (pid 7) exited unexpectedly"), TrainingError, "worker process died"),
        (RuntimeError("[enforce fail] PytorchStreamWriter failed writing file"), OutputError, "full"),
        (OSError(errno.ENOSPC, "No space left on device"), OutputError, "full"),
    ],
)
def test_a_failure_of_the_machine_says_what_to_do(
    raised: Exception, kind: type[TumorsegError], says: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=says) as got, explained(tmp_path):
        raise raised
    assert "\n" not in str(got.value)


def test_a_bug_is_not_hidden_as_a_failure_of_the_machine(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes"), explained(tmp_path):
        raise RuntimeError("shapes cannot be multiplied")


def test_a_loss_that_is_not_finite_names_the_step_and_the_key(phantom: Path, tmp_path: Path) -> None:
    done = trained(phantom, tmp_path / "run", "optimizer.lr=1e30", "precision=fp32", "optimizer.clip=null")
    assert done.returncode == 2, done.stderr
    assert "optimizer.lr" in errors(done)[0] and "Traceback" not in done.stderr


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_leaves_no_half_checkpoint(phantom: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount a small disk")
    try:
        done = trained(phantom, disk / "run")
        assert done.returncode == 2, done.stderr
        assert "free some space" in errors(done)[0] and "Traceback" not in done.stderr
        assert not list(disk.rglob("*.partial*"))
        for path in disk.rglob("*.ckpt"):
            read_checkpoint(path)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_checkpoint_that_breaks_while_it_is_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    writer = AtomicCheckpoints()
    writer.save_checkpoint({"step": 1}, path)

    def half(value: object, target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OutputError):
        writer.save_checkpoint({"step": 2}, path)
    assert read_checkpoint(path) == {"step": 1}
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").write_bytes(b"PK not a checkpoint")
    with pytest.raises(TrainingError, match="damaged"):
        read_checkpoint(tmp_path / "last.ckpt")


@pytest.mark.parametrize(
    "changes",
    [
        ["scheduler.name=cosine"],
        ["scheduler.name=plateau", "scheduler.patience=1"],
        ["scheduler.name=constant", "optimizer.name=adam", "ema=null"],
        ["stages=[{epochs: 1, freeze: [encoder], lr: 1.0e-3}, {epochs: 1, lr: 1.0e-4}]"],
        ["crop=head", "normalization=imagenet", "select_by=loss", "augmentation.fill=nearest"],
        ["epochs=9", "early_stopping=1", "optimizer.lr=1e-12"],
    ],
    ids=["cosine", "plateau", "constant", "stages", "head", "early stopping"],
)
def test_every_choice_of_a_recipe_trains(changes: list[str], phantom: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = trained(phantom, run, *changes)
    assert done.returncode == 0, done.stderr
    assert (run / "model" / "model.onnx").is_file()
    rows = (run / "log.csv").read_text().splitlines()[1:]
    assert len(rows) == 2 or ("early_stopping=1" in changes and 2 <= len(rows) < 9)


def test_a_frozen_encoder_does_not_move(phantom: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = trained(phantom, run, "stages=[{epochs: 1, freeze: [encoder]}]", "epochs=1")
    assert done.returncode == 0, done.stderr
    torch.manual_seed(0)
    after = read_checkpoint(run / "checkpoints" / "last.ckpt")["current_model_state"]
    from lightning import seed_everything

    from tumorseg.networks import build_network

    recipe = load_recipe(run / "recipe.yaml")
    seed_everything(recipe.seed, verbose=False)
    before = build_network(recipe.network, channels=3, classes=1, stack=recipe.stack).state_dict()
    for name, tensor in before.items():
        same = torch.equal(tensor, after[f"network.{name}"])
        assert same == name.startswith("encoder.") or "num_batches" in name or "bn" in name, name
