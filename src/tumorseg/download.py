"""A file from the web: resumed where it broke off, given up where nothing comes, whole or not there."""

import hashlib
import http.client
import json
import logging
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from tumorseg.answer import MANY, Broken, Kept, Patience, RemoteFile, ask, gone, measured
from tumorseg.errors import DownloadError
from tumorseg.files import unwritable, write_json

logger = logging.getLogger(__name__)

CHUNK = 2**18
FRUITFUL = 2**20
"""New bytes for which an attempt that broke off does not count as one that failed."""

SLOWEST = 64.0
"""Bytes a second below which a connection counts as stalled."""


def download(remote: RemoteFile, path: Path, *, patience: Patience = MANY) -> None:
    """Bring a file to `path`; see `receive`."""
    for _ in receive(remote, path, patience=patience):
        pass


def receive(remote: RemoteFile, path: Path, *, patience: Patience = MANY) -> Iterator[int]:
    """Bring a file to `path` and yield how many new bytes have come, as they come.

    What has come lies in `<name>.partial`, and what the server calls it in `<name>.partial.json`, until the file is
    whole; a later call goes on from there where the server still has the same file. The file is compared with the
    size and the MD5 that are known of it; where they differ it is downloaded once more.

    Args:
        remote: what to bring.
        path: where to; its folder exists.
        patience: how long to wait, and how often to try.

    Raises:
        DownloadError: it cannot be had; what has come is kept for the next call.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    most = kept_bytes(remote, path)
    trials, spoilt = _Trials(remote, patience), False
    while True:
        before = most
        try:
            for reached in _attempt(remote, path, patience):
                if reached > most:
                    yield reached - most
                    most = reached
        except Broken as error:
            trials.failed(error, fruitful=most - before >= FRUITFUL)
            continue
        problem = _unlike(remote, path)
        if not problem:
            break
        discard(path)
        if spoilt:
            raise DownloadError(f"{problem}, twice", next_step="try again later")
        logger.warning("%s: %s; downloading it once more", path.name, problem)
        spoilt = True
    try:
        with open(partial_of(path), "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial_of(path), path)
    except OSError as error:
        raise unwritable(path, error) from error
    discard(path)


def probe(remote: RemoteFile, *, patience: Patience = MANY) -> RemoteFile:
    """The same file with its size, where the server tells it.

    Raises:
        DownloadError: the server does not have it, or does not answer.
    """
    trials = _Trials(remote, patience)
    while True:
        try:
            with ask(remote, Kept(), patience, last=0) as answer:
                return replace(remote, size=measured(answer))
        except Broken as error:
            trials.failed(error, fruitful=False)
        except (OSError, http.client.HTTPException) as error:
            trials.failed(gone(error), fruitful=False)


def kept_bytes(remote: RemoteFile, path: Path) -> int:
    """How much of the file has come in earlier calls and can be gone on from."""
    return _kept(remote, path).offset


def partial_of(path: Path) -> Path:
    """Where the bytes lie that have come so far."""
    return path.with_name(f"{path.name}.partial")


def discard(path: Path) -> None:
    """Delete what has come so far of the file at `path`, and what is known of it."""
    partial_of(path).unlink(missing_ok=True)
    _note_of(path).unlink(missing_ok=True)


@dataclass
class _Trials:
    """Counts attempts that brought nothing, and waits between them."""

    remote: RemoteFile
    patience: Patience
    fruitless: int = field(default=0)

    def failed(self, error: Broken, *, fruitful: bool) -> None:
        """Wait for the next attempt.

        Raises:
            DownloadError: there is none.
        """
        self.fruitless = 0 if fruitful else self.fruitless + 1
        reason = str(error)
        if self.fruitless >= self.patience.attempts:
            times = f", {self.fruitless} times in a row" if self.fruitless > 1 else ""
            raise DownloadError(f"{reason}{times}", next_step="try again later") from error
        if error.wait is None:
            pause = min(self.patience.first_wait * 2 ** max(self.fruitless - 1, 0), self.patience.longest_wait)
            pause *= random.uniform(0.5, 1)  # so that many who were cut off together do not come back together
        elif error.wait > self.patience.longest_wait:
            raise DownloadError(f"{reason} and asks to wait {error.wait:.0f} s", next_step="try again then") from error
        else:
            pause = error.wait
        if pause:
            logger.info("%s; trying again in %.1f s", reason, pause)
            time.sleep(pause)


def _attempt(remote: RemoteFile, path: Path, patience: Patience) -> Iterator[int]:
    """One connection; yields how many bytes of the file lie here, and ends when all do."""
    kept = _kept(remote, path)
    if kept.offset and kept.offset == kept.size:
        return
    with ask(remote, kept, patience) as answer:
        total = measured(answer)
        if remote.size is not None and total is not None and total != remote.size:
            raise Broken(f"the server offers {total:,} bytes where {remote.size:,} were promised")
        resumed = answer.status == http.client.PARTIAL_CONTENT
        if resumed and not kept.goes_on_with(answer):
            discard(path)
            raise Broken("the file has changed on the server", wait=0)
        reached = kept.offset if resumed else 0
        try:
            file = open(partial_of(path), "ab" if resumed else "wb")  # noqa: SIM115 - closed below
        except OSError as error:
            raise unwritable(path, error) from error
        with file:
            if not resumed:
                write_json(_note_of(path), Kept.of(answer).as_json(remote))
            for chunk in _chunks(answer, patience):
                _write(file, chunk, path)
                reached += len(chunk)
                yield reached
        if total is not None and reached != total:
            raise Broken(f"the connection broke off after {reached:,} of {total:,} bytes")


def _chunks(answer: http.client.HTTPResponse, patience: Patience) -> Iterator[bytes]:
    """What comes, as it comes; a connection over which next to nothing comes is given up."""
    since, come = time.monotonic(), 0
    while True:
        try:
            chunk = answer.read1(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise gone(error) from error
        if not chunk:
            return
        yield chunk
        come += len(chunk)
        passed = time.monotonic() - since
        if passed > patience.timeout:
            if come < SLOWEST * passed:
                raise Broken("the server has all but stopped sending")
            since, come = time.monotonic(), 0


def _write(file: IO[bytes], chunk: bytes, path: Path) -> None:
    try:
        file.write(chunk)
        file.flush()
    except OSError as error:
        raise unwritable(path, error) from error


def _unlike(remote: RemoteFile, path: Path) -> str:
    """How what has come differs from what was promised; "" where it does not."""
    size = partial_of(path).stat().st_size
    if remote.size is not None and size != remote.size:
        return f"{size:,} bytes came where {remote.size:,} were promised"
    promised = remote.md5 or _kept(remote, path).md5
    if promised:
        with open(partial_of(path), "rb") as file:
            if hashlib.file_digest(file, "md5").hexdigest() != promised:
                return "its MD5 is not the published one"
    return ""


def _note_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial.json")


def _kept(remote: RemoteFile, path: Path) -> Kept:
    """What has come earlier and may be gone on from; nothing where it cannot be told what it is a part of."""
    try:
        kept = Kept.from_json(json.loads(_note_of(path).read_text(encoding="utf-8")), remote)
        offset = partial_of(path).stat().st_size
    except (OSError, ValueError, TypeError):
        return Kept()
    if not kept.validator and not remote.md5:
        return Kept()
    return replace(kept, offset=offset)
