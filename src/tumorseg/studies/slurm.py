"""A batch script for Slurm that trains a recipe, and goes on after its time was up or its node was taken away."""

import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from tumorseg.errors import OutputError, RecipeError, TrainingError
from tumorseg.recipe_file import load_recipe

SECONDS_TO_SAVE = 180
"""How long before its time is up a job is told to save: a step, and writing a checkpoint, with room to spare."""

_TIME = re.compile(r"\d+|\d+:\d+|\d+:\d+:\d+|\d+-\d+(:\d+){0,2}")
_MEMORY = re.compile(r"\d+[KMGT]?")
_NAMES = re.compile(r"[\w.,-]*", re.ASCII)


@dataclass(frozen=True)
class Job:
    """What a training asks of the cluster.

    Attributes:
        nodes: machines.
        gpus: of each node, one process on each; 0 trains on processors.
        time: as Slurm reads it, such as 24:00:00 or 2-00 for two days.
        cpus: of each process.
        memory: of each node, such as 64G; "" takes the cluster's default.
        partition, account: "" takes the cluster's default.
        setup: lines that make `tumorseg` a command, such as "module load cuda" and "source env/bin/activate"; without
            any, the Python that writes the script is called by its path.
        logs: the folder for the jobs' messages; it must be there when the script is submitted.

    Raises:
        TrainingError: a value that Slurm would not take.
    """

    nodes: int = 1
    gpus: int = 1
    time: str = "24:00:00"
    cpus: int = 8
    memory: str = ""
    partition: str = ""
    account: str = ""
    setup: tuple[str, ...] = ()
    logs: Path = Path("logs")

    def __post_init__(self) -> None:
        for name, value, least in (("nodes", self.nodes, 1), ("gpus", self.gpus, 0), ("cpus", self.cpus, 1)):
            if value < least:
                raise TrainingError(f"--{name} {value}", next_step=f"give a number from {least} up")
        if not _TIME.fullmatch(self.time):
            raise TrainingError(f"--time {self.time}: no time that Slurm reads", next_step="write it as 24:00:00")
        if self.memory and not _MEMORY.fullmatch(self.memory):
            raise TrainingError(f"--mem {self.memory}: no size that Slurm reads", next_step="write it as 64G")
        for name, text in (("partition", self.partition), ("account", self.account)):
            if not _NAMES.fullmatch(text):
                raise TrainingError(f"--{name} {text!r}: not a name", next_step="see: sinfo, sacctmgr show user")
        if any("\n" in line for line in self.setup):
            raise TrainingError("--setup holds several lines", next_step="give --setup once for each line")
        if re.search(r'["\'\\\n]', str(self.logs)):
            raise OutputError(f"Slurm cannot be told of the folder {self.logs}", next_step="choose another --logs")


def batch_script(
    recipe: str | Path,
    data: Path,
    output: Path,
    job: Job,
    *,
    settings: Sequence[str] = (),
    fold: int | None = None,
    folds: int | None = None,
    seeds: Sequence[int] = (),
    init: Path | None = None,
    command: Sequence[str] = ("tumorseg", "slurm"),
) -> str:
    """Write the script's text; `sbatch` takes it.

    Args:
        recipe: a name, or a file.
        data: on the cluster.
        output: the run folder; of several jobs the folder of their runs, fold-0, fold-1, … or seed-0, seed-1, …
        job: what it asks of the cluster.
        settings: key=value, on top of the recipe.
        fold, folds: fold `fold` of `folds` is the test part; without `fold` an array of jobs trains every one.
        seeds: an array of jobs trains the recipe once with each.
        init: a run, or a .safetensors, whose weights training starts from.
        command: what made it, for the record.

    Raises:
        RecipeError: an unknown recipe, or a key or value that it cannot have.
        TrainingError: folds and seeds that make no sense together, or an ensemble on several devices.
    """
    resolved = load_recipe(recipe, settings)
    tasks = max(1, job.gpus)
    if resolved.ensemble > 1 and tasks * job.nodes > 1:
        raise TrainingError(
            f"recipe {resolved.name} is an ensemble of {resolved.ensemble}, which trains in one process at a time",
            next_step="give --gpus 1 --nodes 1, or an array of seeds with --set ensemble=1",
        )
    _check_array(fold, folds, seeds)
    several = bool(seeds) or (folds is not None and fold is None)
    if seeds and any(setting.partition("=")[0] == "seed" for setting in settings):
        raise RecipeError("--seeds and --set seed=… both choose the seed", next_step="leave out one of them")
    file = Path(recipe)
    named = _absolute(file) if file.suffix in (".yaml", ".yml") or file.is_file() else str(recipe)
    words = ["tumorseg"] if job.setup else [sys.executable, "-m", "tumorseg"]
    words += ["train", "--recipe", named, "--data", _absolute(data)]
    if init is not None:
        words += ["--init", _absolute(init)]
    words += ["--device", "cuda" if job.gpus else "cpu"]
    if tasks * job.nodes > 1:
        words += ["--devices", str(tasks), "--nodes", str(job.nodes)]
    if folds is not None and fold is not None:
        words += ["--fold", str(fold)]
    if folds is not None:
        words += ["--folds", str(folds)]
    for setting in settings:
        words += ["--set", setting]
    own = ' --set seed="$seed"' if seeds else ' --fold "$SLURM_ARRAY_TASK_ID"' if several else ""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tumorseg.studies", ""),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["sh"] = shlex.quote
    return environment.get_template("slurm.sh.j2").render(
        command=" ".join(shlex.join(command).split()),
        name=re.sub(r"[^A-Za-z0-9._-]+", "-", Path(output).resolve().name) or "tumorseg",
        job=job,
        tasks=tasks,
        count=(len(seeds) or folds) if several else 0,
        seeds=tuple(seeds),
        log=log_pattern(job, several=several),
        folder=str(Path.cwd()),
        output=_absolute(output),
        words=words,
        own_words=own,
        seconds_to_save=SECONDS_TO_SAVE,
    )


def log_pattern(job: Job, *, several: bool) -> str:
    """The name of a job's log, in Slurm's pattern: its name and its number."""
    return _absolute(job.logs).replace("%", "%%") + ("/%x-%A_%a.out" if several else "/%x-%j.out")


def _check_array(fold: int | None, folds: int | None, seeds: Sequence[int]) -> None:
    if fold is not None and folds is None:
        raise TrainingError("--fold without --folds", next_step="give both, such as --fold 0 --folds 5")
    if folds is not None and (folds < 2 or not 0 <= (fold or 0) < folds):
        raise TrainingError(
            f"there is no fold {fold or 0} of {folds}", next_step="folds count from 0 to --folds minus 1"
        )
    if seeds and folds is not None and fold is None:
        raise TrainingError(
            "an array is of folds or of seeds, not of both", next_step="give --fold, or leave out --seeds"
        )
    if any(seed < 0 for seed in seeds) or len(set(seeds)) < len(seeds):
        raise TrainingError(f"--seeds {','.join(map(str, seeds))}", next_step="give different numbers from 0 up")


def _absolute(path: Path) -> str:
    """The path as any directory finds it; links stay as they are, since cluster nodes may resolve them otherwise."""
    return os.path.abspath(path)
