"""Addresses of what the server offers and how it is: models, examples, limits, health, metrics, the page."""

from importlib import resources
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.responses import FileResponse

from tumorseg import __version__
from tumorseg.web.dependencies import TheCookie, TheServer
from tumorseg.web.examples import EXAMPLES
from tumorseg.web.problems import Refused, documented
from tumorseg.web.schemas import Examples, Health, Limits, Models
from tumorseg.web.segmentations import set_cookie
from tumorseg.web.telemetry import CONTENT_TYPE

router = APIRouter()

PAGE = "index.html"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".txt": "text/plain; charset=utf-8",
}
_CACHED = "no-cache"
"""Browsers keep files and ask each time whether they have changed."""


def static_folder() -> Path:
    """Where the page lies."""
    return Path(str(resources.files("tumorseg"))) / "web" / "static"


@router.get("/v1/models", response_model=Models, responses=documented(400, 401), tags=["server"])
async def models(server: TheServer) -> dict[str, Any]:
    """The models that may be named."""
    return {
        "models": [
            {
                "name": model.name,
                "description": model.what,
                "licence": model.licence,
                "classes": list(model.classes),
                "channels": list(model.channels),
                "scores": [dict(score) for score in model.scores],
                "default": model.name == server.default,
            }
            for model in server.models.values()
        ]
    }


@router.get(
    "/v1/models/{name}/card",
    response_class=Response,
    responses={
        200: {"content": {"text/markdown": {"schema": {"type": "string"}}}, "description": "The card"},
        **documented(400, 401, 404, 422),
    },
    tags=["server"],
)
async def card(server: TheServer, name: str) -> Response:
    """What a model was trained on, how good it is, and what it must not be used for."""
    found = server.models.get(name)
    if found is None or found.card is None:
        raise Refused(404, "there is no card of that name", next_step="choose a model of /v1/models")
    return Response(found.card.read_text(encoding="utf-8", errors="replace"), media_type="text/markdown")


@router.get("/v1/examples", response_model=Examples, responses=documented(400, 401), tags=["server"])
async def examples() -> dict[str, Any]:
    """Scans to try the page with."""
    return {"examples": [example._asdict() for example in EXAMPLES]}


@router.get("/v1/limits", response_model=Limits, responses=documented(400, 401), tags=["server"])
async def limits(server: TheServer) -> dict[str, Any]:
    """What the server takes."""
    settings = server.settings
    return {**settings.model_dump(), "token": settings.token is not None, "version": __version__}


@router.get("/healthz", response_model=Health, responses=documented(400), tags=["server"])
async def health() -> dict[str, str]:
    """Whether the server lives."""
    return {"status": "ok"}


@router.get("/readyz", response_model=Health, responses=documented(400, 503), tags=["server"])
async def readiness(server: TheServer) -> dict[str, str]:
    """Whether a scan would be segmented now."""
    if not server.ready:
        raise Refused(503, "the server is starting or ending", next_step="try again", retry_after=2)
    return {"status": "ok"}


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **documented(400)},
    tags=["server"],
)
async def metrics(server: TheServer) -> Response:
    """Counts and times for Prometheus."""
    return Response(server.telemetry.text(), headers={"Content-Type": CONTENT_TYPE})


@router.get("/", include_in_schema=False)
async def page(request: Request, server: TheServer, cookie: TheCookie) -> Response:
    """The page."""
    path = static_folder() / PAGE
    if not path.is_file():
        raise Refused(404, "this installation has no page", next_step="use /v1, or install tumorseg again")
    response = FileResponse(path, media_type=_TYPES[".html"])
    set_cookie(request, response, cookie or server.sessions.issue())
    return response


@router.get("/static/{name:path}", include_in_schema=False)
async def static(request: Request, name: str) -> Response:
    """A file of the page."""
    folder = static_folder()
    # A name is looked up among the files that there are, so that no path is made of it.
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.suffix in _TYPES}
    path = files.get(name)
    if path is None:
        raise Refused(404, "there is no such file", next_step="open /")
    response = FileResponse(path, media_type=_TYPES[path.suffix], headers={"Cache-Control": _CACHED})
    response.set_stat_headers(path.stat())
    if request.headers.get("if-none-match") == response.headers.get("etag"):
        return Response(status_code=304, headers={"ETag": response.headers["etag"], "Cache-Control": _CACHED})
    return response
