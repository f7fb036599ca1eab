"""Addresses of one segmented scan: its numbers, volumes, files, correction and reference."""

import math
import secrets
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as InPath
from starlette.responses import FileResponse, StreamingResponse

from tumorseg.web.dependencies import TheJob, TheServer
from tumorseg.web.downloads import Kind
from tumorseg.web.intake import drain, receive, receive_raw
from tumorseg.web.jobs import Job
from tumorseg.web.problems import Refused, documented
from tumorseg.web.schemas import Measured, ScanDetail, Scores
from tumorseg.web.segmentations import not_done, written
from tumorseg.web.stored import VOLUMES

router = APIRouter(prefix="/v1/segmentations/{id}/scans/{k}", tags=["scans"])

Volume = Literal["image", "probability", "mask", "edit", "reference"]
_PART = 2**20

Threshold = Annotated[
    float | None,
    Query(ge=0, lt=1, allow_inf_nan=False, description="A voxel is tumour above it; without it, the model's own."),
]
Edited = Annotated[bool, Query(description="Take the corrected mask, where there is one.")]


def scan_of(job: TheJob, k: Annotated[int, InPath(ge=1, le=100_000, description="From 1.")]) -> dict[str, Any]:
    """The public record of the scan that the address names.

    Raises:
        Refused: there is none, or not yet.
    """
    if not job.ended:
        raise not_done()
    return job.scan(k)


TheScan = Annotated[dict[str, Any], Depends(scan_of)]
_BINARY = {"schema": {"type": "string", "format": "binary"}}


@router.get("", response_model=ScanDetail, responses=documented(400, 401, 404, 409, 410, 422, 429, 503, 504))
async def show(server: TheServer, job: TheJob, scan: TheScan) -> dict[str, Any]:
    """All numbers of a scan."""
    found = None
    if scan["has_reference"]:
        found = await server.small_task({"do": "scores", **_place(job, scan)})
    return {**scan, "scores": found}


@router.get(
    "/volume/{volume}",
    response_class=Response,
    responses={
        200: {
            "content": {"application/octet-stream": _BINARY},
            "description": "uint8 in C order; X-Shape says of what",
        },
        **documented(400, 401, 404, 409, 410, 422),
    },
)
async def volume_of(request: Request, job: TheJob, scan: TheScan, volume: Volume) -> Response:
    """Pixels as they are shown, probabilities times 255, or the classes of a mask: the answer, corrected, reference."""
    path = _folder(job, scan) / VOLUMES[volume]
    if not path.is_file():
        raise Refused(404, f"this scan has no {volume}", next_step="send one first")
    shape = list(scan["shape"])
    if volume == "image":
        shape.append(len(scan["channels"]))
    elif volume == "probability" and len(scan["classes"]) > 1:
        shape.insert(0, len(scan["classes"]))
    headers = {"X-Shape": ",".join(map(str, shape)), "Vary": "Accept-Encoding"}
    # What is kept as .npy has a header, which is no voxel.
    start = path.stat().st_size - math.prod(shape)
    if "gzip" not in request.headers.get("accept-encoding", ""):
        if start:
            return StreamingResponse(_parts(path, start), media_type="application/octet-stream", headers=headers)
        return FileResponse(path, media_type="application/octet-stream", headers=headers)
    headers["Content-Encoding"] = "gzip"
    return StreamingResponse(_gzipped(path, start), media_type="application/octet-stream", headers=headers)


@router.get(
    "/files/{kind}",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": _BINARY}, "description": "The file, of its own type"},
        **documented(400, 401, 404, 409, 410, 422, 429, 503, 504),
    },
)
async def file_of(
    server: TheServer, job: TheJob, scan: TheScan, kind: Kind, threshold: Threshold = None, edited: Edited = False
) -> Response:
    """A file of a scan, under a name that says nothing of anybody."""
    if kind not in scan["downloads"]:
        raise Refused(409, f"this scan has no {kind}", next_step=f"there are {', '.join(scan['downloads'])}")
    output = job.folder / f"out-{secrets.token_hex(8)}"
    task = {
        "do": "export",
        "kind": kind,
        "output": str(output),
        "threshold": threshold,
        "edited": edited,
        **_place(job, scan),
    }
    return await written(server, task, output)


@router.put(
    "/edit",
    response_model=Measured,
    responses=documented(400, 401, 403, 404, 409, 410, 422, 429, 503, 504),
    openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": _BINARY}}},
)
async def correct(request: Request, server: TheServer, job: TheJob, scan: TheScan) -> Any:
    """Keep a corrected mask, (slices, height, width) uint8, and measure it."""
    slices, height, width = scan["shape"]
    body = _folder(job, scan) / f"sent-{secrets.token_hex(8)}"
    try:
        await receive_raw(request, body, server.settings, slices * height * width)
        async with job.changing:
            found = await server.small_task({"do": "edit", "body": str(body), **_place(job, scan)})
            scan["edited"] = True
            return found
    except Refused:
        await drain(request)
        raise
    finally:
        body.unlink(missing_ok=True)


@router.delete("/edit", status_code=204, responses=documented(400, 401, 403, 404, 409, 410, 422))
async def uncorrect(job: TheJob, scan: TheScan) -> Response:
    """Forget the corrected mask."""
    async with job.changing:
        (_folder(job, scan) / "edit.npy").unlink(missing_ok=True)
        scan["edited"] = False
    return Response(status_code=204)


@router.put(
    "/reference",
    response_model=Scores,
    responses=documented(400, 401, 403, 404, 409, 410, 413, 415, 422, 429, 503, 504),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["file"],
                        "additionalProperties": False,
                        "properties": {
                            "file": {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}}
                        },
                    }
                }
            },
        }
    },
)
async def refer(request: Request, server: TheServer, job: TheJob, scan: TheScan) -> Any:
    """Send a reference mask, and learn how the model's mask agrees with it."""
    folder = job.folder / f"sent-{secrets.token_hex(8)}"
    folder.mkdir(mode=0o700)
    try:
        received = await receive(request, folder, server.settings, {"file": True}, room=server.sessions.room())
        files = received.files.get("file", [])
        if not files:
            raise Refused(422, "the form has no part 'file'", next_step="send a mask")
        task = {
            "do": "reference",
            "uploads": [(name, str(path)) for name, path in files],
            "max_unpacked_bytes": server.settings.max_unpacked_bytes,
            **_place(job, scan),
        }
        async with job.changing:
            found = await server.small_task(task)
            scan["has_reference"] = True
    except Refused:
        await drain(request)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found


@router.get("/scores", response_model=Scores, responses=documented(400, 401, 404, 409, 410, 422, 429, 503, 504))
async def scores_of(
    server: TheServer, job: TheJob, scan: TheScan, threshold: Threshold = None, edited: Edited = False
) -> Any:
    """How a mask agrees with the reference."""
    if not scan["has_reference"]:
        raise Refused(409, "this scan has no reference", next_step="send one with PUT .../reference")
    return await server.small_task({"do": "scores", "threshold": threshold, "edited": edited, **_place(job, scan)})


def _folder(job: Job, scan: dict[str, Any]) -> Path:
    return job.folder / f"scan-{scan['index']}"


def _place(job: Job, scan: dict[str, Any]) -> dict[str, str]:
    return {"folder": str(job.folder), "scan": f"scan-{scan['index']}"}


def _parts(path: Path, start: int) -> Iterator[bytes]:
    with open(path, "rb") as file:
        file.seek(start)
        while part := file.read(_PART):
            yield part


def _gzipped(path: Path, start: int) -> Iterator[bytes]:
    packer = zlib.compressobj(1, wbits=31)
    for part in _parts(path, start):
        if packed := packer.compress(part):
            yield packed
    yield packer.flush()
