"""What every request passes before it is answered: the host it names, whose page sent it, the token; and the headers
that every answer carries."""

import hmac
import ipaddress
import logging
import time
import traceback
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tumorseg.web.problems import Refused, answer, problem
from tumorseg.web.settings import ServeSettings
from tumorseg.web.telemetry import Telemetry

logger = logging.getLogger(__name__)

API = "/v1/"
LOCAL = ("localhost", "127.0.0.1", "::1")
_EVERYWHERE = ("0.0.0.0", "::", "")
_SAFE = ("GET", "HEAD", "OPTIONS")

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """ASGI middleware around the whole application; nothing that is raised within leaves it.

    Args:
        app: the application.
        settings: whom it answers.
        telemetry: counts what it answered.
    """

    def __init__(self, app: ASGIApp, settings: ServeSettings, telemetry: Telemetry) -> None:
        self._app = app
        self._settings = settings
        self._telemetry = telemetry
        self._token = settings.token.get_secret_value().encode() if settings.token else b""
        self._names = {name.lower() for name in (*LOCAL, settings.host, *settings.allow_hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.monotonic(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(scope, message)
            await send(message)

        try:
            self._refuse(scope)
            await self._app(scope, receive, sending)
        except Refused as error:
            await answer(error.problem, error.headers)(scope, receive, sending)
        except ClientDisconnect:
            logger.debug("a client left before its answer was sent")
        except Exception as error:
            _log_bug(error)
            if not status:
                found = problem(500, "this is a bug of the server", "report it to whoever runs it")
                await answer(found)(scope, receive, sending)
        finally:
            self._telemetry.answered(scope, status, time.monotonic() - started)

    def _refuse(self, scope: Scope) -> None:
        """Raise Refused where a request is not to be answered."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._knows(host):
            raise Refused(
                400, "this server does not go by that name", next_step="start it with --allow-host NAME, or use its own"
            )
        if scope["method"] not in _SAFE and _is_foreign(headers, host):
            raise Refused(403, "a page of another site asked for this", next_step="open this server's own page")
        if self._token and (scope["path"].startswith(API) or scope["path"] == API.rstrip("/")):
            kind, _, given = headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._token):
                raise Refused(401, "the token is missing or wrong", next_step="send Authorization: Bearer TOKEN")

    def _knows(self, host: str) -> bool:
        name = _name_of(host)
        if name in self._names:
            return True
        # A page elsewhere can lead a name of its own to this machine, but not an address.
        return self._settings.host in _EVERYWHERE and _is_address(name)


def _name_of(host: str) -> str:
    """The name in a Host header, without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_foreign(headers: Headers, host: str) -> bool:
    """Whether a browser says that a page of another site sent this; programs say nothing of the kind."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2].lower() != host.lower()


def _add_headers(scope: Scope, message: Message) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    if not scope["path"].startswith("/static/"):
        headers.setdefault("Cache-Control", "no-store")
    if "server" in headers:
        del headers["server"]


def _log_bug(error: BaseException) -> None:
    """Where an exception came from; its text may hold a name and is not written."""
    frames: Any = traceback.extract_tb(error.__traceback__)
    where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames[-8:]))
    logger.error("a request failed with %s at %s", type(error).__name__, where)
