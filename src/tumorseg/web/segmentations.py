"""Addresses of jobs: begin, watch, cancel, list, and take all results."""

import asyncio
import contextlib
import math
import secrets
import shutil
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, JSONResponse

from tumorseg.web.dependencies import TheCookie, TheJob, TheServer, server_of
from tumorseg.web.examples import EXAMPLES
from tumorseg.web.intake import drain, receive
from tumorseg.web.jobs import Job
from tumorseg.web.problems import Refused, documented
from tumorseg.web.schemas import Jobs, JobSent
from tumorseg.web.server import Server
from tumorseg.web.sessions import COOKIE, Session

router = APIRouter(prefix="/v1", tags=["segmentations"])

MOST_WAIT = 60.0
_KNOWN = {"file": True, "reference": True, "model": False, "channels": False, "wait": False}
_WITHOUT_DRAINING = 16 * 2**20
"""A smaller upload is refused also after it has come, if the queue has filled up meanwhile."""

_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "additionalProperties": False,
                "properties": {
                    "file": {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "string", "format": "binary"},
                        "description": "Scans: TIFF, PNG, JPEG, MATLAB, NIfTI, NumPy, DICOM, or ZIPs of these. The "
                        "file name may be a path in a folder.",
                    },
                    "reference": {
                        "type": "array",
                        "items": {"type": "string", "format": "binary"},
                        "description": "Reference masks; of several scans named as these, with _mask.",
                    },
                    "model": {"type": "string", "description": "A name of /v1/models.", "examples": ["lgg"]},
                    "channels": {
                        "type": "string",
                        "description": "Which sequence is what.",
                        "examples": ["pre=0 flair=1 post=2", "flair=*_flair.nii.gz post=*_t1ce.nii.gz"],
                    },
                    "wait": {
                        "type": "number",
                        "minimum": 0,
                        "maximum": MOST_WAIT,
                        "description": "Seconds to wait for the end.",
                    },
                },
            },
            "encoding": {"wait": {"contentType": "text/plain"}},
        }
    },
}
_CREATED: dict[int | str, dict[str, Any]] = {
    201: {"model": JobSent, "description": "It ended within the time to wait."},
    202: {"model": JobSent, "description": "It waits or runs; ask its Location."},
}


@router.post(
    "/segmentations",
    status_code=202,
    response_model=JobSent,
    responses={**_CREATED, **documented(400, 401, 403, 413, 415, 422, 429, 503, 504)},
    openapi_extra={"requestBody": _BODY},
)
async def begin(request: Request, server: TheServer, cookie: TheCookie) -> Response:
    """Send scans to be segmented."""
    cookie = cookie or server.sessions.issue()
    try:
        server.refuse_work(server.sessions.find(cookie))
        if server.uploads >= server.settings.max_uploads:
            raise Refused(429, "too many uploads at once", next_step="try again later", retry_after=5)
    except Refused:
        await drain(request)
        raise
    session = server.sessions.open(cookie)
    folder = session.folder / secrets.token_hex(8)
    folder.mkdir(mode=0o700)
    session.uploading += 1
    server.uploads += 1
    try:
        job, wait = await _received(request, server, session, folder)
        await server.submit(job, session)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, Refused) and error.problem.status != HTTPStatus.GATEWAY_TIMEOUT:
            await drain(request)
        raise
    finally:
        session.uploading -= 1
        server.uploads -= 1
    return await answered(request, job, cookie, wait)


async def _received(request: Request, server: Server, session: Session, folder: Path) -> tuple[Job, float]:
    """A job of what was sent, and how long to wait for it."""
    received = await receive(request, folder, server.settings, _KNOWN, room=server.sessions.room())
    server.telemetry.uploaded(received.bytes)
    model = received.fields.get("model") or server.default
    if model not in server.models:
        raise Refused(422, "there is no model of that name", next_step=f"name one of: {', '.join(server.models)}")
    files = received.files.get("file", [])
    if not files:
        raise Refused(422, "the form has no part 'file'", next_step="send one scan at least")
    wait = _seconds(received.fields.get("wait", ""))
    if received.bytes < _WITHOUT_DRAINING:
        server.refuse_work(session)
    elif server.draining:
        server.refuse_work(None)
    task = {
        "channels": received.fields.get("channels", ""),
        "uploads": [(name, str(path)) for name, path in files],
        "references": [(name, str(path)) for name, path in received.files.get("reference", [])],
    }
    job = server.new_job(session, model, task, folder, files=len(files))
    job.bytes = received.bytes
    return job, wait


@router.get("/segmentations", response_model=Jobs, responses=documented(400, 401))
async def list_jobs(request: Request, server: TheServer, cookie: TheCookie) -> dict[str, Any]:
    """All segmentations of this session."""
    session = server.sessions.find(cookie)
    jobs = session.jobs.values() if session is not None else ()
    return {"jobs": [job_sent(server, job) for job in jobs]}


@router.get("/segmentations/{id}", response_model=JobSent, responses=documented(400, 401, 404, 410, 422))
async def show(server: TheServer, job: TheJob) -> dict[str, Any]:
    """How far a segmentation is, and what was found."""
    return job_sent(server, job)


@router.delete("/segmentations/{id}", status_code=204, responses=documented(400, 401, 403, 404, 410, 422))
async def remove(server: TheServer, cookie: TheCookie, job: TheJob) -> Response:
    """Cancel a segmentation if it runs, and delete all that belongs to it."""
    session = server.sessions.find(cookie)
    assert session is not None  # it has the job
    await server.remove(job, session)
    return Response(status_code=204)


@router.get(
    "/segmentations/{id}/results",
    response_class=Response,
    responses={
        200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}, "description": "All"},
        **documented(400, 401, 404, 409, 410, 422, 429, 503, 504),
    },
)
async def results(
    server: TheServer,
    job: TheJob,
    threshold: Annotated[float | None, Query(ge=0, lt=1, allow_inf_nan=False)] = None,
    edited: Annotated[bool, Query()] = False,
) -> Response:
    """Masks of all scans, with summary.csv and summary.json, as a ZIP."""
    if job.status != "done":
        raise not_done()
    output = job.folder / f"out-{secrets.token_hex(8)}"
    task = {
        "do": "results",
        "folder": str(job.folder),
        "scans": [f"scan-{scan['index']}" for scan in job.scans],
        "failures": job.failures,
        "model": job.model_path,
        "output": str(output),
        "threshold": threshold,
        "edited": edited,
    }
    return await written(server, task, output)


@router.post(
    "/examples/{name}",
    status_code=202,
    response_model=JobSent,
    responses={**_CREATED, **documented(400, 401, 403, 404, 422, 429, 503)},
)
async def begin_example(
    request: Request,
    server: TheServer,
    cookie: TheCookie,
    name: str,
    wait: Annotated[float, Query(ge=0, le=MOST_WAIT, allow_inf_nan=False)] = 0.0,
) -> Response:
    """Segment an example."""
    if name not in {example.name for example in EXAMPLES}:
        raise Refused(404, "there is no such example", next_step="choose one of /v1/examples")
    cookie = cookie or server.sessions.issue()
    server.refuse_work(server.sessions.find(cookie))
    session = server.sessions.open(cookie)
    folder = session.folder / secrets.token_hex(8)
    folder.mkdir(mode=0o700)
    job = server.new_job(session, server.default, {"example": name}, folder, files=1)
    await server.submit(job, session)
    return await answered(request, job, cookie, wait)


async def answered(request: Request, job: Job, cookie: str, wait: float) -> Response:
    """The answer to a new job: 201 where it has ended within `wait` seconds, else 202."""
    if wait > 0:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(job.ended_at.wait(), wait)
    server = server_of(request)
    body = JobSent.model_validate(job_sent(server, job)).model_dump(mode="json", by_alias=True)
    location = f"/v1/segmentations/{job.id}"
    response = JSONResponse(body, 201 if job.ended else 202, headers={"Location": location})
    set_cookie(request, response, cookie)
    return response


def set_cookie(request: Request, response: Response, cookie: str) -> None:
    """Give a browser the cookie of its session; nothing but this server's own pages may send it back."""
    response.set_cookie(
        COOKIE, cookie, path="/", httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )


async def written(server: Server, task: dict[str, Any], output: Path) -> Response:
    """A file that a worker writes for this answer, and that goes with it."""
    from tumorseg.web.downloads import media_type

    try:
        path = Path(await server.small_task(task))
    except BaseException:
        shutil.rmtree(output, ignore_errors=True)
        raise
    return FileResponse(
        path,
        filename=path.name,
        media_type=media_type(path.name),
        background=BackgroundTask(shutil.rmtree, output, ignore_errors=True),
    )


def not_done() -> Refused:
    """The refusal of what only a finished job has."""
    return Refused(409, "the segmentation is not done", next_step="ask again when its status is done")


def job_sent(server: Server, job: Job) -> dict[str, Any]:
    """A job as it is sent."""
    return {
        "id": job.id,
        "status": job.status,
        "created": job.created,
        "progress": {"done": job.done, "total": job.total},
        "position": server.queue.position(job),
        "error": job.error,
        "model": job.model,
        "files": job.files,
        "scans": job.scans,
        "failures": job.failures,
    }


def _seconds(text: str) -> float:
    try:
        seconds = float(text or 0)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= MOST_WAIT:
        raise Refused(422, f"wait is no number of seconds from 0 to {MOST_WAIT:.0f}", next_step="leave it out")
    return seconds
