"""The application: every address, and problems in the place of errors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.responses import Response

from tumorseg import __version__
from tumorseg.web import offers, scans, segmentations
from tumorseg.web.guard import Guard
from tumorseg.web.problems import Problem, Refused, answer, problem
from tumorseg.web.server import Server
from tumorseg.web.settings import ServeSettings

_ABOUT = """Outlines brain tumours on MRI. Research use only; not a medical device.

Uploads and answers belong to the session of a cookie, which the first POST sets, and go after some idle minutes."""

_STEPS = {404: "see /openapi.json for what there is", 405: "use a method that the header Allow names"}


def create_app(settings: ServeSettings) -> FastAPI:
    """Make the application; its workers start with it and its folder goes with it.

    Raises:
        ModelError: a model that is to be offered is none.
        OutputError: the private folder cannot be made.
    """
    server = Server(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await server.start()
        try:
            yield
        finally:
            await server.stop()

    app = FastAPI(
        title="tumorseg", version=__version__, description=_ABOUT, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.server = server
    app.include_router(segmentations.router)
    app.include_router(scans.router)
    app.include_router(offers.router)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_middleware(Guard, settings=settings, telemetry=server.telemetry)
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    return app


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return answer(error.problem, error.headers)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: "there is no such address", 405: "this address does not do that"}
    found = problem(error.status_code, words.get(error.status_code, "this cannot be answered"))
    found.next_step = _STEPS.get(error.status_code, "")
    return answer(found, dict(error.headers or {}))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first: dict[str, Any] = error.errors()[0]
    # What was sent is not repeated: it may be anything.
    where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    return answer(problem(422, f"{where}: {first['msg'].lower()}", "see /openapi.json for what is due"))


def _described(app: FastAPI) -> dict[str, Any]:
    """OpenAPI, with the type of problems, and without FastAPI's own type of validation errors."""
    if app.openapi_schema is None:
        found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = found["components"]["schemas"]
        schemas["Problem"] = Problem.model_json_schema()
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        server: Server = app.state.server
        if server.settings.token is not None:
            found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            for path, operations in found["paths"].items():
                if path.startswith("/v1/"):
                    for operation in operations.values():
                        operation["security"] = [{"token": []}]
        app.openapi_schema = found
    return app.openapi_schema
