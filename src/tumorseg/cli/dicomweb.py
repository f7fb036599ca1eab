"""`tumorseg dicomweb`: a study in an archive, segmented, and the mask stored beside it."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from tumorseg.address import Credentials
    from tumorseg.dicomweb.archive import StudySeries
    from tumorseg.dicomweb.study import StudyAnswer

EXAMPLE = "tumorseg dicomweb --url https://pacs.example/dicom-web --study 1.2.840.1"

TOKEN, PASSWORD = "TUMORSEG_DICOMWEB_TOKEN", "TUMORSEG_DICOMWEB_PASSWORD"
INSECURE = "--insecure-http"
MOST_SECONDS = 3600.0

_MISSING = f"give --token-file (or {TOKEN}), or --user with the password in {PASSWORD}"


def dicomweb(
    url: Annotated[str, typer.Option("--url", metavar="URL", help="Where the archive's DICOMweb services begin.")],
    study: Annotated[str, typer.Option("--study", metavar="UID", help="The StudyInstanceUID.")],
    series: Annotated[
        str | None, typer.Option("--series", metavar="UID", help="The only series to look at; taken for FLAIR.")
    ] = None,
    channels: Annotated[
        list[str] | None,
        typer.Option(
            "--channels",
            metavar="NAME=WHICH...",
            help="Which series is what: flair=UID, or flair='*FLAIR*' of its description.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="NAME|RUN|DIR|FILE", help="A model; without it, the one that comes with tumorseg."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="DIR", help="New folder for the mask and its summary as well.")
    ] = None,
    no_store: Annotated[bool, typer.Option("--no-store", help="Store nothing in the archive.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Store the mask even if it is there already.")] = False,
    list_only: Annotated[bool, typer.Option("--list", help="Show the series of the study, and stop.")] = False,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", metavar="FILE", help=f"Holds a bearer token; else the variable {TOKEN} does."),
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", metavar="NAME", help=f"User name; the password is in {PASSWORD}.")
    ] = None,
    insecure_http: Annotated[
        bool, typer.Option(INSECURE, help="Send credentials over http:// to another machine.")
    ] = False,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="Give up a connection that is silent.")] = 60.0,
    max_instances: Annotated[int, typer.Option(metavar="N", min=1, help="Take no series of more instances.")] = 5_000,
    max_mib: Annotated[int, typer.Option(metavar="N", min=1, help="Take no series of more MiB.")] = 2_048,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where to compute.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """Pull the MR series of a study from an archive, outline the tumour, and store it there as DICOM-SEG.

    A mask that is there already, of the same model and images, is not stored twice.
    """
    from dataclasses import replace

    from tumorseg.cli.console import console_progress, emit, emit_json
    from tumorseg.dicomweb.archive import Archive, Limits
    from tumorseg.dicomweb.study import list_series, segment_study
    from tumorseg.errors import DataError, OutputError
    from tumorseg.inference.catalogue import default_model
    from tumorseg.inference.model import read_model
    from tumorseg.inference.predictor import Predictor
    from tumorseg.remote import ASKED_AGAIN, Remote

    if not 0 < timeout <= MOST_SECONDS:
        raise DataError(f"--timeout {timeout} is out of range", next_step=f"give up to {MOST_SECONDS:.0f} seconds")
    if no_store and output is None and not list_only:
        raise OutputError("--no-store without --output leaves nothing", next_step="add --output DIR")
    if no_store and again:
        raise OutputError("--no-store and --again exclude each other", next_step="choose one")
    credentials = _credentials(token_file, user, insecure_http)
    patience = replace(ASKED_AGAIN, timeout=timeout)
    with Remote(url, credentials=credentials, patience=patience, option="--url") as remote:
        archive = Archive(remote)
        if list_only:
            _show(list_series(archive, study), as_json)
            return
        predictor = Predictor(read_model(model or default_model()), device=device)
        answer = segment_study(
            archive,
            predictor,
            study,
            series=series,
            channels=channels or (),
            output=output,
            store=not no_store,
            again=again,
            limits=Limits(max_instances, max_mib * 2**20),
            progress=console_progress(),
        )
    for warning in answer.warnings:
        logging.getLogger("tumorseg.dicomweb").warning("%s", warning)
    if as_json:
        emit_json(_as_json(answer))
    else:
        emit(_in_words(answer, output))


def _credentials(token_file: Path | None, user: str | None, insecure: bool) -> "Credentials":
    """Who asks; of the command line comes no secret, since other users of a machine can read it."""
    from tumorseg.address import Credentials, basic, bearer
    from tumorseg.errors import DataError

    token = os.environ.get(TOKEN, "")
    if token_file is not None:
        if user is not None:
            raise DataError("--token-file and --user exclude each other", next_step="choose one")
        try:
            token = token_file.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise DataError(f"--token-file {token_file} cannot be read: {reason}", next_step="check it") from error
    if user is not None:
        password = os.environ.get(PASSWORD)
        if password is None:
            raise DataError("--user needs a password", next_step=f"put it into the variable {PASSWORD}")
        authorization = basic(user, password)
    else:
        authorization = bearer(token) if token or token_file is not None else ""
    return Credentials(authorization, missing=_MISSING, insecure=insecure, allow=INSECURE)


def _show(found: "tuple[StudySeries, ...]", as_json: bool) -> None:
    from dataclasses import asdict

    from tumorseg.cli.console import aligned, emit, emit_json

    if as_json:
        emit_json([asdict(one) for one in found])
        return
    rows = [("modality", "instances", "series", "description")]
    rows += [
        (one.modality or "?", "?" if one.instances is None else str(one.instances), one.uid, one.description)
        for one in found
    ]
    emit(aligned(rows))


def _in_words(answer: "StudyAnswer", output: Path | None) -> str:
    where = f"series {answer.segmentation.series}, instance {answer.segmentation.instance}"
    said = []
    if answer.measurements is not None:
        voxels = int(answer.measurements.get("tumour_voxels", 0))
        size = (
            f"{answer.measurements['tumour_ml']:.1f} ml" if "tumour_ml" in answer.measurements else f"{voxels} voxels"
        )
        said.append(f"{size} of tumour" if voxels else "no tumour found")
    if output is not None:
        said.append(f"mask in {output}")
    if answer.stored:
        said.append(f"stored as {where}")
    elif answer.kept:
        said.append(f"the archive has the mask already as {where} (--again stores it anew)")
    return "; ".join(said)


def _as_json(answer: "StudyAnswer") -> dict[str, Any]:
    import math

    numbers = answer.measurements
    return {
        "study": answer.study,
        "sources": dict(answer.sources),
        "segmentation": {"series": answer.segmentation.series, "instance": answer.segmentation.instance},
        "stored": answer.stored,
        "kept": answer.kept,
        "measurements": None
        if numbers is None
        else {name: None if math.isnan(value) else value for name, value in numbers.items()},
        "warnings": list(answer.warnings),
    }
