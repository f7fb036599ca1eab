"""More than the server bears: each limit says so in time, and the next one is served."""

import contextlib
import io
import os
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
import tifffile

import hostile_files
from segmenting import marked, write_nifti
from tiny_model import write_model
from tumorseg.web.folder import PREFIX, ServerFolder
from tumorseg.web.problems import Refused
from tumorseg.web.sessions import Sessions
from tumorseg.web.settings import ServeSettings
from web_server import Serving, deep, is_problem, png, send, serving, wait_for


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Serving]:
    limits = {"max_upload_bytes": 300_000, "max_unpacked_bytes": 600_000, "max_files": 6, "max_slices": 8}
    with serving(
        tmp_path_factory.mktemp("web"), model, max_pixels=200_000, max_idle_upload_seconds=0.5, **limits
    ) as it:
        yield it


@pytest.fixture
def person(server: Serving) -> Iterator[httpx2.Client]:
    """Somebody who tidies up in the end."""
    with server.person() as client:
        yield client
        for job in client.get("/v1/segmentations").json()["jobs"]:
            client.delete(f"/v1/segmentations/{job['id']}")


def packed(files: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def refused(person: httpx2.Client, *files: tuple[str, bytes]) -> dict:
    """The problem of an upload that is taken and then cannot be segmented."""
    job = send(person, *files)
    assert job["status"] == "failed" and job["scans"] == []
    return job["error"]


def test_a_body_above_the_limit_is_refused_before_it_is_read(person: httpx2.Client, server: Serving) -> None:
    is_problem(person.post("/v1/segmentations", files={"file": ("s.png", b"x" * 500_000)}), 413)
    wait_for(lambda: server.files == [])


def test_a_body_of_unknown_length_is_counted(person: httpx2.Client, server: Serving) -> None:
    start = b'--b\r\nContent-Disposition: form-data; name="file"; filename="s.png"\r\n\r\n'

    def body() -> Iterator[bytes]:
        yield start
        for _ in range(100):
            yield b"x" * 10_000

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    is_problem(person.post("/v1/segmentations", content=body(), headers=headers), 413)
    wait_for(lambda: server.files == [])


def test_too_many_files_are_refused(person: httpx2.Client) -> None:
    files = [("file", (f"{number}.png", png())) for number in range(7)]
    is_problem(person.post("/v1/segmentations", files=files), 413)
    error = refused(person, ("many.zip", packed({f"{number}.png": png() for number in range(7)})))
    assert error["status"] == 413 and "6 files" in error["detail"]


def test_too_many_slices_are_refused(person: httpx2.Client, tmp_path: Path) -> None:
    deep = write_nifti(tmp_path / "deep.nii.gz", marked(9)).read_bytes()
    error = refused(person, ("deep.nii.gz", deep))
    assert error["status"] == 413 and "9 slices, more than 8" in error["detail"]


def test_too_many_pixels_are_refused_by_the_header_alone(person: httpx2.Client) -> None:
    wide = io.BytesIO()
    tifffile.imwrite(wide, np.zeros((500, 500), np.uint8), compression="zlib")
    error = refused(person, ("wide.tif", wide.getvalue()))
    assert error["status"] == 413 and "250,000 pixels" in error["detail"]


def test_a_zip_that_grows_beyond_measure_is_not_unpacked(person: httpx2.Client, server: Serving) -> None:
    error = refused(person, ("bomb.zip", packed({"a.tif": bytes(50_000_000)})))
    assert error["status"] in (413, 422)
    assert server.files == []


@pytest.mark.parametrize("name", ["../../evil.png", "/etc/evil.png", "C:\\evil.png", "a/../../../evil.png"])
def test_a_zip_that_points_out_of_itself_is_refused(person: httpx2.Client, server: Serving, name: str) -> None:
    error = refused(person, ("z.zip", packed({name: png()})))
    assert error["status"] == 422 and "evil" not in error["detail"].replace("evil.png", "", 1)
    assert server.files == []


@pytest.mark.parametrize("name", ["../../evil.png", "/etc/evil.png", "a\\..\\..\\evil.png", "x" * 1000 + ".png"])
def test_a_files_name_leads_nowhere(person: httpx2.Client, server: Serving, name: str) -> None:
    job = send(person, (name, png()))
    assert job["status"] == "done"
    assert not [path for path in server.files if "evil" in path or ".." in path or "xxx" in path]
    assert not list(server.server.folder.path.parent.glob("*evil*"))


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("multipart/form-data", b"", 400),
        ("multipart/form-data; boundary=b", b"", 400),
        ("multipart/form-data; boundary=b", b"--b\r\nnonsense", 400),
        ("multipart/form-data; boundary=b", b"--b--\r\n", 422),
        ("multipart/form-data; boundary=b", b"--c\r\n\r\n--c--", 400),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n--b--', 422),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="wait"\r\n\r\nnan\r\n--b\r\n'
            b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n1\r\n--b--\r\n',
            422,
        ),
    ],
)
def test_a_form_that_is_none_is_refused(
    person: httpx2.Client, server: Serving, kind: str, body: bytes, status: int
) -> None:
    is_problem(person.post("/v1/segmentations", content=body, headers={"Content-Type": kind}), status)
    assert server.files == []


def test_an_upload_that_stalls_is_given_up(person: httpx2.Client, server: Serving) -> None:
    def body() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="s.png"\r\n\r\nx'
        time.sleep(2)
        yield b"x"

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    with contextlib.suppress(httpx2.TransportError):  # the server may close the line while the client still sleeps
        is_problem(person.post("/v1/segmentations", content=body(), headers=headers), 504)
    assert server.server.uploads == 0 and server.files == []


@pytest.mark.parametrize("name", sorted(hostile_files.REFUSED)[::2])  # benchmarks/hostile.py sends all of them
def test_what_no_scanner_wrote_ends_in_a_problem(
    person: httpx2.Client, server: Serving, name: str, tmp_path: Path
) -> None:
    found = hostile_files.REFUSED[name](tmp_path)
    paths = (
        [found]
        if os.path.isfile(found)
        else [path for path in found.rglob("*") if path.is_file()]
        if os.path.isdir(found)
        else []
    )
    files = [(path.name, path.read_bytes()) for path in paths if not path.is_symlink()][:6]
    if not files or sum(len(content) for _, content in files) > 290_000:
        pytest.skip("nothing that can be uploaded within the limits of this server")
    job = send(person, *files)
    assert str(tmp_path) not in str(job) and str(server.server.folder.path) not in str(job)
    if job["status"] != "done":
        assert job["status"] == "failed" and job["error"]["status"] in (413, 422)
    assert person.delete(f"/v1/segmentations/{job['id']}").status_code == 204
    assert server.files == []
    assert person.get("/readyz").status_code == 200


def test_after_all_that_a_whole_scan_is_segmented(person: httpx2.Client) -> None:
    assert send(person)["scans"][0]["tumour_voxels"] > 0


def begin(person: httpx2.Client, slices: int) -> httpx2.Response:
    """Send a deep scan and do not wait."""
    return person.post("/v1/segmentations", files={"file": ("deep.npy", deep(slices))})


def test_a_full_queue_says_when_to_come_again(tmp_path: Path, model: Path) -> None:
    with serving(tmp_path / "server", model, queue_length=1) as server, server.person() as person:
        answers = [begin(person, 2000) for _ in range(5)]
        late = [answer for answer in answers if answer.status_code != 202]
        assert late, "five deep scans at once do not fit into a queue of one"
        for answer in late:
            is_problem(answer, 429)
            assert int(answer.headers["retry-after"]) >= 1
        assert person.get("/v1/segmentations").status_code == 200
        for answer in answers:
            if answer.status_code == 202:
                assert person.delete(answer.headers["location"]).status_code == 204
        assert send(person)["status"] == "done"


def test_a_cancelled_job_stops_between_slices(tmp_path: Path, model: Path) -> None:
    with serving(tmp_path / "server", model, max_slices=100_000) as server, server.person() as person:
        place = begin(person, 12_000).headers["location"]
        wait_for(lambda: person.get(place).json()["progress"]["done"] > 0)
        assert person.delete(place).status_code == 204
        assert send(person)["status"] == "done"
        assert server.server.workers[0].starts == 1, "the worker went on; it was not killed"
        text = person.get("/metrics").text
        assert 'tumorseg_jobs_total{status="cancelled"} 1.0' in text
        assert [name for name in server.files if name.endswith(".npy") and "inputs" in name] == []


def test_a_job_past_its_time_ends_and_says_so(tmp_path: Path, model: Path) -> None:
    with serving(tmp_path / "server", model, max_seconds=2, max_slices=100_000) as server, server.person() as person:
        job = send(person, ("deep.npy", deep(12_000)))
        assert job["status"] == "failed" and job["error"]["status"] == 504
        assert server.files == []


def test_a_worker_that_dies_takes_nothing_with_it(tmp_path: Path, model: Path) -> None:
    with serving(tmp_path / "server", model, max_slices=100_000) as server, server.person() as person:
        kept = send(person)
        place = begin(person, 12_000).headers["location"]
        wait_for(lambda: person.get(place).json()["status"] == "running")
        os.kill(server.server.workers[0]._process.pid, 9)
        wait_for(lambda: person.get(place).json()["status"] == "failed")
        assert person.get(place).json()["error"]["status"] == 422
        assert send(person)["status"] == "done"
        assert person.get(f"/v1/segmentations/{kept['id']}/scans/1/volume/image").status_code == 200


def test_what_needs_more_memory_than_there_is_is_refused(server: Serving, tmp_path: Path, model: Path) -> None:
    status = Path(f"/proc/{server.server.workers[0]._process.pid}/status").read_text()
    needed = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmPeak"))
    limits = {"memory_bytes": needed + 256 * 2**20, "max_pixels": 2**40}
    with serving(tmp_path / "server", model, **limits) as small, small.person() as person:
        large = io.BytesIO()
        tifffile.imwrite(large, np.zeros((8192, 8192, 3), np.uint8), compression="zlib")
        job = send(person, ("large.tif", large.getvalue()))
        assert job["status"] == "failed" and job["error"]["status"] in (413, 422)
        assert send(person)["status"] == "done"


def test_a_session_holds_so_many_scans_and_no_more(tmp_path: Path, model: Path) -> None:
    with serving(tmp_path / "server", model, max_jobs=2) as server, server.person() as person:
        jobs = [send(person), send(person)]
        is_problem(person.post("/v1/segmentations", files={"file": ("s.png", png())}), 429)
        person.delete(f"/v1/segmentations/{jobs[0]['id']}")
        send(person)
        with server.person() as other:
            send(other)


class Clock:
    """Seconds that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_idle_session_goes_and_its_owner_is_told(server: Serving, person: httpx2.Client) -> None:
    sessions, clock = server.server.sessions, Clock()
    real, sessions._clock = sessions._clock, clock
    try:
        job = send(person)
        clock.now += server.server.settings.idle_seconds - 1
        assert sessions.expire() == 0
        assert person.get(f"/v1/segmentations/{job['id']}").status_code == 200  # the clock starts again
        clock.now += server.server.settings.idle_seconds - 1
        assert sessions.expire() == 0
        clock.now += 1
        assert sessions.expire() >= 1
        assert server.files == []
        is_problem(person.get(f"/v1/segmentations/{job['id']}"), 410)
        with server.person() as other:
            is_problem(other.get(f"/v1/segmentations/{job['id']}"), 404)
        send(person)
    finally:
        sessions._clock = real


def test_only_so_many_people_at_once(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path, ServeSettings(max_sessions=1))
    sessions.open(sessions.issue())
    with pytest.raises(Refused) as caught:
        sessions.open(sessions.issue())
    assert caught.value.problem.status == 429


def test_a_start_sweeps_away_what_a_dead_server_left_and_nothing_else(tmp_path: Path) -> None:
    dead, alive = ServerFolder(tmp_path), ServerFolder(tmp_path)
    (dead.path / "session").mkdir()
    (dead.path / "session" / "scan").write_bytes(b"secret")
    os.close(dead._lock)  # as a kill -9 leaves it
    starting = tmp_path / f"{PREFIX}starting"
    starting.mkdir()
    other = tmp_path / "tumorseg-other"
    other.mkdir()
    link = tmp_path / f"{PREFIX}link"
    link.symlink_to(other)
    third = ServerFolder(tmp_path)
    assert third.swept == 1
    assert not dead.path.exists()
    assert alive.path.exists() and starting.exists() and other.exists() and link.is_symlink()
    assert oct(third.path.stat().st_mode)[-3:] == "700"
    for folder in (alive, third):
        folder.remove()
        assert not folder.path.exists()
