"""Asking a web server for a file, or for the rest of one, and reading what its answer promises."""

import base64
import binascii
import email.utils
import http.client
import re
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, Any, cast

from tumorseg.errors import DownloadError

RETRIED = frozenset((408, 425, 429))
"""Answers below 500 that say: not now."""

_RANGE = re.compile(r"bytes (?P<first>\d+)-\d+/(?P<size>\d+)")


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for.

    Attributes:
        timeout: seconds without a byte after which a connection is given up.
        attempts: how many in a row may fail.
        first_wait: seconds before the second attempt; doubled before each further one.
        longest_wait: the most seconds before any.
    """

    timeout: float = 30.0
    attempts: int = 8
    first_wait: float = 0.5
    longest_wait: float = 120.0


MANY = Patience()


@dataclass(frozen=True)
class RemoteFile:
    """A file on the web.

    Attributes:
        address: http:// or https://.
        size: in bytes, where it is known beforehand.
        md5: in hexadecimal; "" where it is not known.
        authorization: the header of this name, sent to the address's own host and to no other.
    """

    address: str
    size: int | None = None
    md5: str = ""
    authorization: str = field(default="", repr=False)


class Broken(Exception):
    """An attempt failed and another may not.

    Args:
        reason: what happened, for people.
        wait: seconds that the server asks to wait; None where it does not say.
    """

    def __init__(self, reason: str, *, wait: float | None = None) -> None:
        self.wait = wait
        super().__init__(reason)


@dataclass(frozen=True)
class Kept:
    """What has come of a file.

    Attributes:
        offset: bytes that are here.
        size: of the whole file; None where the server did not say.
        validator: the server's name for this state of the file (RFC 9110, 8.8): a strong ETag or a date.
        md5: in hexadecimal, where the server told it.
    """

    offset: int = 0
    size: int | None = None
    validator: str = ""
    md5: str = ""

    @classmethod
    def of(cls, answer: http.client.HTTPResponse) -> "Kept":
        """What an answer says of the file that it begins to send."""
        return cls(0, measured(answer), _validator(answer), _md5(answer))

    @classmethod
    def from_json(cls, value: Any, remote: RemoteFile) -> "Kept":
        """What `as_json` gave.

        Raises:
            ValueError, TypeError: it is of another file, or no such thing.
        """
        if not isinstance(value, dict) or value.pop("address", None) != remote.address:
            raise ValueError("another file")
        return cls(0, **value)

    def as_json(self, remote: RemoteFile) -> dict[str, Any]:
        """For the note beside the bytes that have come."""
        return {"address": remote.address, "size": self.size, "validator": self.validator, "md5": self.md5}

    def goes_on_with(self, answer: http.client.HTTPResponse) -> bool:
        """Whether a partial answer begins where these bytes end, and is of the same file."""
        found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if found is None or int(found["first"]) != self.offset or int(found["size"]) != self.size:
            return False
        return _validator(answer) in (self.validator, "")


def ask(remote: RemoteFile, kept: Kept, patience: Patience, *, last: int | None = None) -> http.client.HTTPResponse:
    """Ask for a file, from where the kept bytes end to its end, or to byte `last`.

    The answer may hold the whole file although a part was asked for; its `status` tells.

    Raises:
        Broken: no answer, or one that says to try again.
        DownloadError: an answer that another attempt will not change.
    """
    _refuse_other_schemes(remote.address)
    request = urllib.request.Request(remote.address, headers={"User-Agent": "tumorseg"})
    if remote.authorization:
        request.add_unredirected_header("Authorization", remote.authorization)
    if kept.offset or last is not None:
        request.add_header("Range", f"bytes={kept.offset}-{'' if last is None else last}")
        if kept.validator:
            request.add_header("If-Range", kept.validator)
    try:
        answer = cast(
            http.client.HTTPResponse,
            urllib.request.build_opener(_Redirects()).open(request, timeout=patience.timeout),
        )
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and kept.offset:
                return ask(remote, Kept(), patience)
            raise _refusal(error) from None
    except (OSError, http.client.HTTPException) as error:
        raise gone(error) from error
    problem = _unusable(answer)
    if problem:
        answer.close()
        raise problem
    return answer


def measured(answer: http.client.HTTPResponse) -> int | None:
    """Bytes of the whole file that an answer promises, also where it holds a part of it."""
    if answer.status == http.client.PARTIAL_CONTENT:
        found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        return int(found["size"]) if found else None
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdigit() else None


def gone(error: OSError | http.client.HTTPException) -> Broken:
    """A lost connection, in words.

    Raises:
        DownloadError: nobody of that name can be reached, or not safely.
    """
    cause: BaseException = error
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, BaseException):
        cause = error.reason
    if isinstance(cause, socket.gaierror):
        raise DownloadError("the server's name cannot be found", next_step="check the network") from error
    if isinstance(cause, ssl.SSLCertVerificationError):
        text = f"the server's certificate is not trusted ({cause.verify_message})"
        raise DownloadError(text, next_step="check the network and the clock") from error
    if isinstance(cause, TimeoutError):
        return Broken("the server does not answer")
    if isinstance(cause, http.client.IncompleteRead):
        return Broken("the connection broke off")
    text = (cause.strerror if isinstance(cause, OSError) else None) or str(cause) or type(cause).__name__
    return Broken(f"the connection failed ({' '.join(text.split())[:120]})")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to other hosts without the authorization, and never from a safe connection to an open one."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        _refuse_other_schemes(newurl)
        before, after = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        if before.scheme == "https" and after.scheme != "https":
            raise DownloadError("the server leads on to an unprotected address", next_step="try another address")
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        authorization = req.unredirected_hdrs.get("Authorization")
        if following is not None and authorization and (before.scheme, before.netloc) == (after.scheme, after.netloc):
            following.add_unredirected_header("Authorization", authorization)
        return following


def _refuse_other_schemes(address: str) -> None:
    # An address that a server chooses must not lead to a local file.
    try:
        parts = urllib.parse.urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        raise DownloadError("that is no address of the web", next_step="give one that begins with https://")
    if parts.username is not None:
        raise DownloadError("an address with a user name in it is not taken", next_step="leave the name out")


def _refusal(error: urllib.error.HTTPError) -> Broken | DownloadError:
    text = f"the server answers {error.code}"
    if error.code in RETRIED or error.code >= 500:
        return Broken(text, wait=retry_after(error.headers.get("Retry-After", "")))
    return DownloadError(text, next_step="check the address", status=error.code)


def retry_after(value: str) -> float | None:
    """Seconds that the server asks for (RFC 9110, 10.2.3)."""
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max((email.utils.parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds(), 0)
    except (ValueError, TypeError):
        return None


def _unusable(answer: http.client.HTTPResponse) -> Exception | None:
    if answer.headers.get_content_type() == "text/html":
        return DownloadError("the server answers with a web page, perhaps a login", next_step="check the address")
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        return DownloadError("the server sends the file in an encoding that nobody asked for", next_step="try later")
    if answer.status not in (http.client.OK, http.client.PARTIAL_CONTENT):
        return Broken(f"the server answers {answer.status}")
    return None


def _validator(answer: http.client.HTTPResponse) -> str:
    """What If-Range may name: a strong ETag, else the date of the last change."""
    tag: str = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")


def _md5(answer: http.client.HTTPResponse) -> str:
    """The MD5 that Google's storage sends along (x-goog-hash), in hexadecimal."""
    for value in answer.headers.get_all("x-goog-hash", []):
        for part in value.split(","):
            name, _, encoded = part.strip().partition("=")
            if name == "md5":
                try:
                    return base64.b64decode(encoded, validate=True).hex()
                except binascii.Error:
                    return ""
    return ""
