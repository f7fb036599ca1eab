"""`tumorseg audit-leakage`: what a split by slice gives away."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "tumorseg audit-leakage --recipe unet-classic --data lgg --output audit --minutes 30"


def audit(
    data: Annotated[Path, typer.Option(metavar="DIR", help="The data set.", show_default=False)],
    output: Annotated[Path, typer.Option(metavar="DIR", help="The study's folder.", show_default=False)],
    recipe: Annotated[str, typer.Option(metavar="NAME|FILE", help="See: tumorseg recipes.")] = "default",
    minutes: Annotated[
        float | None,
        typer.Option(metavar="M", help="Train each for about M minutes.", show_default="the recipe's epochs"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="key=value…", help="Change keys of the recipe.", show_default=False),
    ] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where to train.")] = "auto",
) -> None:
    """Train one recipe twice, split by patient and by slice, and say how much of the score was leakage.

    Writes audit.json and report.html. The same command goes on where it was stopped.
    """
    import sys

    from tumorseg.cli.console import aligned, console_progress, emit, require_training, shows_bars
    from tumorseg.evaluation.definitions import cut
    from tumorseg.recipe_file import load_recipe
    from tumorseg.studies.audit import audit_leakage
    from tumorseg.studies.audit_page import finding, gap_interval
    from tumorseg.studies.comparison import signed
    from tumorseg.studies.leakage import SCORES

    resolved = load_recipe(recipe, settings or ())
    require_training()
    found = audit_leakage(
        resolved,
        data,
        output,
        minutes=minutes,
        device=device,
        command=("tumorseg", *sys.argv[1:]),
        progress=console_progress(),
        show_bar=shows_bars(),
    )
    heads = ("score", "by slice", "by patient", "leakage", "95 %", "copied", "nothing marked")
    rows = [
        (
            SCORES[leak.key],
            cut(leak.by_slice),
            cut(leak.by_patient),
            signed(leak.gap),
            gap_interval(leak),
            cut(leak.copied),
            "" if leak.all_empty != leak.all_empty else cut(leak.all_empty),
        )
        for leak in found.leaks
    ]
    emit(aligned([heads, *rows]))
    emit(finding(found))
    emit(f"report: {output / 'report.html'}")
