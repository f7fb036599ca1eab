"""Whose is what: a cookie, a private folder, the jobs in it, and the clock that ends it."""

import hashlib
import hmac
import logging
import secrets
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tumorseg.web.jobs import Job
from tumorseg.web.problems import Refused
from tumorseg.web.settings import ServeSettings

logger = logging.getLogger(__name__)

COOKIE = "tumorseg_session"
_BYTES = 32
_REMEMBERED = 100_000


@dataclass(eq=False)
class Session:
    """One browser's, or one program's, uploads and answers.

    Attributes:
        folder: private; all files of the session.
        used: when its cookie was last seen, by the store's clock.
        jobs: by id, the oldest first.
        uploading: requests that are being received.
        served: when one of its jobs was last begun; whoever waited longest is next.
    """

    folder: Path
    used: float
    jobs: dict[str, Job] = field(default_factory=dict)
    uploading: int = 0
    served: float = 0.0

    @property
    def busy(self) -> bool:
        """Whether somebody waits for it."""
        return self.uploading > 0 or any(not job.ended for job in self.jobs.values())

    @property
    def bytes(self) -> int:
        """What its jobs hold on the disk."""
        return sum(job.bytes for job in self.jobs.values())


class Sessions:
    """All sessions of a server, found by cookies that this server has signed.

    Args:
        folder: of the server.
        settings: the limits.
        clock: seconds that only rise.
    """

    def __init__(self, folder: Path, settings: ServeSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self._secret = secrets.token_bytes(_BYTES)
        self._open: dict[bytes, Session] = {}
        self._gone: OrderedDict[str, bytes] = OrderedDict()

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._open.values()))

    def __len__(self) -> int:
        return len(self._open)

    def issue(self) -> str:
        """A new cookie; nothing is kept for it until something is uploaded."""
        value = secrets.token_urlsafe(_BYTES)
        return f"{value}.{self._sign(value)}"

    def is_ours(self, cookie: str) -> bool:
        """Whether this server has issued a cookie."""
        value, _, signature = cookie.rpartition(".")
        return bool(value) and hmac.compare_digest(signature.encode(), self._sign(value).encode())

    def find(self, cookie: str) -> Session | None:
        """The session of a cookie, if something is in it; its clock starts again."""
        session = self._open.get(_key(cookie))
        if session is not None:
            session.used = self._clock()
        return session

    def open(self, cookie: str) -> Session:
        """The session of a cookie, made where there is none.

        Raises:
            Refused: there are as many as the server bears.
        """
        session = self.find(cookie)
        if session is not None:
            return session
        if len(self._open) >= self._settings.max_sessions:
            raise Refused(429, "too many people use this server now", next_step="try again later", retry_after=60)
        folder = self._folder / f"session-{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        session = self._open[_key(cookie)] = Session(folder, self._clock())
        return session

    def job(self, cookie: str, identity: str) -> Job:
        """A job of this cookie's session.

        Raises:
            Refused: 410 where it went with its session, 404 for all else, whoever else may own it.
        """
        session = self.find(cookie)
        job = session.jobs.get(identity) if session is not None else None
        if job is not None:
            return job
        if self._gone.get(identity) == _key(cookie):
            minutes = self._settings.idle_minutes
            raise Refused(410, f"removed after {minutes:g} idle minutes", next_step="send the scan again")
        raise Refused(
            404,
            "there is no such segmentation in this session",
            next_step="send the scan again if the server restarted",
        )

    def room(self) -> int:
        """Bytes that may still come."""
        return self._settings.max_stored_bytes - sum(session.bytes for session in self._open.values())

    def expire(self) -> int:
        """Remove all sessions that were idle for too long, and give their number."""
        now = self._clock()
        count = 0
        for key, session in list(self._open.items()):
            if session.busy:
                session.used = now
            elif now - session.used >= self._settings.idle_seconds:
                self._remember(key, session)
                self._close(key)
                count += 1
        if count:
            logger.info("%d idle session%s removed", count, "s" * (count != 1))
        return count

    def _remember(self, key: bytes, session: Session) -> None:
        """Note which jobs a cookie had, so that its owner is told why they are gone."""
        for identity in session.jobs:
            self._gone[identity] = key
        while len(self._gone) > _REMEMBERED:
            self._gone.popitem(last=False)

    def _close(self, key: bytes) -> None:
        shutil.rmtree(self._open.pop(key).folder, ignore_errors=True)

    def _sign(self, value: str) -> str:
        return hmac.new(self._secret, value.encode(), hashlib.sha256).hexdigest()


def _key(cookie: str) -> bytes:
    """What a session is kept under: who reads the memory of a table learns no cookie."""
    return hashlib.sha256(cookie.encode()).digest()
