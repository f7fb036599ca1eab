"""`tumorseg export`: a run's model as files for others."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "tumorseg export runs/first --to onnx --output first-onnx"


class ToName(StrEnum):
    """What kind of files."""

    ONNX = "onnx"
    SAFETENSORS = "safetensors"


class WeightsName(StrEnum):
    """How an ONNX graph stores its weights."""

    FLOAT16 = "float16"
    FLOAT32 = "float32"


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder that tumorseg train wrote.", show_default=False)],
    to: Annotated[ToName, typer.Option("--to", help="What to write.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="A new folder.", show_default=False)],
    name: Annotated[str, typer.Option(metavar="NAME", help="Call the model this; by default as the run.")] = "",
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Compare masks on this data; by default the run's.", show_default=False),
    ] = None,
    evaluation: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="The card's scores are from here, may be given again; by default the run's evaluations.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        WeightsName, typer.Option(help="How ONNX stores weights; it computes in float32.")
    ] = WeightsName.FLOAT16,
    network_only: Annotated[
        bool, typer.Option("--network-only", help="Leave out the ONNX graph for raw slices.")
    ] = False,
    fast: Annotated[
        bool,
        typer.Option("--fast", help="Also measure a fast way on the validation patients, for segment --fast (ONNX)."),
    ] = False,
    refit: Annotated[
        bool,
        typer.Option("--refit", help="Fit temperature, threshold, cleaning and input checks anew, on the run's data."),
    ] = False,
) -> None:
    """Write a run's model into a folder: ONNX graphs or safetensors, model.json, a model card and the licence.

    ONNX: model.onnx is what tumorseg segment computes; raw-slices.onnx takes raw slices and the scan's black and
    white and gives probabilities. What they take and give is in their metadata. The masks of torch and ONNX are
    compared on real slices; where more than 0.01 % of the pixels differ, nothing is written.
    """
    from tumorseg.cli.console import console_progress, emit, require_training

    require_training()
    from tumorseg.training.release import export_run

    export_run(
        run,
        to.value,
        output,
        data=data,
        evaluations=evaluation or (),
        name=name,
        weights=weights.value,
        raw=not network_only,
        fast=fast,
        refit=refit,
        progress=console_progress(),
    )
    emit(str(output))
