"""Half-written folders of preparations that were killed, and their removal."""

import os
import shutil
import socket
import time
from pathlib import Path

_OWNER = "owner.txt"
_STALE_SECONDS = 24 * 3600


def claim(folder: Path) -> Path:
    """Write into a folder that is being filled who fills it; delete the file that is returned when it is whole."""
    mark = folder / _OWNER
    mark.write_text(f"{socket.gethostname()} {os.getpid()}\n", encoding="utf-8")
    return mark


def sweep(home: Path) -> None:
    """Remove half-written folders in `home` whose process is gone, or that nobody has written to for a day."""
    for folder in home.glob(".*.partial"):
        if folder.is_dir() and (_is_orphan(folder) or _is_stale(folder)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_orphan(folder: Path) -> bool:
    """Whether its process ran on this machine and is gone."""
    try:
        host, _, process = (folder / _OWNER).read_text(encoding="utf-8").partition(" ")
        if host != socket.gethostname():
            return False
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError):  # not claimed yet, or another user's process
        return False
    return False


def _is_stale(folder: Path) -> bool:
    try:
        newest = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
    except OSError:  # another process removes it just now
        return False
    return newest < time.time() - _STALE_SECONDS
