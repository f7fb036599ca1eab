"""The server's own temporary folder: private, locked while it lives, swept away when it died."""

import fcntl
import logging
import os
import shutil
import tempfile
import time
from pathlib import Path

from tumorseg.errors import OutputError

logger = logging.getLogger(__name__)

PREFIX = "tumorseg-serve-"
_LOCK = "lock"
_YOUNG_SECONDS = 60.0


class ServerFolder:
    """A folder that no one else reads, below the system's or a given one; what dead servers left there is removed.

    Args:
        base: below which it is made; None takes the system's folder for temporary files.

    Raises:
        OutputError: it cannot be made.
    """

    def __init__(self, base: Path | None = None) -> None:
        parent = Path(base if base is not None else tempfile.gettempdir()).absolute()
        try:
            parent.mkdir(parents=True, exist_ok=True)
            self.swept = sweep(parent)
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
            self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(
                f"cannot make a private folder in {parent}: {error.strerror or error}",
                next_step="name another with --folder",
            ) from error

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def sweep(parent: Path) -> int:
    """Remove the folders of servers that are dead, which a kill -9 leaves behind.

    Returns:
        How many there were.
    """
    count = 0
    for folder in parent.glob(f"{PREFIX}*"):
        if _is_dead(folder):
            shutil.rmtree(folder, ignore_errors=True)
            count += not folder.exists()
    if count:
        logger.info("removed what %d server%s left behind", count, "s" * (count != 1))
    return count


def _is_dead(folder: Path) -> bool:
    """Whether a folder is ours and nobody holds its lock."""
    try:
        found = folder.lstat()
        if folder.is_symlink() or not folder.is_dir() or found.st_uid != os.getuid():
            return False
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            # A server that is just starting has a folder before it has a lock.
            return time.time() - found.st_mtime > _YOUNG_SECONDS
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(lock)
    except OSError:
        return False
    return True
