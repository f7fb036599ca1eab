"""Errors as RFC 9457 has them: what is wrong and what to do, without a path, a name or a trace."""

import math
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from tumorseg.errors import ModelError, OutputError, TumorsegError

MEDIA_TYPE = "application/problem+json"
SEQUENCES = "urn:tumorseg:sequences"
_TOKEN = re.compile(r"[^\s'\";,:()=]+")
_PATH = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[/\\][^\s'\";,:)]+")


class Problem(BaseModel):
    """One error, for people and programs."""

    type: str = Field(
        default="about:blank",
        description="about:blank, where the status says what kind it is; or urn:tumorseg:sequences, where it must be "
        "said which sequence is which.",
    )
    title: str = Field(description="The status in words.")
    status: int = Field(ge=400, le=599)
    detail: str = Field(description="What is wrong, in one line.")
    next_step: str = Field(default="", description="What to do about it.")


class Refused(Exception):
    """A request, or a job, that cannot be answered.

    Args:
        status: of HTTP.
        detail: what is wrong; names no file and no path.
        next_step: what to do about it.
        retry_after: seconds after which it may succeed.
    """

    def __init__(self, status: int, detail: str, *, next_step: str = "", retry_after: float | None = None) -> None:
        self.problem = problem(status, detail, next_step)
        self.retry_after = retry_after
        super().__init__(detail)

    @property
    def headers(self) -> dict[str, str]:
        """What the answer's header says besides."""
        headers: dict[str, str] = {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
        if self.problem.status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        return headers


def problem(status: int, detail: str, next_step: str = "") -> Problem:
    """A problem whose title is the status in words."""
    unassigned = status == HTTPStatus.UNPROCESSABLE_ENTITY and "channels" in f"{detail} {next_step}"
    kind = SEQUENCES if unassigned else "about:blank"
    return Problem(type=kind, title=HTTPStatus(status).phrase, status=status, detail=detail, next_step=next_step)


def answer(found: Problem, headers: dict[str, str] | None = None) -> JSONResponse:
    """A problem as a response."""
    return JSONResponse(found.model_dump(), found.status, headers=headers, media_type=MEDIA_TYPE)


def of_error(error: TumorsegError, known: Mapping[str, str]) -> Problem:
    """What a person did wrong, as a problem.

    Args:
        error: that a room below raised; it names files by their paths.
        known: what to say in the place of each path.
    """
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    if isinstance(error, OutputError):
        status = HTTPStatus.SERVICE_UNAVAILABLE
    elif isinstance(error, ModelError):
        status = HTTPStatus.CONFLICT
    # The next step is kept behind what is wrong.
    step = str(error)[len(error.what) :].lstrip("; ")
    return problem(status, without_paths(error.what, known), without_paths(step, known))


def without_paths(text: str, known: Mapping[str, str]) -> str:
    """A message in which files have neutral names, and no path of this machine is left."""
    text = _TOKEN.sub(lambda found: known.get(found[0], found[0]), text)
    return " ".join(_PATH.sub("a file", text).split())


DETAILS: dict[int, str] = {
    400: "The request cannot be read, or its Host is none of this server's.",
    401: "The token is missing or wrong.",
    403: "A page of another site asked.",
    404: "There is no such thing in this session.",
    409: "It is not ready, or cannot be done with this scan.",
    410: "It is gone: the session was idle for too long.",
    413: "More than the server takes.",
    415: "The body is of another type than is due.",
    422: "What was sent cannot be used.",
    429: "Too much work is waiting; try again later.",
    503: "The server ends, or has no room.",
    504: "It took longer than the server allows.",
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` for these statuses."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        found[status] = {
            "description": DETAILS[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            seconds = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
            found[status]["headers"] = {"Retry-After": seconds}
    return found
