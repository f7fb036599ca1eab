"""Many people at once: a server under load, against the command line's throughput on the same slices in the same run.

    python benchmarks/serving.py kaggle_3m [--clients 32] [--seconds 180] [--workers N] [--slices 200]

First `tumorseg segment` works off a folder of single slices, each a scan of its own. Then a server is started, and each
client in a thread of its own posts one slice after the other, waits for the answer, takes the mask and deletes the job;
one that is told 429 waits as Retry-After says. What counts: accepted requests a second (from the first to the last
answer), their 95th percentile from the first byte sent to the whole answer, answers other than 201 and 429, and the
memory of the server and its workers after a tenth of the time and at the end. Clients run on the same cores, and cost
some of them. Exit code 1 where a promise does not hold: p95 under 1.5 s, at least 0.8 of the command line's throughput,
no other failure, memory within 10 %.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

P95_SECONDS = 1.5
SHARE = 0.8
GROWTH = 1.1


def slices_of(data: Path, count: int) -> list[Path]:
    """Slices from all patients."""
    images = sorted(path for path in data.rglob("*.tif") if not path.stem.endswith("_mask"))
    return [images[index] for index in np.linspace(0, len(images) - 1, count).astype(int)]


def command_line(images: list[Path], folder: Path, model: list[str]) -> float:
    """Slices a second of `tumorseg segment`, start and end of the process left out by a run on one slice."""
    seconds = []
    for name, count in (("one", 1), ("all", len(images))):
        home = folder / name
        for index, image in enumerate(images[:count]):
            (home / f"s{index:05}").mkdir(parents=True)
            shutil.copy(image, home / f"s{index:05}" / "slice.tif")
        started = time.monotonic()
        command = [sys.executable, "-m", "tumorseg", "segment", str(home), "--output", str(folder / f"{name}-masks")]
        subprocess.run([*command, *model], check=True, capture_output=True)
        seconds.append(time.monotonic() - started)
    return (len(images) - 1) / (seconds[1] - seconds[0])


class Client:
    """Somebody who posts slice after slice until the time is over."""

    def __init__(self, address: str, contents: list[bytes], end: float, first: int) -> None:
        self.answers: Counter[int] = Counter()
        self.seconds: list[float] = []
        self.errors: list[str] = []
        self._address, self._contents, self._end, self._next = address, contents, end, first

    def run(self) -> None:
        with httpx2.Client(base_url=self._address, timeout=120) as client:
            while time.monotonic() < self._end:
                try:
                    self._once(client)
                except httpx2.HTTPError as error:
                    self.errors.append(type(error).__name__)

    def _once(self, client: httpx2.Client) -> None:
        content = self._contents[self._next % len(self._contents)]
        self._next += 1
        started = time.monotonic()
        answer = client.post("/v1/segmentations", files={"file": ("s.tif", content)}, data={"wait": "60"})
        took = time.monotonic() - started
        self.answers[answer.status_code] += 1
        if answer.status_code == 429:
            time.sleep(min(float(answer.headers["retry-after"]), max(0.0, self._end - time.monotonic())))
            return
        if answer.status_code != 201 or answer.json()["status"] != "done":
            self.errors.append(answer.text[:200])
            return
        self.seconds.append(took)
        place = answer.headers["location"]
        if client.get(f"{place}/scans/1/volume/probability").status_code != 200:
            self.errors.append("no probability")
        client.delete(place)


def tree_memory(pid: int) -> float:
    """MiB of a process and its children, shared pages counted once."""
    pids = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    kib = 0
    for each in pids:
        for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                kib += int(line.split()[1])
    return kib / 1024


def load(address: str, pid: int, contents: list[bytes], clients: int, seconds: float) -> dict[str, Any]:
    """Let all clients work, and say what came of it."""
    end = time.monotonic() + seconds
    people = [Client(address, contents, end, first) for first in range(clients)]
    threads = [threading.Thread(target=person.run) for person in people]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    time.sleep(seconds / 10)
    early = tree_memory(pid)
    for thread in threads:
        thread.join()
    took = time.monotonic() - started
    times = [value for person in people for value in person.seconds]
    return {
        "accepted": len(times),
        "per_second": len(times) / took,
        "p50": float(np.percentile(times, 50)),
        "p95": float(np.percentile(times, 95)),
        "longest": max(times),
        "answers": dict(sum((person.answers for person in people), Counter())),
        "errors": [error for person in people for error in person.errors],
        "memory_early_mib": early,
        "memory_late_mib": tree_memory(pid),
    }


def main() -> int:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--slices", type=int, default=200)
    parser.add_argument("--queue", type=int)
    parser.add_argument("--model", default="")
    arguments = parser.parse_args()
    images = slices_of(arguments.data, arguments.slices)
    model = ["--model", arguments.model] if arguments.model else []
    with tempfile.TemporaryDirectory(prefix="tumorseg-bench-") as name:
        folder = Path(name)
        alone = command_line(images, folder, model)
        (folder / "server").mkdir()
        command = [sys.executable, "-m", "tumorseg", "serve", "--port", "0", "--folder", str(folder / "server"), *model]
        command += ["--workers", str(arguments.workers)] if arguments.workers else []
        command += ["--queue", str(arguments.queue)] if arguments.queue else []
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            while httpx2.get(f"{address}/readyz").status_code != 200:
                time.sleep(0.1)
            contents = [image.read_bytes() for image in images]
            found = load(address, process.pid, contents, arguments.clients, arguments.seconds)
        finally:
            process.terminate()
            process.wait(300)
        left = [str(path) for path in (folder / "server").rglob("*")]
    found |= {"command_line_per_second": alone, "share": found["per_second"] / alone, "files_left": left}
    kept = {
        "p95": found["p95"] < P95_SECONDS,
        "share": found["share"] >= SHARE,
        "errors": not found["errors"] and set(found["answers"]) <= {201, 429},
        "memory": found["memory_late_mib"] <= GROWTH * found["memory_early_mib"],
        "files": not left,
    }
    print(json.dumps({**vars(arguments), "data": str(arguments.data), **found, "kept": kept}, indent=2))
    return 0 if all(kept.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
