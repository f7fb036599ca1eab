"""A server in a thread of the test's own process, on a real port, with a tiny model; and people who use it."""

import io
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import httpx2
import numpy as np
import uvicorn

from segmenting import marked
from tumorseg.web.app import create_app
from tumorseg.web.server import Server
from tumorseg.web.settings import ServeSettings

PATIENCE = 240.0


@dataclass
class Serving:
    """A server that listens."""

    address: str
    server: Server

    @contextmanager
    def person(self, **headers: str) -> Iterator[httpx2.Client]:
        """Somebody with a cookie jar of their own."""
        with httpx2.Client(base_url=self.address, timeout=PATIENCE, headers=headers) as client:
            yield client

    @property
    def files(self) -> list[str]:
        """All that lies in the server's folder, but for its lock."""
        folder = self.server.folder.path
        found = [Path(place) / name for place, _, names in os.walk(folder) for name in names]
        return sorted(str(path.relative_to(folder)) for path in found if path.name != "lock")


@contextmanager
def serving(folder: Path, model: Path, **settings: Any) -> Iterator[Serving]:
    """A server with these settings, ready to work; everything is gone behind it."""
    settings = {"workers": 1, **settings}
    app = create_app(ServeSettings(port=0, models=(str(model),), folder=folder, **settings))
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False, server_header=False)
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    try:
        wait_for(lambda: running.started or not thread.is_alive())
        port = running.servers[0].sockets[0].getsockname()[1]
        found = Serving(f"http://127.0.0.1:{port}", app.state.server)
        wait_for(lambda: found.server.ready)
        yield found
    finally:
        running.should_exit = True
        thread.join(PATIENCE)


def wait_for(condition: Any, seconds: float = PATIENCE) -> None:
    """Wait until something holds, and fail where it does not come to hold."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def png(bright: int = 200) -> bytes:
    """One slice with the marker."""
    return cv2.imencode(".png", marked(1, bright=bright, dtype=np.uint8)[0])[1].tobytes()


def deep(slices: int) -> bytes:
    """So many tiny slices in one file, which keep a worker busy for some milliseconds each."""
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((slices, 32, 32), np.uint8))
    return buffer.getvalue()


def send(
    person: httpx2.Client, *files: tuple[str, bytes], status: int = 201, wait: float = 50, **fields: str
) -> dict[str, Any]:
    """Post files and give the answer's body; fail where the status is another."""
    parts = [("file", (name, content)) for name, content in files or [("scan.png", png())]]
    answer = person.post("/v1/segmentations", files=parts, data={"wait": str(wait), **fields})
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    return body


def is_problem(answer: httpx2.Response, status: int) -> dict[str, Any]:
    """Check that an answer is a problem as RFC 9457 has it, without paths or traces, and give its body."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["title"] and body["detail"]
    for word in ("/tmp", "Traceback", ".py", "site-packages"):
        assert word not in answer.text
    return body
