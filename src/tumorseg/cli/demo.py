"""`tumorseg demo`: the whole way in a few minutes, on synthetic heads or on your data."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "tumorseg demo --output tumorseg-demo"

PATIENTS, SLICES, SEED = 24, 16, 2026
"""The synthetic data set of the demo."""


def demo(
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="An LGG data set; without it, synthetic heads.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="A new folder for the run and its report.")
    ] = Path("tumorseg-demo"),
) -> None:
    """Train a small net, judge it on patients it has not seen, and write a report: a few minutes on two cores."""
    import logging
    import shutil
    import time

    from tumorseg.cli.console import console_progress, emit, require_training, shows_bars
    from tumorseg.datasets.phantom import write_phantom
    from tumorseg.evaluation.evaluate import evaluate_run
    from tumorseg.files import atomic_write, refuse_existing
    from tumorseg.progress import duration
    from tumorseg.recipe_file import load_recipe

    require_training()
    from tumorseg.training.fit import train

    log = logging.getLogger("tumorseg.demo")
    started = time.monotonic()
    refuse_existing(output)
    progress = console_progress()
    if data is None:
        data = output / "data"
        log.info("1 of 4  Drawing %d synthetic heads, some with lesions hard to tell from the rest: %s", PATIENTS, data)
        write_phantom(data, patients=PATIENTS, slices=SLICES, seed=SEED, progress=progress)
    else:
        log.info("1 of 4  Taking the data in %s", data)
    recipe = load_recipe("demo")
    run = output / "run"
    log.info("2 of 4  Training the recipe 'demo' for %d epochs: %s", recipe.total_epochs, run)
    train(recipe, data, run, command=("tumorseg", "demo"), progress=progress, show_bar=shows_bars())
    log.info("3 of 4  Judging it on the patients of the test part, which it has never seen")
    evaluation = evaluate_run(run, part="test", progress=progress)
    for name in ("report.html", "predictions.png"):
        with atomic_write(output / name) as temporary:
            shutil.copyfile(evaluation / name, temporary)
    log.info("4 of 4  Done in %s. Open the report in a browser:", duration(time.monotonic() - started))
    emit(str(output / "report.html"))
