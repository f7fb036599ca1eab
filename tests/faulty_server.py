"""A web server on this machine that misbehaves as its test wants."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FaultyServer:
    """Files by their paths, and how each is to be sent the next times it is asked for.

    Attributes:
        files: content by path, such as "/a.zip".
        manners: for each path the manners of its next answers; after these it is sent as it should be:
            whole, break (half, then closed), stall (half, then nothing), silent (nothing at all), drip (a byte at a
            time), corrupt (one byte is another), changed (half; from then on the file is another), no-range and
            no-if-range (the header is not heeded), page (HTML), to ADDRESS (redirects), or a status, with Retry-After
            where a second number follows.
        asked: path and headers of every request.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.manners: dict[str, list[str]] = defaultdict(list)
        self.states: dict[str, int] = defaultdict(int)
        self.replacements: dict[str, bytes] = {}
        self.headers: dict[str, dict[str, str]] = defaultdict(dict)
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.stop = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with suppress(ConnectionError):
                    owner._answer(self)

            def log_message(self, format: str, *arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def address(self, path: str = "", host: str = "127.0.0.1") -> str:
        """Where a file is found."""
        return f"http://{host}:{self._server.server_port}{path}"

    def requests_for(self, path: str) -> list[dict[str, str]]:
        """Headers of the requests for one file."""
        return [headers for asked, headers in self.asked if asked == path]

    def close(self) -> None:
        """End it, and every answer that stalls."""
        self.stop.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: Any) -> None:
        path = request.path
        headers = dict(request.headers.items())
        self.asked.append((path, headers))
        probing = headers.get("Range") == "bytes=0-0"
        due = self.manners[path]
        # A question for the size alone uses up no manner; where all is refused or led on, it is as well.
        manner = (
            (due[0] if due[0][:2] in ("to", "40") else "whole") if due and probing else due.pop(0) if due else "whole"
        )
        word, _, rest = manner.partition(" ")
        if word == "silent":
            self.stop.wait(20)
        elif word == "to":
            request.send_response(302)
            request.send_header("Location", rest)
            request.send_header("Content-Length", "0")
            request.end_headers()
        elif word.isdigit() or path not in self.files:
            request.send_response(int(word) if word.isdigit() else 404)
            if rest:
                request.send_header("Retry-After", rest)
            request.send_header("Content-Length", "0")
            request.end_headers()
        else:
            self._send(request, path, word, headers)

    def _send(self, request: Any, path: str, manner: str, headers: dict[str, str]) -> None:
        content = b"<html>Log in</html>" if manner == "page" else self.files[path]
        tag = f'"state-{self.states[path]}"'
        first, last = 0, len(content) - 1
        heeded = manner != "no-range" and (headers.get("If-Range", tag) == tag or manner == "no-if-range")
        if "Range" in headers and heeded:
            begin, _, end = headers["Range"].removeprefix("bytes=").partition("-")
            first, last = int(begin), int(end or last)
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        else:
            request.send_response(200)
        request.send_header("ETag", tag)
        request.send_header("Content-Type", "text/html" if manner == "page" else "application/octet-stream")
        for name, value in self.headers[path].items():
            request.send_header(name, value)
        part = bytearray(content[first : last + 1])
        request.send_header("Content-Length", str(len(part)))
        request.end_headers()
        half = len(part) // 2
        if manner == "corrupt":
            part[half] ^= 0xFF
        if manner == "drip":
            for byte in part:
                request.wfile.write(bytes([byte]))
                if self.stop.wait(0.05):
                    return
        request.wfile.write(part[:half] if manner in ("break", "stall", "changed") else part)
        if manner == "stall":
            request.wfile.flush()
            self.stop.wait(20)
        if manner == "changed":
            self.states[path] += 1
            self.files[path] = self.replacements.get(path, self.files[path])


@contextmanager
def faulty_server() -> Iterator[FaultyServer]:
    """A server for the length of a block."""
    server = FaultyServer()
    try:
        yield server
    finally:
        server.close()
