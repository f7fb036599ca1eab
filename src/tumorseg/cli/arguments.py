"""The two habits of people's command lines that the parser does not know."""

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from tumorseg.errors import TrainingError

VARIADIC = ("--set", "--channels")
"""Options that take several key=value words at once."""

GLOBAL = ("-v", "--verbose", "-q", "--quiet")
"""Flags that may stand anywhere."""

_PAIR = re.compile(r"[A-Za-z][\w.-]*=")


def expand(arguments: Sequence[str]) -> list[str]:
    """Rewrite a command line for the parser.

    `--set a=1 b=2` becomes `--set a=1 --set b=2`: words of the form key=value that follow the option belong to
    it, up to the first that is none. `-v` and `-q` move to the front, where the parser looks for them. What
    follows `--` stays as it is.
    """
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)
    ours, rest = words[:end], words[end:]
    return [*_flags(ours), *_repeated(word for word in ours if word not in GLOBAL), *rest]


def read_devices(text: str) -> int | Literal["auto"]:
    """What --devices says.

    Raises:
        TrainingError: neither a number from 1 up nor auto.
    """
    if text == "auto":
        return "auto"
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise TrainingError(f"--devices {text}: not a number of devices", next_step="give a number from 1 up, or auto")


def _flags(words: Iterable[str]) -> list[str]:
    return [word for word in words if word in GLOBAL]


def _repeated(words: Iterable[str]) -> list[str]:
    result: list[str] = []
    option, first = "", False
    for word in words:
        name, equals, _ = word.partition("=")
        if name in VARIADIC:
            option, first = name, not equals
            result.append(word)
        elif first:
            first = False
            result.append(word)
        elif option and _PAIR.match(word):
            result += [option, word]
        else:
            option = ""
            result.append(word)
    return result
