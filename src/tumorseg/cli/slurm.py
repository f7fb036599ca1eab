"""`tumorseg slurm`: a script that trains on a cluster."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "tumorseg slurm --data lgg --output runs/first --gpus 2 --time 12:00:00 --script first.sbatch"


def slurm(
    data: Annotated[Path, typer.Option(metavar="DIR", help="The data set, on the cluster.", show_default=False)],
    output: Annotated[Path, typer.Option(metavar="RUN", help="The run folder, on the cluster.", show_default=False)],
    recipe: Annotated[str, typer.Option(metavar="NAME|FILE", help="See: tumorseg recipes.")] = "default",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="key=value…", help="Change keys of the recipe.", show_default=False),
    ] = None,
    fold: Annotated[int | None, typer.Option(metavar="K", help="Test on fold K, from 0.", show_default=False)] = None,
    folds: Annotated[
        int | None,
        typer.Option(metavar="N", help="Of N folds; without --fold, one job for each.", show_default=False),
    ] = None,
    seeds: Annotated[str, typer.Option(metavar="S,S…", help="One job for each seed.", show_default=False)] = "",
    init: Annotated[
        Path | None,
        typer.Option(metavar="MODEL", help="Start from the weights of a run or a .safetensors.", show_default=False),
    ] = None,
    nodes: Annotated[int, typer.Option(metavar="N", help="Machines.")] = 1,
    gpus: Annotated[int, typer.Option(metavar="N", help="GPUs of each machine; 0 trains on processors.")] = 1,
    time: Annotated[str, typer.Option(metavar="HH:MM:SS", help="Then it saves and queues itself again.")] = "24:00:00",
    cpus: Annotated[int, typer.Option(metavar="N", help="Cores of each process.")] = 8,
    memory: Annotated[str, typer.Option("--mem", metavar="SIZE", help="Of each machine.", show_default=False)] = "",
    partition: Annotated[str, typer.Option(metavar="NAME", help="See: sinfo.", show_default=False)] = "",
    account: Annotated[str, typer.Option(metavar="NAME", help="Who pays.", show_default=False)] = "",
    setup: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LINE", help="Run first, such as: module load cuda. May be repeated.", show_default="this Python"
        ),
    ] = None,
    logs: Annotated[Path, typer.Option(metavar="DIR", help="Where the jobs' messages go.")] = Path("logs"),
    script: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it here.", show_default="to stdout")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE.")] = False,
) -> None:
    """Write a batch script for Slurm that trains as `tumorseg train` does, and goes on when it is queued again.

    Nothing is submitted: read it, then give it to sbatch.
    """
    import logging
    import shlex
    import sys

    from tumorseg.cli.console import emit
    from tumorseg.errors import OutputError, TrainingError
    from tumorseg.files import unwritable, write_text
    from tumorseg.studies.slurm import Job, batch_script

    log = logging.getLogger("tumorseg.slurm")
    try:
        numbers = [int(word) for word in seeds.split(",") if seeds]
    except ValueError as error:
        raise TrainingError(f"--seeds {seeds}: not numbers", next_step="write them as 0,1,2") from error
    job = Job(nodes, gpus, time, cpus, memory, partition, account, tuple(setup or ()), logs)
    text = batch_script(
        recipe,
        data,
        output,
        job,
        settings=settings or (),
        fold=fold,
        folds=folds,
        seeds=numbers,
        init=init,
        command=("tumorseg", *sys.argv[1:]),
    )
    for name, path in (("--data", data), ("--init", init)):
        if path is not None and not path.exists():
            log.warning("%s %s is not on this machine; it must be there on the cluster", name, path)
    if script is None:
        emit(text)
        if not logs.is_dir():
            log.warning("make the folder %s before you submit: Slurm does not", logs)
        return
    if script.exists() and not overwrite:
        raise OutputError(f"{script} exists", next_step="choose another --script, or give --overwrite")
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(logs, error) from error
    write_text(script, text)
    emit(f"next: {shlex.join(['sbatch', str(script)])}")
