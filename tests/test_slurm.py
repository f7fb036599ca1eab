"""What `tumorseg slurm` promises: a script that a cluster takes, and that goes on where a job was cut off."""

import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tumorseg.cli.app import run as run_command
from tumorseg.errors import TumorsegError
from tumorseg.studies.slurm import Job, batch_script

NASTY = 'it\'s a "run" $(touch oops) `x`'

SRUN = """#!/usr/bin/env bash
printf '%s\\n' "$@" > "$CALLS/srun"
trap 'echo TERM >> "$CALLS/signals"; exit 130' TERM
echo $$ > "$CALLS/started"
if [[ -n "${HANG:-}" ]]; then while :; do sleep 0.05; done; fi
"""
SCANCEL = '#!/usr/bin/env bash\necho "$@" > "$CALLS/scancel"\nkill -TERM "$(cat "$CALLS/started")"\n'
SCONTROL = '#!/usr/bin/env bash\necho "$@" > "$CALLS/scontrol"\n'


class Cluster:
    """Stands in for Slurm: programs that write down how they were called."""

    def __init__(self, folder: Path) -> None:
        self.calls = folder / "calls"
        self.calls.mkdir(parents=True)
        programs = folder / "bin"
        programs.mkdir()
        for name, text in (("srun", SRUN), ("scancel", SCANCEL), ("scontrol", SCONTROL)):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "CALLS": str(self.calls),
            "SLURM_JOB_ID": "7",
            "SLURM_CPUS_PER_TASK": "2",
            "SLURM_ARRAY_TASK_ID": "1",
        }

    def submit(self, script: str) -> list[str] | None:
        """Run the script to its end; gives the training's command, None where nothing was started."""
        (self.calls / "srun").unlink(missing_ok=True)
        subprocess.run(["bash", "-c", script], env=self.environment, check=True, timeout=30, capture_output=True)
        if not (self.calls / "srun").exists():
            return None
        words = (self.calls / "srun").read_text().splitlines()
        return words[words.index("train") :]


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path / "cluster")


def script_for(output: Path, *, job: Job | None = None, **more: object) -> str:
    return batch_script("default", Path("data"), output, job or Job(), **more)  # type: ignore[arg-type]


def test_a_job_trains_anew_then_goes_on_then_has_nothing_to_do(cluster: Cluster, tmp_path: Path) -> None:
    run = tmp_path / NASTY
    script = script_for(run, settings=["epochs=2", "loss=0.7*dice+0.3*focal"])
    first = cluster.submit(script)
    assert first is not None and "--resume" not in first
    assert first[first.index("--output") + 1] == str(run)
    assert "loss=0.7*dice+0.3*focal" in first
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "last.ckpt").touch()
    again = cluster.submit(script)
    assert again is not None and again[-1] == "--resume"
    (run / "model").mkdir()
    (run / "model" / "model.json").touch()
    assert cluster.submit(script) is None
    assert not Path("oops").exists()


def test_a_run_without_a_checkpoint_is_moved_aside_and_not_deleted(cluster: Cluster, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "environment.json").write_text("{}")
    words = cluster.submit(script_for(run))
    assert words is not None and "--resume" not in words
    assert not run.exists()
    assert [path.name for path in tmp_path.glob("run.before-*/environment.json")] == ["environment.json"]


def test_when_the_time_is_up_training_is_told_to_save_and_the_job_queues_itself_again(
    cluster: Cluster, tmp_path: Path
) -> None:
    environment = {**cluster.environment, "HANG": "yes"}
    shell = subprocess.Popen(["bash", "-c", script_for(tmp_path / "run")], env=environment, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 20
    started = cluster.calls / "started"
    while not (started.exists() and started.read_text()):
        assert time.monotonic() < until and shell.poll() is None
        time.sleep(0.02)
    shell.send_signal(signal.SIGUSR1)
    assert shell.wait(20) == 130
    assert (cluster.calls / "signals").read_text() == "TERM\n"
    assert (cluster.calls / "scancel").read_text() == "--quiet --signal=TERM 7\n"
    assert (cluster.calls / "scontrol").read_text() == "requeue 7\n"


def test_a_training_that_fails_is_not_queued_again(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "cluster" / "bin" / "srun").write_text("#!/bin/sh\nexit 2\n")
    done = subprocess.run(["bash", "-c", script_for(tmp_path / "run")], env=cluster.environment, timeout=30)
    assert done.returncode == 2
    assert not (cluster.calls / "scontrol").exists()


def test_arrays_train_every_fold_or_every_seed(cluster: Cluster, tmp_path: Path) -> None:
    folds = script_for(tmp_path / "cv", folds=5)
    assert "#SBATCH --array=0-4\n" in folds
    words = cluster.submit(folds)
    assert words is not None
    assert words[words.index("--fold") + 1] == "1" and words[words.index("--folds") + 1] == "5"
    assert words[words.index("--output") + 1] == str(tmp_path / "cv" / "fold-1")
    words = cluster.submit(script_for(tmp_path / "seeds", seeds=(3, 8)))
    assert words is not None and words[-2:] == ["--set", "seed=8"]
    assert words[words.index("--output") + 1] == str(tmp_path / "seeds" / "seed-8")


def test_the_processes_are_those_that_training_expects(cluster: Cluster, tmp_path: Path) -> None:
    script = script_for(tmp_path / "run", job=Job(nodes=2, gpus=4))
    assert "#SBATCH --nodes=2\n#SBATCH --gpus-per-node=4\n#SBATCH --ntasks-per-node=4\n" in script
    words = cluster.submit(script)
    assert words is not None
    assert words[words.index("--devices") + 1] == "4" and words[words.index("--nodes") + 1] == "2"


def test_setup_lines_make_the_command(cluster: Cluster, tmp_path: Path) -> None:
    job = Job(setup=("export PLACE=here", 'echo "$PLACE" > "$CALLS/setup"'))
    assert cluster.submit(script_for(tmp_path / "run", job=job)) is not None
    assert (cluster.calls / "setup").read_text() == "here\n"
    assert "tumorseg" in (cluster.calls / "srun").read_text().splitlines()


@pytest.mark.parametrize(
    "job", [Job(), Job(nodes=2, gpus=2, memory="64G", partition="gpu", account="lab"), Job(gpus=0)]
)
def test_the_script_is_sound_shell(job: Job, tmp_path: Path) -> None:
    for script in (script_for(tmp_path / NASTY, job=job), script_for(tmp_path / "a b", job=job, folds=3)):
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
        if shutil.which("shellcheck"):
            # SC2016: what looks like a command in the folder's name is meant to stay as it is.
            done = subprocess.run(["shellcheck", "--exclude=SC2016", "-"], input=script, text=True, capture_output=True)
            assert done.returncode == 0, done.stdout


def test_slurm_itself_would_take_the_script(tmp_path: Path) -> None:
    if not shutil.which("sbatch"):
        pytest.skip("sbatch is not installed")
    if subprocess.run(["scontrol", "ping"], capture_output=True, timeout=30).returncode:
        pytest.skip("no slurmctld answers")
    path = tmp_path / "a job.sbatch"
    path.write_text(script_for(tmp_path / "run", job=Job(gpus=0, cpus=1, logs=tmp_path / "the logs")))
    done = subprocess.run(["sbatch", "--test-only", str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"time": "tomorrow"}, "--time tomorrow"),
        ({"memory": "lots"}, "--mem lots"),
        ({"gpus": -1}, "--gpus -1"),
        ({"nodes": 0}, "--nodes 0"),
        ({"partition": "a b\n#SBATCH --exclusive"}, "--partition"),
        ({"setup": ("one\ntwo",)}, "--setup"),
        ({"logs": Path('lo"gs')}, "cannot be told"),
    ],
)
def test_what_slurm_would_not_take_is_an_error_before_it_is_written(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(TumorsegError, match=said) as caught:
        Job(**wrong)  # type: ignore[arg-type]
    assert caught.value.next_step


@pytest.mark.parametrize(
    "words",
    [
        ["--recipe", "defalt"],
        ["--set", "epoch=3"],
        ["--fold", "1"],
        ["--folds", "1"],
        ["--seeds", "0,0"],
        ["--seeds", "a"],
        ["--folds", "3", "--seeds", "0,1"],
        ["--set", "seed=1", "--seeds", "0,1"],
        ["--set", "ensemble=3", "--gpus", "2"],
    ],
)
def test_a_typing_error_is_one_line_and_writes_nothing(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "job.sbatch"
    line = ["slurm", "--data", str(tmp_path), "--output", "run", "--script", str(script), *words]
    assert run_command(line) == 2
    error = capsys.readouterr().err
    assert error.startswith("tumorseg: error: ") and error.count("\n") == 1
    assert not script.exists()


def test_the_command_writes_the_script_and_makes_the_folder_of_the_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    line = ["slurm", "--data", str(tmp_path), "--output", "runs/first", "--script", "my job.sbatch"]
    assert run_command(line) == 0
    assert capsys.readouterr().out == "next: sbatch 'my job.sbatch'\n"
    assert (tmp_path / "logs").is_dir()
    assert f"run={shlex.quote(str(tmp_path / 'runs' / 'first'))}\n" in (tmp_path / "my job.sbatch").read_text()
    assert run_command(line) == 2
    assert "exists" in capsys.readouterr().err
