"""The parts of a multipart/related answer (RFC 2387), each written to a file as it comes."""

import email.message
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from tumorseg.answer import Broken
from tumorseg.errors import MissingExtra, ServerError

_MOST_PREAMBLE = 2**16


def boundary_of(content_type: str) -> bytes | None:
    """What stands between the parts; None where the answer is no multipart.

    Raises:
        ServerError: a multipart that does not say what stands between its parts.
    """
    header = email.message.Message()
    header["Content-Type"] = content_type
    if header.get_content_maintype() != "multipart":
        return None
    boundary = header.get_param("boundary")
    if not isinstance(boundary, str) or not 0 < len(boundary) <= 70 or not boundary.isascii():
        raise ServerError("the server sends a multipart without a boundary", next_step="report it to who runs it")
    return boundary.encode("ascii")


def write_parts(chunks: Iterable[bytes], boundary: bytes, folder: Path, *, most: int) -> Iterator[Path]:
    """Write each part to a file of its own and yield it once it is whole.

    Args:
        chunks: the body, cut anywhere.
        boundary: what `boundary_of` gives.
        folder: an existing one; files in it are called by the number of their part.
        most: parts that are taken.

    Raises:
        Broken: the body ends before its closing boundary, as that of a connection that broke off does.
        ServerError: there are more parts than `most`, or the body is no multipart.
    """
    try:
        from python_multipart.exceptions import FormParserError
        from python_multipart.multipart import MultipartParser
    except ModuleNotFoundError as error:
        raise MissingExtra("python-multipart", extra="web") from error
    writer = _Writer(folder, most)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": writer.begin,
                "on_part_data": writer.data,
                "on_part_end": writer.end,
                "on_end": writer.finish,
            },
        )
        for chunk in _from_first(chunks, boundary):
            parser.write(chunk)
            yield from writer.done
            writer.done.clear()
            if writer.finished:
                return
    except FormParserError as error:
        raise ServerError(
            "the server sends a multipart that cannot be taken apart", next_step="report it to who runs it"
        ) from error
    finally:
        writer.close()
    raise Broken("the answer broke off before its end")


class _Writer:
    """Takes what the parser finds; `done` are the files that are whole and were not handed on yet."""

    def __init__(self, folder: Path, most: int) -> None:
        self.done: list[Path] = []
        self.finished = False
        self._folder, self._most, self._count = folder, most, 0
        self._file: IO[bytes] | None = None

    def begin(self) -> None:
        self._count += 1
        if self._count > self._most:
            raise ServerError(
                f"the server sends more than {self._most:,} files", next_step="name one series with --series"
            )
        self._file = open(self._folder / f"part-{self._count:06d}", "xb")  # noqa: SIM115 - closed in end

    def data(self, data: bytes, start: int, end: int) -> None:
        assert self._file is not None  # between begin and end
        self._file.write(data[start:end])

    def end(self) -> None:
        assert self._file is not None
        self._file.close()
        self.done.append(Path(self._file.name))
        self._file = None

    def finish(self) -> None:
        self.finished = True

    def close(self) -> None:
        """Leave no part half-written."""
        if self._file is not None:
            self._file.close()
            Path(self._file.name).unlink(missing_ok=True)


def _from_first(chunks: Iterable[bytes], boundary: bytes) -> Iterator[bytes]:
    """The body from its first boundary on: what stands before that is for people (RFC 2046, 5.1.1).

    Raises:
        ServerError: it does not come.
    """
    marker, before, found = b"--" + boundary, b"", False
    for chunk in chunks:
        if found:
            yield chunk
            continue
        before += chunk
        place = 0 if before.startswith(marker) else before.find(b"\n" + marker)
        if place >= 0:
            found = True
            yield before[place:].lstrip(b"\n")
        elif len(before) > _MOST_PREAMBLE:
            raise ServerError(
                "the server sends something else than the multipart it announces", next_step="report it to who runs it"
            )
