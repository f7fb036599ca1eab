"""Running the application until it is asked to end."""

import logging
import os
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from tumorseg.errors import OutputError
from tumorseg.web.app import create_app
from tumorseg.web.settings import ServeSettings

logger = logging.getLogger(__name__)

_BACKLOG = 128


class _Uvicorn(uvicorn.Server):
    """Ends without a trace, and says to the application at once that the end is near."""

    def __init__(self, config: uvicorn.Config, ending: Callable[[], None]) -> None:
        super().__init__(config)
        self._ending = ending

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """What SIGTERM and Ctrl-C do."""
        if self.should_exit:
            self.force_exit = True
            return
        self.should_exit = True
        self._ending()


def serve(settings: ServeSettings, said: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C; then finish or cancel what runs, and remove every file.

    Args:
        settings: where and for whom.
        said: told the address, once it is open.

    Raises:
        OutputError: the address cannot be had, or the private folder cannot be made.
        ModelError: a model that is to be offered is none.
    """
    os.umask(0o077)
    listening = _listen(settings)
    try:
        app = create_app(settings)
        server = _Uvicorn(_config(app, settings), app.state.server.drain)
        said(_address(settings, listening))
        server.run(sockets=[listening])
    finally:
        listening.close()
    logger.info("stopped; nothing is left on the disk")


def _config(app: FastAPI, settings: ServeSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        # Addresses hold ids of jobs; what is worth counting is in /metrics.
        access_log=False,
        server_header=False,
        date_header=True,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=max(1, round(settings.shutdown_seconds)),
        h11_max_incomplete_event_size=32 * 1024,
        http="h11",
        ws="none",
        lifespan="on",
    )


def _listen(settings: ServeSettings) -> socket.socket:
    """The open address.

    Raises:
        OutputError: it is taken, forbidden, or none of this machine's.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((settings.host, settings.port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise OutputError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}",
            next_step="choose another --port or --host",
        ) from error
    return listening


def _address(settings: ServeSettings, listening: socket.socket) -> str:
    port = listening.getsockname()[1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{port}"
