"""`tumorseg demo`: a first look in seconds; with --train, the whole way in a few minutes."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "tumorseg demo --output tumorseg-demo"

PATIENTS, SLICES, SEED = 24, 16, 2026
"""The synthetic data set of the demo."""


def demo(
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="A new folder for all of it.")] = Path(
        "tumorseg-demo"
    ),
    train: Annotated[
        bool, typer.Option("--train", help="Train a small net first: minutes in place of seconds.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help="With --train, an LGG data set; without it, synthetic heads.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Segment a synthetic head with the model that comes with tumorseg: masks, overlays and a report, in seconds.

    With --train: train a small net, judge it on patients it has not seen, and write a report; a few minutes on two
    cores. That needs the extra [train].
    """
    if train:
        _train(data, output)
    else:
        _segment(data, output)


def _segment(data: Path | None, output: Path) -> None:
    import logging
    import time

    from tumorseg.cli.console import console_progress, emit
    from tumorseg.errors import DataError
    from tumorseg.evaluation.definitions import cut
    from tumorseg.inference.catalogue import DEFAULT_MODEL, default_model
    from tumorseg.progress import duration
    from tumorseg.studies.example import MASKS, demonstrate

    if data is not None:
        raise DataError(
            f"--data {data} is for the demo that trains",
            next_step=f"add --train, or segment your scans: tumorseg segment {data} --output masks",
        )
    log = logging.getLogger("tumorseg.demo")
    started = time.monotonic()
    log.info("Segmenting a synthetic head with the model '%s'", DEFAULT_MODEL)
    found = demonstrate(default_model(), output, progress=console_progress())
    for warning in found.warnings:
        log.warning("%s", warning)
    took = duration(time.monotonic() - started)
    log.info("Done in %s: Dice %s with its reference; masks and overlays in %s", took, cut(found.dice), output / MASKS)
    log.info("Your own scan: tumorseg segment SCAN --output masks. Open the report in a browser:")
    emit(str(found.report))


def _train(data: Path | None, output: Path) -> None:
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
    train(recipe, data, run, command=("tumorseg", "demo", "--train"), progress=progress, show_bar=shows_bars())
    log.info("3 of 4  Judging it on the patients of the test part, which it has never seen")
    evaluation = evaluate_run(run, part="test", progress=progress)
    for name in ("report.html", "predictions.png"):
        with atomic_write(output / name) as temporary:
            shutil.copyfile(evaluation / name, temporary)
    log.info("4 of 4  Done in %s. Open the report in a browser:", duration(time.monotonic() - started))
    emit(str(output / "report.html"))
