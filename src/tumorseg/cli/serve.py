"""`tumorseg serve`: the page for colleagues and the HTTP interface for programs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from pydantic import SecretStr

EXAMPLE = "tumorseg serve --port 8000"

_MIB = 2**20


def serve(
    host: Annotated[
        str,
        typer.Option(
            "--host", metavar="ADDRESS", envvar="TUMORSEG_SERVE_HOST", show_envvar=False, help="Where to listen."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            "--port",
            metavar="N",
            min=0,
            max=65535,
            envvar="TUMORSEG_SERVE_PORT",
            show_envvar=False,
            help="0 takes a free one.",
        ),
    ] = 8000,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME|RUN|DIR",
            envvar="TUMORSEG_SERVE_MODEL",
            show_envvar=False,
            help="Offer this model, several times if need be, the default first; without it, those that come with "
            "tumorseg.",
        ),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        typer.Option("--device", envvar="TUMORSEG_SERVE_DEVICE", show_envvar=False, help="Where to compute."),
    ] = "auto",
    token: Annotated[
        Path | None,
        typer.Option(
            "--token",
            metavar="FILE",
            envvar="TUMORSEG_SERVE_TOKEN",
            show_envvar=False,
            help="Demand the token in this file (or in TUMORSEG_TOKEN) as Authorization: Bearer.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            envvar="TUMORSEG_SERVE_ALLOW_HOST",
            show_envvar=False,
            help="A name by which people call this server, such as a proxy's; several times if need be.",
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            metavar="DIR",
            envvar="TUMORSEG_SERVE_FOLDER",
            show_envvar=False,
            help="Where its temporary folder is made.",
        ),
    ] = None,
    max_upload: Annotated[
        int,
        typer.Option(
            "--max-upload",
            metavar="MIB",
            min=1,
            envvar="TUMORSEG_SERVE_MAX_UPLOAD",
            show_envvar=False,
            help="Of one request.",
        ),
    ] = 1024,
    max_files: Annotated[
        int,
        typer.Option(
            "--max-files",
            metavar="N",
            min=1,
            envvar="TUMORSEG_SERVE_MAX_FILES",
            show_envvar=False,
            help="Of one request, ZIPs unpacked.",
        ),
    ] = 5000,
    max_slices: Annotated[
        int,
        typer.Option(
            "--max-slices",
            metavar="N",
            min=1,
            envvar="TUMORSEG_SERVE_MAX_SLICES",
            show_envvar=False,
            help="Of one request.",
        ),
    ] = 2000,
    max_pixels: Annotated[
        int,
        typer.Option(
            "--max-pixels",
            metavar="MILLIONS",
            min=1,
            envvar="TUMORSEG_SERVE_MAX_PIXELS",
            show_envvar=False,
            help="Of one request, all channels counted.",
        ),
    ] = 512,
    max_seconds: Annotated[
        float,
        typer.Option(
            "--max-seconds",
            metavar="S",
            min=1,
            envvar="TUMORSEG_SERVE_MAX_SECONDS",
            show_envvar=False,
            help="That a job may compute.",
        ),
    ] = 900.0,
    max_stored: Annotated[
        int,
        typer.Option(
            "--max-stored",
            metavar="MIB",
            min=1,
            envvar="TUMORSEG_SERVE_MAX_STORED",
            show_envvar=False,
            help="Of all sessions together.",
        ),
    ] = 16384,
    memory: Annotated[
        int,
        typer.Option(
            "--memory",
            metavar="MIB",
            min=256,
            envvar="TUMORSEG_SERVE_MEMORY",
            show_envvar=False,
            help="Of a worker process.",
        ),
    ] = 4096,
    queue: Annotated[
        int,
        typer.Option(
            "--queue",
            metavar="N",
            min=1,
            envvar="TUMORSEG_SERVE_QUEUE",
            show_envvar=False,
            help="Scans that wait; then 429 is answered.",
        ),
    ] = 8,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            min=1,
            max=64,
            envvar="TUMORSEG_SERVE_WORKERS",
            show_envvar=False,
            help="Processes that compute; without it, one for each core, at most 4.",
        ),
    ] = None,
    idle_minutes: Annotated[
        float,
        typer.Option(
            "--idle-minutes",
            metavar="MIN",
            min=0.01,
            envvar="TUMORSEG_SERVE_IDLE_MINUTES",
            show_envvar=False,
            help="After which uploads and answers are removed.",
        ),
    ] = 15.0,
) -> None:
    """Serve a page and an HTTP interface: drop a scan, see the outline, take the mask. Research use only.

    Everything stays on this machine, in a private folder that is gone when the server is. Each option can be set in
    the environment as well, as TUMORSEG_SERVE_MAX_FILES for example.
    """
    from tumorseg.cli.console import emit, require_web

    require_web()
    from tumorseg.web.serving import serve as run
    from tumorseg.web.settings import ServeSettings

    settings = ServeSettings(
        host=host,
        port=port,
        models=tuple(model or ()),
        device=device,
        token=_token(token),
        allow_hosts=tuple(allow_host or ()),
        folder=folder,
        max_upload_bytes=max_upload * _MIB,
        max_unpacked_bytes=4 * max_upload * _MIB,
        max_files=max_files,
        max_slices=max_slices,
        max_pixels=max_pixels * 1_000_000,
        max_seconds=max_seconds,
        max_stored_bytes=max_stored * _MIB,
        memory_bytes=memory * _MIB,
        queue_length=queue,
        **({} if workers is None else {"workers": workers}),
        idle_minutes=idle_minutes,
    )

    def opened(address: str) -> None:
        emit(address)
        if settings.token is None and host not in ("127.0.0.1", "::1", "localhost"):
            _warn()

    run(settings, opened)


def _warn() -> None:
    import logging

    logging.getLogger("tumorseg.serve").warning(
        "everybody who reaches this machine can use the server; demand a token with --token FILE, and put it behind TLS"
    )


def _token(path: Path | None) -> "SecretStr | None":
    """The token of the file, else of the environment.

    Raises:
        DataError: the file cannot be read, or what is in it is no token.
    """
    import os

    from pydantic import SecretStr

    from tumorseg.errors import DataError

    if path is None:
        text = os.environ.get("TUMORSEG_TOKEN", "")
        if not text:
            return None
        where = "TUMORSEG_TOKEN"
    else:
        where = str(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"--token {path} cannot be read", next_step="check the path and its permissions") from error
    text = text.strip()
    if len(text) < 16 or not text.isascii() or not text.isprintable() or " " in text:
        raise DataError(
            f"{where} holds no token of 16 or more characters without spaces",
            next_step="write one with: openssl rand -hex 32",
        )
    return SecretStr(text)
