"""Thousands of uploads that no scanner wrote: does the server live, forget them, and give its memory back?

    python benchmarks/hostile.py [--uploads 2000] [--seed 0]

Each upload is one of the builders of tests/hostile_files.py, or a whole small scan of some format that was cut off,
had bytes flipped or repeated, got another format's name, was joined to another format, or was packed into a ZIP that
lies; sometimes as a reference, sometimes with nonsense in the other fields. A whole scan is sent after every hundred
and must be segmented. Exit code 1 where an answer was a 5xx, was no problem, or held a path or a trace; where the
server went, or its memory stayed more than 20 % above its level after the first quarter; or where a file was left.
"""

import argparse
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import numpy as np

import hostile_files
from segmenting import marked, write_dicom, write_nifti, write_pictures
from serving import tree_memory

GROWTH = 1.2
LIMIT = 20 * 2**20
TELLTALE = ("/tmp", "Traceback", 'File "', "site-packages", ".py:")


def whole_files(folder: Path) -> dict[str, bytes]:
    """A small scan of every format, by name."""
    write_pictures(folder)
    write_nifti(folder / "v.nii.gz", marked(4))
    write_nifti(folder / "w.nii", marked(4))
    (first, *_) = write_dicom(folder / "series", marked(2, dtype=np.uint16))
    return {path.name: path.read_bytes() for path in [*folder.iterdir(), first] if path.is_file()}


class Built:
    """What the builders make, as uploads; each is made when it is first wanted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._builders = {**hostile_files.REFUSED, **hostile_files.WHOLE}
        self._made: dict[str, list[tuple[str, bytes]]] = {}

    def draw(self, draw: random.Random) -> list[tuple[str, bytes]]:
        """The files of one of them; empty where this machine cannot make it, or it is too large to send often."""
        name = draw.choice(sorted(self._builders))
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name: str) -> list[tuple[str, bytes]]:
        home = self._folder / str(len(self._made))
        home.mkdir()
        try:
            found = self._builders[name](home)
        except (OSError, RuntimeError):
            return []
        paths = [found] if os.path.isfile(found) else sorted(found.rglob("*")) if os.path.isdir(found) else []
        files = [path for path in paths if path.is_file() and not path.is_symlink()]
        return [(_sendable(path.name), path.read_bytes()) for path in files if path.stat().st_size < LIMIT][:50]


def _sendable(name: str) -> str:
    """A name that is no UTF-8 on the disk, as a client can send it."""
    return name.encode("utf-8", "replace").decode("utf-8")


def spoiled(draw: random.Random, whole: dict[str, bytes]) -> list[tuple[str, bytes]]:
    """One whole file made worse."""
    name = draw.choice(sorted(whole))
    content = bytearray(whole[name])
    kind = draw.randrange(7)
    if kind == 0:
        content = content[: draw.randrange(len(content))]
    elif kind == 1:
        for _ in range(draw.randrange(1, 40)):
            content[draw.randrange(len(content))] = draw.randrange(256)
    elif kind == 2:
        head = min(len(content), 400)
        for _ in range(draw.randrange(1, 12)):
            content[draw.randrange(head)] = draw.choice((0, 1, 127, 128, 255))
    elif kind == 3:
        name = draw.choice(sorted(whole))
    elif kind == 4:
        other = whole[draw.choice(sorted(whole))]
        content = bytearray(other[: draw.randrange(len(other))] + bytes(content))
    elif kind == 5:
        start = draw.randrange(len(content))
        content[start:start] = content[start : start + draw.randrange(1, 5000)] * draw.randrange(1, 20)
    else:
        return [("pack.zip", lying_zip(draw, name, bytes(content)))]
    return [(draw.choice(("", "../", "/etc/", "a/b/", "\x00")) + name, bytes(content))]


def lying_zip(draw: random.Random, name: str, content: bytes) -> bytes:
    """A ZIP that points out of itself, is cut off, lies about sizes, or holds the same name twice."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        place = draw.choice(("", "../../", "/etc/", "C:\\", "d/" * 60)) + name
        archive.writestr(place, content)
        if draw.random() < 0.3:
            archive.writestr("zeros.tif", bytes(draw.choice((10**5, 5 * 10**7))))
        if draw.random() < 0.2:
            archive.writestr("inner.zip", buffer.getvalue())
    packed = bytearray(buffer.getvalue())
    if draw.random() < 0.5:
        for _ in range(draw.randrange(1, 10)):
            packed[draw.randrange(len(packed))] = draw.randrange(256)
    return bytes(packed[: draw.randrange(len(packed))]) if draw.random() < 0.2 else bytes(packed)


def attack(client: httpx2.Client, draw: random.Random, files: list[tuple[str, bytes]]) -> tuple[str, list[str]]:
    """Send one upload, look at all that is answered, and delete it: what became of it, and what is wrong with that."""
    parts = [("file", part) for part in files]
    if draw.random() < 0.1:
        parts.append(("reference", draw.choice(files)))
    data = {"wait": "60"}
    if draw.random() < 0.1:
        data["channels"] = draw.choice(("flair=0", "flair=*", "pre=9 flair=8", "=", "flair=../..", "a=b=c", "x" * 9000))
    answer = client.post("/v1/segmentations", files=parts, data=data)
    wrong = refusal(answer)
    if answer.status_code not in (201, 202):
        return str(answer.status_code), wrong
    place, job = answer.headers["location"], answer.json()
    for scan in job["scans"]:
        kind = draw.choice(scan["downloads"])
        wrong += refusal(client.get(f"{place}/scans/{scan['index']}/files/{kind}"))
        wrong += refusal(client.get(f"{place}/scans/{scan['index']}/volume/image"))
        sent = {"file": draw.choice(files)}
        wrong += refusal(client.put(f"{place}/scans/{scan['index']}/reference", files=sent))
    wrong += refusal(client.delete(place))
    state = job["status"] if job["error"] is None else f"{job['status']} {job['error']['status']}"
    return state, wrong


def refusal(answer: httpx2.Response) -> list[str]:
    """What is wrong with an answer."""
    kind = answer.headers.get("content-type", "")
    wrong = []
    if answer.status_code >= 500:
        wrong.append(f"{answer.status_code}: {answer.text[:200]}")
    if answer.status_code >= 400 and kind != "application/problem+json":
        wrong.append(f"{answer.status_code} is no problem: {answer.text[:200]}")
    if "json" in kind and any(word in answer.text for word in TELLTALE):
        wrong.append(f"tells too much: {answer.text[:300]}")
    return wrong


def main() -> int:
    """Attack, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uploads", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    outcomes: Counter[str] = Counter()
    wrong: list[Any] = []
    with tempfile.TemporaryDirectory(prefix="tumorseg-hostile-") as name:
        folder = Path(name)
        for part in ("server", "whole", "built"):
            (folder / part).mkdir()
        whole, made = whole_files(folder / "whole"), Built(folder / "built")
        command = [sys.executable, "-m", "tumorseg", "serve", "--port", "0", "--folder", str(folder / "server")]
        log = open(folder / "log", "w+")  # noqa: SIM115 - for as long as the server
        process = subprocess.Popen([*command, "--max-seconds", "30"], stdout=subprocess.PIPE, stderr=log, text=True)
        started = time.monotonic()
        sizes: list[float] = []
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            with httpx2.Client(base_url=address, timeout=120) as client:
                while client.get("/readyz").status_code != 200:
                    time.sleep(0.1)
                for index in range(arguments.uploads):
                    files = (made.draw(draw) if draw.random() < 0.25 else []) or spoiled(draw, whole)
                    state, found = attack(client, draw, files)
                    outcomes[state] += 1
                    wrong += [{"upload": index, "file": files[0][0], "what": each} for each in found]
                    if index % 100 == 99:
                        sent = {"file": ("v.nii.gz", whole["v.nii.gz"])}
                        good = client.post("/v1/segmentations", files=sent, data={"wait": "60"})
                        if good.status_code != 201 or good.json()["status"] != "done":
                            wrong.append({"upload": index, "what": f"a whole scan failed: {good.text[:200]}"})
                        client.delete(good.headers["location"])
                        sizes.append(round(tree_memory(process.pid), 1))
                text = client.get("/metrics").text
                starts = next(line for line in text.splitlines() if line.startswith("tumorseg_worker_starts "))
                late = tree_memory(process.pid)
                left = [path.name for path in (folder / "server").rglob("*") if path.is_file() and path.name != "lock"]
        finally:
            process.terminate()
            code = process.wait(300)
        log.seek(0)
        said = log.read()
        after = [path.name for path in (folder / "server").iterdir()]
    # By the first quarter every format has been met, and the library that reads it was loaded.
    level = sizes[len(sizes) // 4] if sizes else 0.0
    result = {
        "uploads": arguments.uploads,
        "outcomes": dict(outcomes.most_common()),
        "wrong": wrong[:20],
        "wrong_count": len(wrong),
        "memory_mib_every_100": sizes,
        "memory_early_mib": level,
        "memory_late_mib": late,
        "workers_started": starts.split()[1],
        "files_left": left,
        "left_after_end": after,
        "exit_code": code,
        "log_lines": len(said.splitlines()),
        "log": said.splitlines()[:10],
        "traces_in_log": said.count("Traceback"),
        "seconds": round(time.monotonic() - started),
    }
    print(json.dumps(result, indent=2))
    bad = wrong or left or after or code or result["traces_in_log"] or (level and late > GROWTH * level)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
