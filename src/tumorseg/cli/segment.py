"""`tumorseg segment`: masks for files, folders and ZIPs of scans."""

import logging
from pathlib import Path
from typing import Annotated, Literal

import typer

EXAMPLE = "tumorseg segment scans --output masks"

FAILURES_SHOWN = 20


def segment(
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="Folder for masks and summary.")],
    inputs: Annotated[
        list[Path] | None, typer.Argument(metavar="INPUT...", help="Scans: files, folders of them, or ZIPs.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="NAME|RUN|DIR|FILE", help="A model; without it, the one that comes with tumorseg."
        ),
    ] = None,
    channels: Annotated[
        list[str] | None,
        typer.Option(
            "--channels",
            metavar="NAME=WHICH...",
            help="Which sequence is what: flair=1 (a channel, from 0), flair=FILE, or flair='*_flair.nii.gz'.",
        ),
    ] = None,
    form: Annotated[
        Literal["same", "nifti", "dicom-seg", "png"],
        typer.Option("--format", help="Of the masks; same is the input's own."),
    ] = "same",
    overlay: Annotated[bool, typer.Option("--overlay", help="Also draw the outline on every slice, as PNG.")] = False,
    contours: Annotated[bool, typer.Option("--contours", help="Also write the outlines as JSON.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Keep masks that are whole, do the rest.")] = False,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", min=1, max=64, help="Threads that read and write.")
    ] = 2,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where to compute.")] = "auto",
    fast: Annotated[
        bool,
        typer.Option("--fast", help="Compute the model's fast way, where it was measured to lose next to nothing."),
    ] = False,
) -> None:
    """Outline the tumour in every scan: a/b/x_3.tif gives DIR/b/x_3_mask.tif, x.nii.gz gives x_mask.nii.gz.

    Files named NAME_NUMBER.tif in one folder are the slices of one scan, and DICOM files of one series are one scan;
    any other file is a scan.
    """
    from tumorseg.cli.console import console_progress, emit
    from tumorseg.errors import OutputError
    from tumorseg.inference.batch import segment_listing
    from tumorseg.inference.catalogue import default_model
    from tumorseg.inference.inputs import find_inputs
    from tumorseg.inference.model import read_model
    from tumorseg.inference.outputs import Existing, Wanted
    from tumorseg.inference.predictor import Predictor
    from tumorseg.inference.sequence_choice import parse_choice, refuse_useless
    from tumorseg.inference.summary import SUMMARY_CSV

    if overwrite and resume:
        raise OutputError("--overwrite and --resume exclude each other", next_step="choose one")
    existing: Existing = "overwrite" if overwrite else "resume" if resume else "refuse"
    log = logging.getLogger("tumorseg.segment")
    choice = parse_choice(channels or (), inputs=inputs or ())
    listing = find_inputs(inputs or (), choice=choice, output_format=form)
    wanted = Wanted(form, overlay=overlay, contours=contours)
    found = read_model(model or default_model())
    refuse_useless(choice, found.spec.channels)
    if count := len(listing.left_out):
        log.info("%d file%s with names that --channels does not fit, left out", count, "s" * (count != 1))
    outcome = segment_listing(
        listing,
        Predictor(found, device=device, fast=fast),
        output,
        existing=existing,
        wanted=wanted,
        choice=choice,
        workers=workers,
        progress=console_progress(),
    )
    for line in outcome.warning_lines():
        log.warning("%s", line)
    scans, masks = outcome.scans, outcome.masks
    emit(
        f"{scans} scan{'s' * (scans != 1)}, {outcome.with_tumour} with tumour: {masks} mask{'s' * (masks != 1)} "
        f"in {output}"
    )
    if outcome.failures:
        reasons = list(dict.fromkeys(failure.reason for failure in outcome.failures))
        for reason in reasons[:FAILURES_SHOWN]:
            log.error("%s", reason)
        count = len(outcome.failures)
        rest = f", the first {FAILURES_SHOWN} are named above" if len(reasons) > FAILURES_SHOWN else ""
        log.error("%d file%s failed%s; all are in %s", count, "s" * (count != 1), rest, output / SUMMARY_CSV)
        raise typer.Exit(3)
