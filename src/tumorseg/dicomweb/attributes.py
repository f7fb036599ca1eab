"""Values out of the DICOM JSON model (PS3.18 Annex F), whatever else a server put there."""

import re
from collections.abc import Iterator
from typing import Any

from tumorseg.remote import readable

Entry = dict[str, Any]
"""One data set by tags of eight hexadecimal digits, such as 0020000D."""

_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_UID_LENGTH = 64


def is_uid(text: str) -> bool:
    """Whether a text is of the form of a DICOM UID, and so fit to stand in an address and in a file's name."""
    return len(text) <= _UID_LENGTH and _UID.fullmatch(text) is not None


def entries(answer: object) -> list[Entry]:
    """The data sets of an answer; some servers send one alone without a list around it."""
    listed = answer if isinstance(answer, list) else [answer]
    return [entry for entry in listed if isinstance(entry, dict)]


def text(entry: Entry, tag: str) -> str:
    """The first value of an attribute as one line; "" where it has none."""
    for value in _values(entry, tag):
        if isinstance(value, str | int | float):
            return readable(value)
    return ""


def uid(entry: Entry, tag: str) -> str:
    """The first value of an attribute where it is a UID; else ""."""
    found = text(entry, tag)
    return found if is_uid(found) else ""


def number(entry: Entry, tag: str) -> int | None:
    """The first value of an attribute as a whole number; None where it is none."""
    found = text(entry, tag)
    return int(found) if found.isascii() and found.isdigit() and len(found) < 10 else None


def items(entry: Entry, tag: str) -> Iterator[Entry]:
    """The items of a sequence."""
    for value in _values(entry, tag):
        if isinstance(value, dict):
            yield value


def _values(entry: Entry, tag: str) -> list[Any]:
    attribute = entry.get(tag)
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    return values if isinstance(values, list) else []
