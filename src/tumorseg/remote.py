"""A server at one address: asked with credentials, asked again while it is busy, never followed to another place.

httpx2 is what httpx is carried on as; Starlette and FastAPI rest on it too. It is not loaded before a server is asked.
"""

import json
import logging
import random
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urljoin, urlsplit

from tumorseg.address import Credentials, is_local, origin_of, usable
from tumorseg.answer import RETRIED, Broken, Patience, retry_after
from tumorseg.errors import MissingExtra, ServerError

if TYPE_CHECKING:
    from httpx2 import Client, Response

T = TypeVar("T")

logger = logging.getLogger(__name__)

ASKED_AGAIN = Patience(timeout=60.0, attempts=4, first_wait=1.0, longest_wait=120.0)
MOST_JSON_BYTES = 64 * 2**20
SLOWEST = 64.0
"""Bytes a second below which a connection counts as stalled."""

_MOST_REDIRECTS = 5
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_FINAL = frozenset((501, 505))
"""Answers from 500 up that another attempt will not change."""

_MOST_WORDS = 300


class Remote:
    """One server.

    Args:
        address: http:// or https://, with the path that all requests begin with.
        credentials: who asks.
        patience: how long it is waited for.
        option: how messages call what gave the address, such as --url.

    Raises:
        ServerError: no usable address, or one to which credentials would travel unprotected.
        MissingExtra: httpx2 is not installed.
    """

    def __init__(
        self,
        address: str,
        *,
        credentials: Credentials | None = None,
        patience: Patience = ASKED_AGAIN,
        option: str = "the address",
    ) -> None:
        self.credentials = credentials or Credentials()
        self.patience = patience
        self.option = option
        self.address = usable(address, option)
        self.origin = origin_of(self.address)
        self._refuse_open_road()
        self._client = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of its connections."""
        self._client.close()

    def patiently(self, attempt: Callable[[], T]) -> T:
        """What `attempt` gives, tried again while it raises Broken.

        Raises:
            ServerError: it was tried as often as `patience` allows.
        """
        tried = 0
        while True:
            try:
                return attempt()
            except Broken as error:
                tried += 1
                self._wait(error, tried)

    @contextmanager
    def asking(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int | list[str]] | None = None,
        headers: Mapping[str, str] | None = None,
        **body: Any,
    ) -> Iterator["Response"]:
        """One attempt; gives an answer below 300 whose body is still to come.

        Args:
            method: such as GET.
            path: below the address, such as /studies.
            params: of the query.
            headers: beside the credentials.
            body: as httpx2's `request` takes it.

        Raises:
            Broken: no answer, or one that says to try again.
            ServerError: an answer that another attempt will not change; its `status` tells which.
        """
        url = f"{self.address}{path}"
        for _ in range(_MOST_REDIRECTS + 1):
            with self._translated():
                request = self._client.build_request(method, url, params=params, headers=headers, **body)
                answer = self._client.send(request, stream=True)
            try:
                if answer.status_code not in _REDIRECTS:
                    self._refuse_bad(answer)
                    with self._translated():
                        yield answer
                    return
                url, params = self._followed(method, str(request.url), answer), None
            finally:
                answer.close()
        raise ServerError(f"{self.origin} leads round in circles", next_step=f"check {self.option}")

    def json(self, method: str, path: str, *, most: int = MOST_JSON_BYTES, **request: Any) -> Any:
        """What a JSON answer holds, None of an empty one; asked patiently.

        Raises:
            ServerError: see `asking`; or the answer is no JSON, or longer than `most` bytes.
        """
        return self.json_and_headers(method, path, most=most, **request)[0]

    def json_and_headers(
        self, method: str, path: str, *, most: int = MOST_JSON_BYTES, **request: Any
    ) -> tuple[Any, Mapping[str, str]]:
        """The same with the answer's headers."""
        return self.patiently(lambda: self._json(method, path, most, request))

    def parts(self, answer: "Response", *, most: int) -> Iterator[bytes]:
        """The bytes of an answer as they come.

        Raises:
            Broken: the connection broke off, or next to nothing comes over it.
            ServerError: there are more than `most`.
        """
        come, since, before = 0, time.monotonic(), 0
        with self._translated():
            for part in answer.iter_bytes():
                come += len(part)
                if come > most:
                    raise ServerError(
                        f"{self.origin} sends more than {most / 2**20:,.0f} MiB", next_step="ask for less at a time"
                    )
                yield part
                passed = time.monotonic() - since
                if passed > self.patience.timeout:
                    if come - before < SLOWEST * passed:
                        raise Broken(f"{self.origin} has all but stopped sending")
                    since, before = time.monotonic(), come

    def _json(self, method: str, path: str, most: int, request: dict[str, Any]) -> tuple[Any, Mapping[str, str]]:
        with self.asking(method, path, **request) as answer:
            content = b"".join(self.parts(answer, most=most))
            if not content.strip():
                return None, answer.headers
            try:
                return json.loads(content), answer.headers
            except (ValueError, RecursionError) as error:
                kind = readable(answer.headers.get("Content-Type", "")) or "something"
                raise ServerError(
                    f"{self.origin} answers with {kind} where JSON was asked for", next_step=f"check {self.option}"
                ) from error

    def _open(self) -> "Client":
        try:
            import httpx2
        except ModuleNotFoundError as error:
            raise MissingExtra("httpx2", extra="web") from error
        headers = {"User-Agent": "tumorseg", "Accept-Encoding": "identity"}
        if self.credentials.authorization:
            headers["Authorization"] = self.credentials.authorization
        return httpx2.Client(headers=headers, timeout=self.patience.timeout, follow_redirects=False)

    def _refuse_open_road(self) -> None:
        if urlsplit(self.address).scheme == "https" or is_local(self.address):
            return
        if self.credentials.authorization and not self.credentials.insecure:
            raise ServerError(
                f"{self.origin} is not protected: anyone on the way could read the credentials",
                next_step=f"give an address that begins with https://, or allow it with {self.credentials.allow}",
            )
        logger.warning("%s is not protected: anyone on the way can read the scans", self.origin)

    def _wait(self, error: Broken, tried: int) -> None:
        """Wait for the next attempt.

        Raises:
            ServerError: there is none.
        """
        if tried >= self.patience.attempts:
            times = f", {tried} times in a row" if tried > 1 else ""
            raise ServerError(f"{error}{times}", next_step=f"check {self.option}, or try again later") from error
        pause = error.wait
        if pause is None:
            pause = min(self.patience.first_wait * 2 ** (tried - 1), self.patience.longest_wait)
            pause *= random.uniform(0.5, 1)  # so that many who were turned away together do not come back together
        elif pause > self.patience.longest_wait:
            raise ServerError(f"{error} and asks to wait {pause:.0f} s", next_step="try again then") from error
        if pause:
            logger.info("%s; trying again in %.1f s", error, pause)
            time.sleep(pause)

    def _followed(self, method: str, asked: str, answer: "Response") -> str:
        """Where a redirect leads, if that is this server.

        Raises:
            ServerError: it leads elsewhere, or would change what is asked.
        """
        target = urljoin(asked, answer.headers.get("Location", ""))
        try:
            there = origin_of(target)
        except ValueError:
            there = ""
        if there != self.origin:
            named = f"to {readable(there)}" if there else "nowhere"
            raise ServerError(
                f"{self.origin} leads on {named}, which is not followed",
                next_step=f"check {self.option}" + (", or give that one if it is trusted" if there else ""),
                status=answer.status_code,
            )
        if method != "GET":
            raise ServerError(
                f"{self.origin} leads on to {readable(urlsplit(target).path)} where something is sent to it",
                next_step=f"check {self.option}",
                status=answer.status_code,
            )
        return target

    def _refuse_bad(self, answer: "Response") -> None:
        status = answer.status_code
        if status < 300:
            return
        said = self._said(answer)
        text = f"{self.origin} answers {status}" + (f" ({said[0]})" if said[0] else "")
        if status in RETRIED or (status >= 500 and status not in _FINAL):
            raise Broken(text, wait=retry_after(answer.headers.get("Retry-After", "")))
        if status in (401, 403):
            wants = "refuses these credentials" if self.credentials.authorization else "wants credentials"
            raise ServerError(f"{self.origin} {wants}", next_step=self.credentials.missing, status=status)
        raise ServerError(text, next_step=said[1] or f"check {self.option}", status=status)

    def _said(self, answer: "Response") -> tuple[str, str]:
        """What a server says is wrong and what to do, where it does so as problem details (RFC 9457)."""
        if answer.headers.get("Content-Type", "").partition(";")[0].strip() != "application/problem+json":
            return "", ""
        try:
            problem = json.loads(b"".join(self.parts(answer, most=2**20)))
        except (ValueError, RecursionError, Broken, ServerError):
            return "", ""
        if not isinstance(problem, dict):
            return "", ""
        return readable(problem.get("detail") or problem.get("title") or ""), readable(problem.get("next_step") or "")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Make Broken or ServerError of what httpx2 raises.

        Raises:
            Broken: the connection failed, and another may not.
            ServerError: nobody of that name can be reached, or not safely.
        """
        import httpx2

        try:
            yield
        except httpx2.TimeoutException as error:
            raise Broken(f"{self.origin} does not answer within {self.patience.timeout:g} s") from error
        except (httpx2.TransportError, httpx2.StreamError) as error:
            causes = list(_causes(error))
            if any(isinstance(cause, socket.gaierror) for cause in causes):
                raise ServerError(f"{self.origin}: no server of that name", next_step=f"check {self.option}") from error
            for cause in causes:
                if isinstance(cause, ssl.SSLCertVerificationError):
                    raise ServerError(
                        f"{self.origin}: its certificate is not trusted ({readable(cause.verify_message)})",
                        next_step="have its authority installed, or name that in the variable SSL_CERT_FILE",
                    ) from error
            raise Broken(f"{self.origin} cannot be reached ({readable(str(error)) or 'no answer'})") from error
        except (httpx2.InvalidURL, httpx2.DecodingError) as error:
            raise ServerError(f"{self.origin}: {readable(str(error))}", next_step=f"check {self.option}") from error


def readable(text: object) -> str:
    """What a server said, as one short line without control characters."""
    words = " ".join("".join(sign if sign.isprintable() else " " for sign in str(text)).split())
    return words if len(words) <= _MOST_WORDS else words[: _MOST_WORDS - 1] + "…"


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
