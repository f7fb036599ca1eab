"""The installed command: it starts, says where, and leaves nothing behind, however it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tiny_model import write_model
from tumorseg.web.folder import PREFIX
from web_server import PATIENCE, deep, send, wait_for

COMMAND = [sys.executable, "-m", "tumorseg", "serve", "--port", "0", "--workers", "1"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@contextmanager
def started(folder: Path, model: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command as a process of its own, and its address."""
    folder.mkdir(exist_ok=True)
    errors = open(folder.with_suffix(".err"), "w+")  # noqa: SIM115 - for as long as the process
    command = [*COMMAND, "--model", str(model), "--folder", str(folder), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=folder.parent)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), errors.read()
        wait_for(lambda: httpx2.get(f"{address}/readyz").status_code == 200)
        yield process, address
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE)
        errors.close()


def left(folder: Path) -> list[Path]:
    return list(folder.glob(f"{PREFIX}*"))


def children(process: subprocess.Popen[str]) -> list[int]:
    """Its worker processes."""
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(word) for word in found]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_sigterm_ends_it_cleanly_while_it_works(tmp_path: Path, model: Path) -> None:
    with started(tmp_path / "server", model) as (process, address), httpx2.Client(base_url=address) as person:
        place = person.post("/v1/segmentations", files={"file": ("deep.npy", deep(2000))}).headers["location"]
        wait_for(lambda: person.get(place).json()["status"] != "queued")
        workers = children(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert left(tmp_path / "server") == []
        wait_for(lambda: not any(map(alive, workers)))
    assert "Traceback" not in (tmp_path / "server.err").read_text()


def test_after_kill_9_nothing_stale_is_left_and_clients_are_told(tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "server"
    with httpx2.Client(timeout=PATIENCE) as person:
        with started(folder, model) as (process, address):
            person.base_url = httpx2.URL(address)
            job = send(person)
            workers = children(process)
            process.kill()
            process.wait(PATIENCE)
            assert len(left(folder)) == 1, "a killed process cannot tidy up"
            wait_for(lambda: not any(map(alive, workers)))
        with started(folder, model) as (_, address):
            person.base_url = httpx2.URL(address)
            assert len(left(folder)) == 1
            assert not list(folder.rglob("*.u8"))
            answer = person.get(f"/v1/segmentations/{job['id']}")
            assert answer.status_code == 404 and "restarted" in answer.json()["next_step"]
            assert send(person)["status"] == "done"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "nothing"], "model nothing does not exist"),
        (["--port", "70000"], "65535"),
        (["--host", "203.0.113.7"], "cannot listen on 203.0.113.7"),
        (["--token", "missing.txt"], "--token missing.txt cannot be read"),
        (["--token", "short.txt"], "no token of 16"),
        (["--workers", "0"], "workers"),
        (["--queue", "many"], "queue"),
        (["--folder", "/proc/nothing"], "--folder"),
    ],
)
def test_what_cannot_be_served_ends_in_one_line(tmp_path: Path, options: list[str], said: str) -> None:
    (tmp_path / "short.txt").write_text("secret\n")
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, cwd=tmp_path, timeout=PATIENCE)
    assert done.returncode == 2
    assert said in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "secret" not in done.stderr


def test_the_server_itself_loads_nothing_that_decodes(model: Path) -> None:
    code = (
        "import sys\nfrom tumorseg.web.app import create_app\nfrom tumorseg.web.settings import ServeSettings\n"
        f"app = create_app(ServeSettings(models=({str(model)!r},)))\napp.state.server.folder.remove()\n"
        "heavy = ('torch', 'onnxruntime', 'scipy', 'pydicom', 'nibabel', 'h5py', 'matplotlib')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_environment_sets_what_flags_do(tmp_path: Path, model: Path) -> None:
    environment = {**os.environ, "TUMORSEG_SERVE_MAX_SLICES": "7", "TUMORSEG_TOKEN": "0123456789abcdef"}
    folder = tmp_path / "server"
    folder.mkdir()
    command = [*COMMAND, "--model", str(model), "--folder", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        wait_for(lambda: _answers(address))
        assert httpx2.get(f"{address}/v1/limits").status_code == 401
        headers = {"Authorization": "Bearer 0123456789abcdef"}
        limits = httpx2.get(f"{address}/v1/limits", headers=headers).json()
        assert limits["max_slices"] == 7 and limits["token"]
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
    assert left(folder) == []


def _answers(address: str) -> bool:
    try:
        return httpx2.get(f"{address}/healthz").status_code == 200
    except httpx2.TransportError:
        time.sleep(0.05)
        return False
