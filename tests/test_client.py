"""The client of the server: what comes back is what was sent, patience where it helps, and nothing left behind."""

import io
import json
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tumorseg.remote as remote
from segmenting import expected, marked, read_nifti, write_dicom, write_nifti
from tiny_model import write_model
from tumorseg.client import Client, JobState
from tumorseg.client.answers import job_state
from tumorseg.client.uploads import LazyFile, find_uploads
from tumorseg.errors import DataError, ServerError, TumorsegError

TOKEN = "0123456789abcdef-token"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the real server keeps what it is sent."""
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def served(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real server that demands a token."""
    pytest.importorskip("fastapi", reason="the extra [web] is not installed")
    here = tmp_path_factory.mktemp("server")
    (here / "token").write_text(TOKEN)
    words = ["serve", "--port", "0", "--model", str(write_model(here / "tiny")), "--token", str(here / "token")]
    process = subprocess.Popen(
        [sys.executable, "-m", "tumorseg", *words, "--folder", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://"), process.communicate()[1]
        yield address
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture
def client(served: str) -> Iterator[Client]:
    with Client(served, token=TOKEN) as open_client:
        yield open_client


def test_a_scan_comes_back_as_its_mask(client: Client, tmp_path: Path) -> None:
    scan = write_nifti(tmp_path / "scan.nii.gz", marked())
    seen: list[JobState] = []
    result = client.segment(scan, progress=seen.append)
    (one,) = result.scans
    assert one.shape == (4, 48, 48)
    assert one.spacing == (4.0, 1.0, 1.0)
    assert any("FLAIR" in warning for warning in one.warnings)
    assert one.measurements["tumour_voxels"] == expected().sum()
    assert one.slices["tumour_pixels"] == tuple(expected().sum((1, 2)))
    assert (seen[0].status != "done", seen[-1].status) == (True, "done")
    np.testing.assert_array_equal(read_nifti(result.save(tmp_path / "mask.nii.gz")) > 0, expected())
    assert one.save(tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    assert result.save(tmp_path / "all.zip").read_bytes().startswith(b"PK")
    assert json.loads(one.save(tmp_path / "outline.json").read_text())
    np.testing.assert_array_equal(one.probability() > 0.5, expected())
    np.testing.assert_array_equal(one.mask() > 0, expected())
    higher = read_nifti(result.save(tmp_path / "higher.nii.gz", threshold=0.9999))
    assert (higher > 0).sum() < expected().sum()


def test_a_file_is_never_written_under_another_formats_name(client: Client, tmp_path: Path) -> None:
    result = client.segment(write_nifti(tmp_path / "scan.nii.gz", marked()))
    with pytest.raises(DataError, match=r"what is a \.nii\.gz file"):
        result.save(tmp_path / "mask.png")
    with pytest.raises(DataError, match="no dicom-seg"):
        result.save(tmp_path / "mask.dcm")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scan.nii.gz"]


def test_files_and_folders_can_be_named_as_sequences(client: Client, tmp_path: Path) -> None:
    flair = write_nifti(tmp_path / "a flair.nii.gz", marked())
    post = write_nifti(tmp_path / "a post.nii.gz", marked() * 0)
    (one,) = client.segment(channels={"flair": flair, "post": str(post)}).scans
    assert one.channels == ("flair", "post")
    assert one.measurements["tumour_voxels"] == expected().sum()
    write_dicom(tmp_path / "T2.flair", marked())
    (one,) = client.segment(channels={"flair": tmp_path / "T2.flair"}).scans
    assert one.save(tmp_path / "seg.dcm").is_file()


def test_a_reference_gives_scores(client: Client, tmp_path: Path) -> None:
    scan = write_nifti(tmp_path / "scan.nii.gz", marked())
    reference = write_nifti(tmp_path / "reference.nii.gz", expected().astype(np.uint8))
    result = client.segment(scan, references=[reference])
    assert result.scans[0].scores["dice"] == 1.0
    assert client.segment(scan).scans[0].scores == {}


def test_several_scans_are_told_apart(client: Client, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_nifti(tmp_path / name / "scan.nii.gz", marked(4 if name == "a" else 2))
    (tmp_path / "b" / "broken.nii.gz").write_bytes(b"no NIfTI")
    result = client.segment([tmp_path / "a" / "scan.nii.gz", tmp_path / "b"])
    assert sorted(scan.shape[0] for scan in result.scans) == [2, 4]
    assert len(result.failures) == 1
    with pytest.raises(DataError, match="2 scans"):
        result.save(tmp_path / "mask.nii.gz")


def test_what_cannot_be_segmented_is_said_and_why(client: Client, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no scan")
    with pytest.raises(DataError, match="no scan"):
        client.segment(tmp_path / "notes.txt")
    scan = write_nifti(tmp_path / "scan.nii.gz", marked())
    with pytest.raises(DataError, match="no flair=7"):
        client.segment(scan, channels={"flair": 7})
    with pytest.raises(ServerError, match="no model of that name"):
        client.segment(scan, model="nothing")


def test_what_was_sent_is_gone_with_the_client(served: str, folder: Path, tmp_path: Path) -> None:
    scan = write_nifti(tmp_path / "scan.nii.gz", marked())

    def kept() -> int:
        return sum(path.is_file() and path.stat().st_size > 200 for path in folder.rglob("*"))

    before = kept()
    with Client(served, token=TOKEN) as one:
        one.segment(scan)
        assert kept() > before
    assert kept() == before


def test_one_client_does_not_see_the_job_of_another(client: Client, served: str, tmp_path: Path) -> None:
    job = client.submit(write_nifti(tmp_path / "scan.nii.gz", marked()))
    with Client(served, token=TOKEN) as other:
        theirs = type(job)(other._remote, job.state)
        with pytest.raises(ServerError, match="404"):
            theirs.refresh()
        theirs.delete()  # what is not there is gone
    assert job.wait().scans


def test_a_cancelled_job_is_gone(client: Client, tmp_path: Path) -> None:
    job = client.submit(write_nifti(tmp_path / "scan.nii.gz", marked()))
    job.cancel()
    with pytest.raises(ServerError, match="404"):
        job.refresh()


def test_a_token_that_is_wrong_or_missing_is_said_so(served: str) -> None:
    with Client(served) as nobody, pytest.raises(ServerError, match="wants credentials; give the server's token"):
        nobody.models()
    with Client(served, token="another-one-altogether") as wrong, pytest.raises(ServerError, match="refuses these"):
        wrong.models()


def test_models_and_limits_can_be_asked_for(client: Client) -> None:
    (model,) = client.models()
    assert (model.name, model.is_default, model.classes) == ("tiny", True, ("tumour",))
    assert client.limits()["max_files"] > 0
    with pytest.raises(ServerError, match="404"):
        client.card("../../etc/passwd")


def test_the_client_loads_neither_torch_nor_a_runtime() -> None:
    heavy = ("torch", "onnxruntime", "scipy", "httpx2")
    code = f"import sys, tumorseg.client; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# A server that plays a part


class Script:
    """A server whose answers are written down.

    Attributes:
        due: (status, headers, body) of the next answers, by method and path; after these, those of `usual`.
        asked: method, path and body of every request.
    """

    def __init__(self) -> None:
        self.due: dict[str, list[tuple[int, dict[str, str], bytes]]] = {}
        self.asked: list[tuple[str, bytes]] = []
        self.headers: list[dict[str, str]] = []
        self.usual: dict[str, Any] = {
            "GET /v1/limits": {"max_upload_bytes": 2**20, "max_files": 2000},
            "POST /v1/segmentations": {"id": "j1", "status": "queued", "position": 3},
            "GET /v1/segmentations/j1": {"id": "j1", "status": "done", "scans": []},
            "DELETE /v1/segmentations/j1": "",
        }
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer._answer(self)

            def do_POST(self) -> None:
                outer._answer(self)

            def do_DELETE(self) -> None:
                outer._answer(self)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def count(self, what: str) -> int:
        return sum(asked == what for asked, _ in self.asked)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: Any) -> None:
        what = f"{request.command} {request.path}"
        self.asked.append((what, request.rfile.read(int(request.headers.get("Content-Length") or 0))))
        self.headers.append(dict(request.headers.items()))
        due = self.due.get(what)
        status, headers, body = due.pop(0) if due else (200, {}, json.dumps(self.usual[what]).encode())
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


@pytest.fixture
def script() -> Iterator[Script]:
    running = Script()
    yield running
    running.close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody waits; how long they would have."""
    asked: list[float] = []
    monkeypatch.setattr(remote.time, "sleep", asked.append)
    return asked


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.tif"
    path.write_bytes(b"some scan " * 100)
    return path


POST = "POST /v1/segmentations"


def test_a_full_queue_is_asked_again_after_the_time_it_names_and_sent_the_whole_scan(
    script: Script, scan: Path, waits: list[float]
) -> None:
    script.due[POST] = [(429, {"Retry-After": "7"}, b""), (503, {"Retry-After": "9"}, b"")]
    with Client(script.url) as client:
        client.segment(scan)
    assert waits[:2] == [7, 9]
    bodies = [body for what, body in script.asked if what == POST]
    assert len(bodies) == 3
    assert all(scan.read_bytes() in body for body in bodies)


def test_a_server_that_stays_busy_is_given_up(script: Script, scan: Path, waits: list[float]) -> None:
    script.due[POST] = [(429, {"Retry-After": "1"}, b"")] * 99
    with Client(script.url) as client, pytest.raises(ServerError, match="429, 12 times in a row"):
        client.segment(scan)
    assert len(waits) == 11
    script.due[POST] = [(429, {"Retry-After": "9000"}, b"")]
    with Client(script.url) as client, pytest.raises(ServerError, match="wait 9000 s"):
        client.segment(scan)


def test_a_problem_is_told_in_the_servers_words(script: Script, scan: Path) -> None:
    problem = {"title": "Unprocessable", "status": 422, "detail": "it is\n\x1b[31m no scan", "next_step": "send one"}
    script.due[POST] = [(422, {"Content-Type": "application/problem+json"}, json.dumps(problem).encode())]
    with Client(script.url) as client, pytest.raises(ServerError) as caught:
        client.segment(scan)
    assert str(caught.value) == f"{script.url} answers 422 (it is [31m no scan); send one"
    assert caught.value.status == 422


def test_what_is_too_much_is_refused_before_it_is_sent(script: Script, scan: Path) -> None:
    script.usual["GET /v1/limits"] = {"max_upload_bytes": 100, "max_files": 1}
    with Client(script.url) as client:
        with pytest.raises(DataError, match="more than the"):
            client.segment(scan)
        script.usual["GET /v1/limits"] = {"max_files": 1}
        with pytest.raises(DataError, match="2 files"):
            client.segment([scan, scan])
    assert script.count(POST) == 0


@pytest.mark.parametrize(
    "answer", [b"<html>", b"[]", b"7", b"", b'{"id": 7, "status": "done"}', b'{"id": "../x", "status": "done"}', b"{}"]
)
def test_an_answer_that_is_no_job_is_an_error(script: Script, scan: Path, answer: bytes) -> None:
    script.due[POST] = [(200, {}, answer)]
    with Client(script.url) as client, pytest.raises(ServerError):
        client.segment(scan)


@settings(max_examples=40)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["id", "status", "progress", "done", "error", "scans", "failures", "position"]), inner
            )
        ),
    )
)
def test_whatever_a_server_says_of_a_job_is_a_job_or_an_error(answer: object) -> None:
    try:
        state = job_state(answer, "it")
    except ServerError:
        return
    assert state.status in ("queued", "running", "done", "failed", "cancelled")


def test_a_wait_that_is_interrupted_cancels_the_job(script: Script, scan: Path) -> None:
    def interrupted(state: JobState) -> None:
        raise KeyboardInterrupt

    client = Client(script.url)
    with pytest.raises(KeyboardInterrupt):
        client.segment(scan, progress=interrupted)
    assert script.count("DELETE /v1/segmentations/j1") == 1


def test_a_job_that_takes_too_long_is_given_up_and_cancelled(script: Script, scan: Path, waits: list[float]) -> None:
    script.usual["GET /v1/segmentations/j1"] = {"id": "j1", "status": "running"}
    with Client(script.url) as client, pytest.raises(ServerError, match=r"not done after 0\.1 s"):
        client.segment(scan, longest=0.1)
    assert script.count("DELETE /v1/segmentations/j1") >= 1


def test_a_failed_job_says_why(script: Script, scan: Path) -> None:
    error = {"detail": "file 1 is damaged", "next_step": "export it again"}
    script.usual[POST] = {"id": "j1", "status": "failed", "error": error}
    with Client(script.url) as client, pytest.raises(DataError, match="file 1 is damaged; export it again"):
        client.segment(scan)


def test_the_token_goes_to_no_other_server(script: Script, scan: Path) -> None:
    other = Script()
    script.due["GET /v1/limits"] = [(307, {"Location": f"{other.url}/v1/limits"}, b"")]
    with Client(script.url, token="s3cret") as client, pytest.raises(ServerError, match="not followed"):
        client.segment(scan)
    assert other.asked == []
    other.close()
    assert script.headers[0]["Authorization"] == "Bearer s3cret"
    with pytest.raises(ServerError, match="not protected"):
        Client("http://tumorseg.example", token="s3cret")
    Client("https://tumorseg.example", token="s3cret").close()
    Client("http://tumorseg.example", token="s3cret", insecure=True).close()


@pytest.mark.parametrize(
    "url", ["", "host", "ftp://host", "http://", "http://a:b@host", "http://host/?q", "http://h:x"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ServerError):
        Client(url)


@pytest.mark.parametrize("token", ["", "two words", "ümlaut", "line\nbreak"])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(ServerError, match="token"):
        Client("https://host", token=token)


def test_a_server_that_is_down_is_one_line(scan: Path, waits: list[float]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with Client(address) as client, pytest.raises(ServerError, match="cannot be reached") as caught:
        client.segment(scan)
    assert "\n" not in str(caught.value)


def test_a_download_that_breaks_off_leaves_no_file(
    script: Script, scan: Path, tmp_path: Path, waits: list[float]
) -> None:
    script.usual["GET /v1/segmentations/j1"]["scans"] = [{"index": 1, "name": "scan", "downloads": ["mask"]}]
    place = "GET /v1/segmentations/j1/scans/1/files/mask"
    named = {"Content-Disposition": 'attachment; filename="scan-1-mask.tif"'}
    script.due[place] = [(500, {}, b""), (200, named, b"the mask")]
    with Client(script.url) as client:
        result = client.segment(scan)
        assert result.save(tmp_path / "out" / "mask.tif").read_bytes() == b"the mask"
        script.due[place] = [(410, {}, b"")]
        with pytest.raises(ServerError, match="410"):
            result.save(tmp_path / "later.tif")
    assert not (tmp_path / "later.tif").exists()


# What is sent


def test_a_folder_is_sent_with_its_names_but_no_links_and_nothing_hidden(tmp_path: Path) -> None:
    for name in ("study/a/1.dcm", "study/b/1.dcm", "study/.hidden", "study/.git/x", "secret.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "study" / "link.dcm").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "study" / "away").symlink_to(tmp_path)
    uploads, _ = find_uploads([tmp_path / "study"])
    assert [upload.name for upload in uploads] == ["study/a/1.dcm", "study/b/1.dcm"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "1.dcm").write_bytes(b"x")
    uploads, _ = find_uploads([tmp_path / "study" / "a" / "1.dcm", tmp_path / "other" / "1.dcm"])
    assert [upload.name for upload in uploads] == ["1/1.dcm", "2/1.dcm"]


@pytest.mark.parametrize(
    ("inputs", "channels", "words"),
    [
        ([], None, "no file to send"),
        (["none.nii"], None, "cannot be read"),
        (["empty"], None, "no file to send"),
        (["a.nii"], {"flair": "a.nii"}, "beside"),
        ([], {"flair": "a.nii", "post": 1}, "beside"),
        (["a.nii"], {"flair": "* x.nii"}, "blank"),
        (["pipe"], None, "neither a file nor a folder"),
    ],
)
def test_what_cannot_be_sent_is_refused(
    inputs: list[str], channels: Any, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.nii").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TumorsegError, match=words):
        find_uploads(inputs, channels)


def test_more_files_are_sent_than_may_be_open(script: Script, tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for number in range(200):
        (tmp_path / "many" / f"{number}.dcm").write_bytes(b"slice %d" % number)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 128), hard))
    try:
        with Client(script.url) as client:
            client.segment(tmp_path / "many")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    (body,) = [body for what, body in script.asked if what == POST]
    assert body.count(b'name="file"') == 200
    assert b"slice 199" in body


@given(content=st.binary(max_size=50), steps=st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=8))
def test_a_file_that_is_opened_late_reads_as_any_other(
    content: bytes, steps: list[tuple[bool, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "late"
    path.write_bytes(content)
    late, plain = LazyFile(path), io.BytesIO(content)
    for reads, number in steps:
        if reads:
            assert late.read(number + 1) == plain.read(number + 1)
        else:
            assert late.seek(min(number, len(content))) == plain.seek(min(number, len(content)))
        assert late.tell() == plain.tell()
    assert late.seek(0, os.SEEK_END) == len(content)
    late.close()
