"""`tumorseg train`: fit a recipe to a data set."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "tumorseg train --data lgg --output runs/first --set epochs=20"


def train(
    data: Annotated[Path, typer.Option(metavar="DIR", help="The data set.", show_default=False)],
    output: Annotated[Path, typer.Option(metavar="RUN", help="The run folder to write.", show_default=False)],
    recipe: Annotated[str, typer.Option(metavar="NAME|FILE", help="See: tumorseg recipes.")] = "default",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="key=value…", help="Change keys of the recipe.", show_default=False),
    ] = None,
    fold: Annotated[int | None, typer.Option(metavar="K", help="Test on fold K, from 0.", show_default=False)] = None,
    folds: Annotated[int | None, typer.Option(metavar="N", help="Of N folds.", show_default=False)] = None,
    everyone: Annotated[
        Path | None,
        typer.Option(metavar="JUDGED", help="All train, as this run or crossval did.", show_default=False),
    ] = None,
    keep_test: Annotated[
        bool, typer.Option("--keep-test", help="With --everyone: all but the test patients train.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run in --output stopped.")] = False,
    init: Annotated[
        Path | None,
        typer.Option(metavar="MODEL", help="Start from the weights of a run or a .safetensors.", show_default=False),
    ] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where to train.")] = "auto",
    devices: Annotated[str, typer.Option(metavar="N|auto", help="How many GPUs of a machine; auto takes all.")] = "1",
    nodes: Annotated[int, typer.Option(metavar="N", help="How many machines; see: tumorseg slurm.")] = 1,
) -> None:
    """Train a network on a data set, split by patient, and write the run folder.

    Ctrl-C saves first; the same command with --resume goes on to the same weights.
    """
    import sys

    from tumorseg.cli.arguments import read_devices
    from tumorseg.cli.console import console_progress, emit, require_training, set_up_messages, shows_bars
    from tumorseg.datasets.split import read_split
    from tumorseg.datasets.store import prepare
    from tumorseg.errors import RecipeError
    from tumorseg.files import refuse_existing
    from tumorseg.recipe_file import load_recipe
    from tumorseg.training.everyone import recipe_of
    from tumorseg.training.ranks import this_rank

    leads = this_rank().leads
    if not leads:
        set_up_messages(-1)  # of several processes one speaks
    resolved = load_recipe(recipe, settings or ())
    require_training()
    if everyone is not None:
        besides = bool(settings) or recipe != "default" or fold is not None or folds is not None
        resolved = recipe_of(everyone, own=besides)
    if not resume:
        if leads:
            refuse_existing(output)
    elif settings and (own := output / "recipe.yaml").is_file() and load_recipe(own) != load_recipe(own, settings):
        raise RecipeError(
            f"--resume goes on with the recipe of {output}, and --set would change it",
            next_step="leave out --set, or train a new run, with --init to start from this one's weights",
        )
    prepare(data, progress=console_progress())  # what is wrong with the data is said before torch is imported
    from tumorseg.training.fit import train as fit_recipe

    run = fit_recipe(
        resolved,
        data,
        output,
        fold=fold,
        folds=folds,
        everyone=everyone,
        keep_test=keep_test,
        resume=resume,
        init=init,
        device=device,
        devices=read_devices(devices),
        nodes=nodes,
        command=("tumorseg", *sys.argv[1:]),
        progress=console_progress(),
        show_bar=shows_bars(),
    )
    if leads:
        emit(f"run: {run}")
        tested = bool(read_split(run / "split.csv").keys("test"))
        emit(f"next: tumorseg {'evaluate' if tested else 'export'} {run}")
