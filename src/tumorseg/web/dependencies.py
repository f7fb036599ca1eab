"""What routes need of a request: the server, the cookie, the job."""

from typing import Annotated

from fastapi import Depends, Path, Request

from tumorseg.web.jobs import Job
from tumorseg.web.server import Server
from tumorseg.web.sessions import COOKIE


def server_of(request: Request) -> Server:
    """The server that answers."""
    server: Server = request.app.state.server
    return server


def cookie_of(request: Request) -> str:
    """The cookie of the request, where this server issued it; else ""."""
    cookie = request.cookies.get(COOKIE, "")
    return cookie if server_of(request).sessions.is_ours(cookie) else ""


def job_of(request: Request, identity: Annotated[str, Path(alias="id", max_length=64)]) -> Job:
    """The job that the address names, where it is of the cookie's session.

    Raises:
        Refused: it is not.
    """
    return server_of(request).sessions.job(cookie_of(request), identity)


TheServer = Annotated[Server, Depends(server_of)]
TheCookie = Annotated[str, Depends(cookie_of)]
TheJob = Annotated[Job, Depends(job_of)]
