"""What a fetched data set consisted of when it was whole, so that a later look can tell whether it still is."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tumorseg.errors import OutputError
from tumorseg.files import write_json
from tumorseg.progress import Progress

RECORD = "fetched.json"


def write_record(
    folder: Path, *, name: str, source: str, licence: str, holds: str, files: Mapping[str, tuple[int, int]]
) -> None:
    """Write `fetched.json` into a folder that is whole.

    Args:
        folder: of the data set.
        name: of the data set.
        source: the address or the file it came from.
        licence: in a sentence.
        holds: what it holds, in words.
        files: size and CRC-32 of each, by its place in the folder.
    """
    from datetime import UTC, datetime

    write_json(
        folder / RECORD,
        {
            "data_set": name,
            "source": source,
            "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
            "licence": licence,
            "holds": holds,
            "files": {place: {"size": size, "crc32": f"{crc:08x}"} for place, (size, crc) in sorted(files.items())},
        },
    )


def what_it_holds(folder: Path, name: str, progress: Progress) -> str | None:
    """What a fetched folder holds, in words, after a look at every byte; None where it was not fetched.

    Raises:
        OutputError: it holds another data set, or is not what it was.
    """
    file = folder / RECORD
    if not file.is_file():
        return None
    try:
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        found, holds = str(record["data_set"]), str(record["holds"])
        files = {str(place): (int(entry["size"]), str(entry["crc32"])) for place, entry in record["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError(f"{file} is damaged", next_step="delete the folder, or name another") from error
    if found != name:
        raise OutputError(f"{folder} holds the data set {found}", next_step="name another folder")
    for place, (size, crc) in progress.track(files.items(), what="Checking files", total=len(files)):
        if not _is_as_it_was(folder / place, size, crc):
            raise OutputError(
                f"{folder / place} is missing or has changed since it was fetched",
                next_step="delete the folder and fetch again, or name another",
            )
    return holds


def _is_as_it_was(path: Path, size: int, crc: str) -> bool:
    try:
        if path.stat().st_size != size:
            return False
        return f"{zlib.crc32(path.read_bytes()):08x}" == crc
    except OSError:
        return False
