"""`tumorseg segment`: masks for files and folders of scans."""

import logging
from pathlib import Path
from typing import Annotated, Literal

import typer

EXAMPLE = "tumorseg segment scans --output masks --model runs/default"

FAILURES_SHOWN = 20


def segment(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Image files, or folders of them.")],
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="Folder for masks and summary.")],
    model: Annotated[Path, typer.Option("--model", metavar="RUN|DIR|FILE", help="A run, model folder or model.json.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Keep masks that are whole, do the rest.")] = False,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where to compute.")] = "auto",
) -> None:
    """Outline the tumour in every scan: a/b/x_3.tif gives DIR/b/x_3_mask.tif, with 0 and 255.

    Files named NAME_NUMBER.tif in one folder are the slices of one scan; any other file is a scan.
    """
    from tumorseg.cli.console import console_progress, emit
    from tumorseg.errors import OutputError
    from tumorseg.inference.batch import segment_listing
    from tumorseg.inference.inputs import find_inputs
    from tumorseg.inference.model import read_model
    from tumorseg.inference.outputs import Existing, check_output
    from tumorseg.inference.predictor import Predictor
    from tumorseg.inference.summary import SUMMARY_CSV

    if overwrite and resume:
        raise OutputError("--overwrite and --resume exclude each other", next_step="choose one")
    existing: Existing = "overwrite" if overwrite else "resume" if resume else "refuse"
    listing = find_inputs(inputs)
    found = read_model(model)
    check_output(listing, output, existing)
    outcome = segment_listing(
        listing, Predictor(found, device=device), output, existing=existing, progress=console_progress()
    )
    log = logging.getLogger("tumorseg.segment")
    for line in outcome.warning_lines():
        log.warning("%s", line)
    masks = sum(len(result.masks) for result in outcome.results)
    with_tumour = sum(any(result.areas) for result in outcome.results)
    scans = len(outcome.results)
    emit(f"{scans} scan{'s' * (scans != 1)}, {with_tumour} with tumour: {masks} mask{'s' * (masks != 1)} in {output}")
    if outcome.failures:
        for failure in outcome.failures[:FAILURES_SHOWN]:
            log.error("%s", failure.reason)
        count = len(outcome.failures)
        rest = f", the first {FAILURES_SHOWN} are named above" if count > FAILURES_SHOWN else ""
        log.error("%d file%s failed%s; all are in %s", count, "s" * (count != 1), rest, output / SUMMARY_CSV)
        raise typer.Exit(3)
