"""Receiving an upload: streamed to numbered files in a private folder, counted byte by byte, never held in memory."""

import asyncio
import errno
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect, Request

from tumorseg.web.problems import Refused
from tumorseg.web.settings import MIB, ServeSettings

FORM = "multipart/form-data"
_FIELD_BYTES = 64 * 1024
_INLINE_BYTES = MIB
_DRAINED_BYTES = 16 * MIB
_DRAINED_SECONDS = 5.0


@dataclass
class Received:
    """What a form held.

    Attributes:
        files: (name as sent, path) of the parts that are files, by the part's name.
        fields: the other parts; what came several times is one text of several lines.
        bytes: of all files.
    """

    files: dict[str, list[tuple[str, Path]]] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)
    bytes: int = 0


class _Form:
    """Takes what the parser finds in a chunk; what is to be written waits in `pending`."""

    def __init__(self, folder: Path, known: Mapping[str, bool], most_files: int) -> None:
        self._folder = folder
        self._known = known
        self._most_files = most_files
        self.received = Received()
        self.pending: list[tuple[IO[bytes], bytes]] = []
        self.file: IO[bytes] | None = None
        self._files = 0
        self._text_bytes = 0
        self.finished = False

    def on_part_begin(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._name, self._value = b"", b""
        self._part, self._text = "", b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name, self._value = b"", b""

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._part = options.get(b"name", b"").decode("utf-8", "replace")
        if self._part not in self._known:
            names = ", ".join(self._known)
            raise Refused(422, "the form has a part that is not known", next_step=f"send the parts {names} alone")
        is_file = self._known[self._part]
        if is_file:
            self._files += 1
            if self._files > self._most_files:
                raise Refused(413, f"there are more than {self._most_files:,} files", next_step="send fewer at once")
            name = options.get(b"filename", b"").decode("utf-8", "replace")
            path = self._folder / f"{self._files:06}"
            self.file = open(path, "xb")  # noqa: SIM115 - closed when its part ends
            self.received.files.setdefault(self._part, []).append((name, path))

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self.file is not None:
            self.pending.append((self.file, data[start:end]))
            self.received.bytes += end - start
            return
        self._text_bytes += end - start
        if self._text_bytes > _FIELD_BYTES:
            raise Refused(413, "a field of the form is too long", next_step="send less in it")
        self._text += data[start:end]

    def on_part_end(self) -> None:
        if self.file is not None:
            self.flush()
            self.file.close()
            self.file = None
        else:
            text = self._text.decode("utf-8", "replace")
            said = self.received.fields
            said[self._part] = f"{said[self._part]}\n{text}" if self._part in said else text

    def on_end(self) -> None:
        self.finished = True

    def flush(self) -> None:
        for file, part in self.pending:
            file.write(part)
        self.pending.clear()


async def receive(
    request: Request, folder: Path, settings: ServeSettings, known: Mapping[str, bool], *, room: int
) -> Received:
    """Receive a form into `folder`, which is there and empty.

    Args:
        request: whose body is read.
        folder: private.
        settings: the limits.
        known: the parts that a form may have, and whether each is a file.
        room: bytes that the server can still keep.

    Raises:
        Refused: no such form, broken, larger than allowed, or too slow.
    """
    kind, options = parse_options_header(request.headers.get("content-type", "").encode())
    if kind != FORM.encode():
        raise Refused(415, f"the body is not {FORM}", next_step=f"send the file as {FORM}, in the part 'file'")
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= 256:
        raise Refused(400, "the form names no boundary", next_step="let your program's library write the form")
    form = _Form(folder, known, settings.max_files)
    names = ("part_begin", "header_field", "header_value", "header_end", "headers_finished", "part_data", "part_end")
    callbacks = {f"on_{name}": getattr(form, f"on_{name}") for name in (*names, "end")}
    most = min(settings.max_upload_bytes, max(room, 0))
    refuse_announced(request, settings, room)
    try:
        parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]
        async for chunk in _chunks(request, settings):
            parser.write(chunk)
            if form.received.bytes > most:
                raise too_large(settings, room)
            if sum(len(part) for _, part in form.pending) > _INLINE_BYTES:
                await asyncio.to_thread(form.flush)
            else:
                form.flush()
        parser.finalize()
        if not form.finished:
            raise Refused(400, "the form is cut off", next_step="send it again")
    except FormParserError as error:
        raise Refused(400, "the form is broken", next_step="let your program's library write it") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Refused(503, "the server's disk is full", next_step="try again later", retry_after=60) from error
        raise
    finally:
        if form.file is not None:
            form.file.close()
    return form.received


async def receive_raw(request: Request, path: Path, settings: ServeSettings, size: int) -> None:
    """Receive a body of exactly `size` bytes into a file.

    Raises:
        Refused: it is of another size, or too slow.
    """
    announced = request.headers.get("content-length", "")
    wrong = Refused(422, f"the body must be {size:,} bytes", next_step="send (slices, height, width) as uint8")
    if announced.isdigit() and int(announced) != size:
        raise wrong
    count = 0
    with open(path, "wb") as file:
        async for chunk in _chunks(request, settings):
            count += len(chunk)
            if count > size:
                raise wrong
            file.write(chunk)
    if count != size:
        raise wrong


async def drain(request: Request) -> None:
    """Read what is left of a small body, so that a client that is refused hears the answer and not a broken line."""
    count, until = 0, time.monotonic() + _DRAINED_SECONDS
    try:
        async with asyncio.timeout(_DRAINED_SECONDS):
            async for chunk in request.stream():
                count += len(chunk)
                if count > _DRAINED_BYTES or time.monotonic() > until:
                    return
    except (TimeoutError, ClientDisconnect, RuntimeError):
        return


def refuse_announced(request: Request, settings: ServeSettings, room: int) -> None:
    """Raise Refused where the length that a request announces is more than is taken."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > min(settings.max_upload_bytes, max(room, 0)) + _FIELD_BYTES:
        raise too_large(settings, room)


def too_large(settings: ServeSettings, room: int) -> Refused:
    """The refusal of what is more than the server takes, at all or now."""
    if room < settings.max_upload_bytes:
        return Refused(503, "the server has no room for this now", next_step="try again later", retry_after=60)
    mib = settings.max_upload_bytes / MIB
    return Refused(413, f"this is more than the {mib:,.0f} MiB that the server takes", next_step="send fewer files")


class _chunks:  # noqa: N801 - iterated over as a function's result
    """The parts of a body; one that stalls, or takes too long as a whole, is refused."""

    def __init__(self, request: Request, settings: ServeSettings) -> None:
        self._stream = request.stream()
        self._idle = settings.max_idle_upload_seconds
        self._end = time.monotonic() + settings.max_seconds

    def __aiter__(self) -> "_chunks":
        return self

    async def __anext__(self) -> bytes:
        left = min(self._idle, self._end - time.monotonic())
        try:
            return await asyncio.wait_for(anext(self._stream), max(left, 0.001))
        except TimeoutError:
            raise Refused(504, "the upload stalled", next_step="send it again") from None
        except ClientDisconnect:
            raise Refused(400, "the upload broke off", next_step="send it again") from None
