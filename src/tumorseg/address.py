"""Where a server is, and who asks it: addresses that can be used, and credentials that stay with them."""

import base64
import ipaddress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tumorseg.errors import ServerError


@dataclass(frozen=True)
class Credentials:
    """What says who asks; sent to the one server and to no other.

    Attributes:
        authorization: the header of this name; "" asks as nobody.
        missing: what to do where a server wants others, as an imperative sentence.
        insecure: send them over unprotected connections to other machines too.
        allow: what makes that so, for the message that says it is not.
    """

    authorization: str = field(default="", repr=False)
    missing: str = "check the credentials"
    insecure: bool = False
    allow: str = "insecure=True"


def bearer(token: str) -> str:
    """The header for a token.

    Raises:
        ServerError: it holds what no token can.
    """
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ServerError("the token is empty, or holds spaces or signs that no token has", next_step="check it")
    return f"Bearer {token}"


def basic(user: str, password: str) -> str:
    """The header for a user name and a password (RFC 7617).

    Raises:
        ServerError: the name holds a colon, or either a control character.
    """
    if not user or ":" in user or not (user + password).isprintable():
        raise ServerError(
            "the user name is empty or holds a colon, or one of the two a control character",
            next_step="check the user name and the password",
        )
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def origin_of(address: str) -> str:
    """Scheme, host and port (RFC 6454), the port where it is not the usual one.

    Raises:
        ValueError: the address has none of these.
    """
    parts = urlsplit(address)
    host, port = parts.hostname, parts.port
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("no address of the web")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (
        f":{port}" if port not in (None, {"http": 80, "https": 443}[parts.scheme]) else ""
    )


def is_local(address: str) -> bool:
    """Whether an address is this machine's own, by its name or number alone."""
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def usable(address: str, option: str) -> str:
    """An address that paths can be put behind.

    Args:
        address: as a person gave it.
        option: how messages call what gave it; they do not repeat it, since a password may be in it.

    Raises:
        ServerError: none of the web, or one with a user name, a question or a fragment in it.
    """
    try:
        parts = urlsplit(address)
        origin_of(address)
        port = parts.port
    except ValueError:
        port = 0
    if port == 0 or not address.isprintable() or " " in address:
        raise ServerError(f"{option} is no address of the web", next_step="give one such as https://host/path")
    if parts.username is not None:
        raise ServerError(f"{option} holds a user name", next_step="leave it out, and give credentials beside it")
    if parts.query or parts.fragment:
        raise ServerError(f"{option} holds a ? or a #", next_step="give the address alone")
    return address.rstrip("/")
