"""The application: every address, and problems in the place of errors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import compile_path

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
        title="tumorseg",
        version=__version__,
        description=_ABOUT,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: f"{route.endpoint.__module__.rpartition('.')[2]}_{route.name}",
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
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods(request.app, request.url.path))
    return answer(found, headers)


def _methods(app: FastAPI, path: str) -> list[str]:
    """What may be done with an address; the router itself names the methods of the first route that fits alone."""
    described: dict[str, Any] = app.openapi()["paths"]
    fitting = [operations for place, operations in described.items() if compile_path(place)[0].match(path)]
    return sorted({method.upper() for operations in fitting for method in operations}) or ["GET"]


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
        _link(found)
        _name_models(found, list(app.state.server.models))
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


def _name_models(found: dict[str, Any], names: list[str]) -> None:
    """Say which models this server has."""
    begin = found["paths"]["/v1/segmentations"]["post"]
    begin["requestBody"] = deepcopy(begin["requestBody"])
    properties = begin["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    properties["model"] |= {"enum": names, "examples": names[:1]}


def _link(found: dict[str, Any]) -> None:
    """Say what of an answer leads to which other operation, for people and programs that follow."""
    by_job: dict[str, Any] = {}
    for path, operations in found["paths"].items():
        if path.startswith("/v1/segmentations/{id}"):
            scan = {"k": 1} if "{k}" in path else {}
            for operation in operations.values():
                name = operation["operationId"]
                by_job[name] = {"operationId": name, "parameters": {"id": "$response.body#/id", **scan}}
    for path in ("/v1/segmentations", "/v1/examples/{name}"):
        for status in ("201", "202"):
            found["paths"][path]["post"]["responses"][status]["links"] = by_job
    card = found["paths"]["/v1/models/{name}/card"]["get"]["operationId"]
    found["paths"]["/v1/models"]["get"]["responses"]["200"]["links"] = {
        "card": {"operationId": card, "parameters": {"name": "$response.body#/models/0/name"}}
    }
