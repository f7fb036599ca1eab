"""The folder of a study: new, empty, or an earlier state of the same kind of study."""

import os
from collections.abc import Iterable
from pathlib import Path

from tumorseg.errors import OutputError

RUNS = "runs"


def refuse_unusable(folder: Path, outputs: Iterable[str], *, study: str) -> None:
    """Raise OutputError unless `folder` can be written and holds nothing but `outputs` and runs.

    Args:
        folder: where the study goes.
        outputs: names of the files that it leaves.
        study: what to call it in the message.
    """
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not existing.is_dir():
        raise OutputError(f"{existing} is not a folder", next_step="choose another --output")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError(f"{existing} cannot be written", next_step="choose another --output")
    names = {entry.name for entry in folder.iterdir() if not entry.name.startswith(".")} if folder.exists() else set()
    if strange := sorted(names - {RUNS, *outputs}):
        raise OutputError(
            f"{folder} holds {strange[0]} and is not {study}", next_step="choose another --output, or delete it"
        )
