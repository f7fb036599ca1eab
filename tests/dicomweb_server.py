"""A DICOMweb archive on this machine, as small as it can be, that misbehaves as its test wants."""

import io
import json
import re
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pydicom

BOUNDARY = "a-boundary-0f3c"
ROUTE = re.compile(
    r"/dicom-web/studies/(?P<study>[\d.]+)(?:/series/(?P<series>[\d.]+)(?P<rest>/instances|/metadata)?|(?P<all>/series))?$"
)


class _Server(ThreadingHTTPServer):
    """Says nothing when a client that has had enough hangs up, as the tests mean it to."""

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class DicomWebServer:
    """Objects in memory, answered by QIDO-RS, WADO-RS and STOW-RS.

    Attributes:
        objects: the files by (study, series, instance).
        manners: by the service (find, instances, metadata, retrieve, store) how its next answers are to be; after
            these they are as they should be. A status, with Retry-After where a second number follows; `to ADDRESS`;
            silent, stall, html, not-json, json TEXT; of files: cut (no closing boundary), break (the line breaks off),
            missing, foreign, junk, empty, single, no-boundary, unquoted, preamble, lone-parts; of storing: failed.
        authorization: what must come in the header of this name; "" asks for nothing.
        asked: (service, headers) of every request.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], bytes] = {}
        self.manners: dict[str, list[str]] = defaultdict(list)
        self.authorization = ""
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.page = 10_000
        self._stop = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer._answer(self)

            def do_POST(self) -> None:
                outer._answer(self)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        """Where its services begin."""
        return f"http://127.0.0.1:{self._server.server_port}/dicom-web"

    def add(self, *paths: Path) -> None:
        """Hold these files."""
        for path in paths:
            self.hold(path.read_bytes())

    def hold(self, content: bytes) -> pydicom.Dataset:
        """Hold a file's bytes."""
        dataset = pydicom.dcmread(io.BytesIO(content))
        self.objects[dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID] = content
        return dataset

    def segmentations(self) -> list[pydicom.Dataset]:
        """What was stored, or held, as DICOM-SEG."""
        found = [pydicom.dcmread(io.BytesIO(content)) for content in self.objects.values()]
        return [dataset for dataset in found if dataset.Modality == "SEG"]

    def count(self, service: str) -> int:
        """How often a service was asked."""
        return sum(asked == service for asked, _ in self.asked)

    def close(self) -> None:
        """End it, and every answer that stalls."""
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        path, _, query = request.path.partition("?")
        match = ROUTE.fullmatch(path)
        if match is None:
            _send(request, 404, b"")
            return
        service = (
            "store" if request.command == "POST" else "find" if match["all"] else (match["rest"] or "/retrieve")[1:]
        )
        self.asked.append((service, dict(request.headers.items())))
        if self.authorization and request.headers.get("Authorization") != self.authorization:
            _send(request, 401, b"")
            return
        due = self.manners[service]
        word, _, more = (due.pop(0) if due else "").partition(" ")
        if word.isdigit():
            _send(request, int(word), b"", **({"Retry-After": more} if more else {}))
        elif word == "to":
            _send(request, 302, b"", Location=more or f"{path}?again")
        elif word == "silent":
            self._stop.wait(20)
        elif word in ("html", "not-json"):
            _send(request, 200, b"<html>Log in</html>", **{"Content-Type": "text/html"})
        elif word == "json":
            _send(request, 200, more.encode(), **{"Content-Type": "application/dicom+json"})
        elif service == "store":
            self._store(request, body, word)
        else:
            mine = [entry for entry in self.objects.items() if entry[0][0] == match["study"]]
            if match["series"]:
                mine = [entry for entry in mine if entry[0][1] == match["series"]]
            if service == "retrieve":
                self._send_files(request, [content for _, content in mine], word)
            else:
                self._send_json(request, service, [pydicom.dcmread(io.BytesIO(content)) for _, content in mine], query)

    def _send_json(self, request: Any, service: str, datasets: list[pydicom.Dataset], query: str) -> None:
        if service == "metadata":
            for dataset in datasets:
                del dataset.PixelData
            found = [dataset.to_json_dict() for dataset in datasets]
        elif service == "instances":
            found = [_some(dataset, "SOPInstanceUID", "SeriesInstanceUID") for dataset in datasets]
        else:
            groups: dict[str, list[pydicom.Dataset]] = defaultdict(list)
            for dataset in datasets:
                groups[dataset.SeriesInstanceUID].append(dataset)
            found = []
            for members in groups.values():
                entry = _some(members[0], "StudyInstanceUID", "SeriesInstanceUID", "Modality", "SeriesDescription")
                found.append({**entry, "00201209": {"vr": "IS", "Value": [len(members)]}})
        offset = int(query.partition("offset=")[2].partition("&")[0] or 0)
        page = found[offset : offset + self.page]
        more = {"Warning": '299 server "there are more"'} if offset + self.page < len(found) else {}
        _send(request, 200, json.dumps(page).encode(), **{"Content-Type": "application/dicom+json"}, **more)

    def _send_files(self, request: Any, files: list[bytes], manner: str) -> None:
        if manner == "missing":
            files = files[1:]
        if manner == "foreign":
            other = pydicom.dcmread(io.BytesIO(files[0]))
            other.StudyInstanceUID = "1.2.3"
            buffer = io.BytesIO()
            other.save_as(buffer)
            files = [buffer.getvalue(), *files[1:]]
        if manner == "junk":
            files = [b"no DICOM at all", *files]
        if manner == "empty":
            files = []
        if manner == "single":
            _send(request, 200, files[0], **{"Content-Type": "application/dicom"})
            return
        head = b"Content-Type: application/dicom\r\nContent-Location: /somewhere\r\n\r\n"
        if manner == "lone-parts":
            head = b"\r\n"
        parts = [b"--" + BOUNDARY.encode() + b"\r\n" + head + content + b"\r\n" for content in files]
        body = b"".join(parts) + (b"" if manner == "cut" else b"--" + BOUNDARY.encode() + b"--\r\n")
        if manner == "preamble":
            body = b"For people who have no reader of this.\r\n" + body + b"And a last word."
        kind = f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"; start="x"'
        if manner == "no-boundary":
            kind = "multipart/related"
        if manner == "unquoted":
            kind = f"Multipart/Related;boundary={BOUNDARY};type=application/dicom"
        if manner in ("break", "stall"):
            request.send_response(200)
            request.send_header("Content-Type", kind)
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body[: len(body) // 2])
            request.wfile.flush()
            if manner == "stall":
                self._stop.wait(20)
            request.close_connection = True
            return
        _send(request, 200, body, **{"Content-Type": kind})

    def _store(self, request: Any, body: bytes, manner: str) -> None:
        boundary = request.headers["Content-Type"].partition("boundary=")[2].strip('"').encode()
        parts = body.split(b"--" + boundary)[1:-1]
        if manner == "failed":
            failed = {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0xA700]}}]}}
            _send(request, 202, json.dumps(failed).encode(), **{"Content-Type": "application/dicom+json"})
            return
        for part in parts:
            self.hold(part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n"))
        _send(request, 200, b"{}", **{"Content-Type": "application/dicom+json; charset=utf-8"})


def _some(dataset: pydicom.Dataset, *keywords: str) -> dict[str, Any]:
    chosen = pydicom.Dataset()
    for keyword in keywords:
        setattr(chosen, keyword, dataset.get(keyword, ""))
    return chosen.to_json_dict()


def _send(request: Any, status: int, body: bytes, **headers: str) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


@contextmanager
def dicomweb_server() -> Iterator[DicomWebServer]:
    """An archive for the length of a block."""
    server = DicomWebServer()
    try:
        yield server
    finally:
        server.close()
