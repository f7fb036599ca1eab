"""From files to mask files: our speed against torch's, with the same network, on real slices.

    python benchmarks/inference.py RUN --data kaggle_3m [--model lgg] [--slices 300] [--rounds 3] [--many 20000]

Two peers compute the run's network in torch, eager, float32: `plain` as scripts that one finds do it (OpenCV reads a
slice, divides by 255, one slice at a time, OpenCV writes the mask), and `batches` of 16 in channels-last order, read
and written the same way. Ours is what `tumorseg segment` does, of the export of the same run: `full frame` in float32
without test-time flips, which is the same work; `default` with the model's flips; `fast`, as the export measured it.

Each is a process of its own, in turns; what is timed begins once the network is loaded and has seen one slice, and ends
with the last mask on the disk. The best round counts. Processor time is given too, since it tells about as much on a
machine that does other things. `--many` then segments 100, 1,000, … copies of the slices for time and memory. Cold
start is the whole command on one slice, from the shell's point of view.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import cv2
import numpy as np

PEERS = ("plain", "batches")
OURS = ("full frame", "default", "fast")
BATCH = 16
COLD_STARTS = 5


def patients_of(data: Path) -> list[list[Path]]:
    """The images of each patient."""
    folders = sorted(path for path in data.rglob("*") if path.is_dir())
    found = [sorted(path for path in folder.glob("*.tif") if not path.stem.endswith("_mask")) for folder in folders]
    return [images for images in found if images]


def fill(folder: Path, data: Path, slices: int) -> Path:
    """A folder with that many slices of whole patients, as links to the files; patients come again as copies."""
    left = slices
    for number, images in enumerate(cycle(patients_of(data))):
        home = folder / f"P{number:05}"
        home.mkdir(parents=True)
        for index, image in enumerate(images[:left], 1):
            try:
                os.link(image, home / f"{home.name}_{index}.tif")
            except OSError:  # another file system
                shutil.copy(image, home / f"{home.name}_{index}.tif")
        left -= len(images)
        if left <= 0:
            return folder
    raise SystemExit(f"{data} holds no slices")


def network_of(run: Path) -> Any:
    """The run's network in torch, with its weights; of an ensemble all, joined."""
    from tumorseg.training.trained_run import open_run

    return open_run(run).network()


def torch_way(run: Path, scans: Path, output: Path, *, batch: int) -> Callable[[], int]:
    """What a peer does, once it is ready."""
    import torch

    from tumorseg.inference.model import read_model

    network = network_of(run)
    stack = read_model(run).spec.stack
    order = torch.channels_last if batch > 1 else torch.contiguous_format
    network = network.to(memory_format=order)

    def segment(images: list[Path]) -> None:
        frames = [np.asarray(cv2.imread(str(image), cv2.IMREAD_UNCHANGED)) for image in images]
        given = torch.from_numpy(np.stack(frames).transpose(0, 3, 1, 2).astype(np.float32) / 255)
        given = given.repeat(1, stack, 1, 1)  # a plain script would have its neighbours at hand already
        with torch.no_grad():
            masks = torch.sigmoid(network(given.contiguous(memory_format=order)))[:, 0].numpy() > 0.5
        for image, mask in zip(images, masks, strict=True):
            target = output / image.parent.name / f"{image.stem}_mask.tif"
            target.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(target), mask.astype(np.uint8) * 255)

    def work() -> int:
        images = sorted(scans.rglob("*.tif"))
        for start in range(0, len(images), batch):
            segment(images[start : start + batch])
        return len(images)

    segment(sorted(scans.rglob("*.tif"))[:1] * batch)
    shutil.rmtree(output)
    return work


def our_way(model: str, scans: Path, output: Path, *, way: str, workers: int) -> Callable[[], int]:
    """What `tumorseg segment` does, once it is ready."""
    from tumorseg.inference.batch import segment_listing
    from tumorseg.inference.inputs import find_inputs
    from tumorseg.inference.model import Model, read_model
    from tumorseg.inference.predictor import Predictor

    found = read_model(model)
    if way == "full frame":
        found = Model(found.spec.model_copy(update={"test_time_flips": ()}), found.folder)
    predictor = Predictor(found, fast=way == "fast")

    def work() -> int:
        return segment_listing(find_inputs([scans]), predictor, output, workers=workers).masks

    with tempfile.TemporaryDirectory() as folder:
        one = find_inputs(sorted(scans.rglob("*.tif"))[:1])
        segment_listing(one, predictor, Path(folder), workers=workers)
    return work


def child(way: str, arguments: argparse.Namespace) -> None:
    """Time one way and print the numbers as JSON."""
    scans, output = arguments.scans, arguments.output
    if way in PEERS:
        work = torch_way(arguments.run, scans, output, batch=1 if way == "plain" else BATCH)
    else:
        work = our_way(arguments.model, scans, output, way=way, workers=arguments.workers)
    began, spent = time.perf_counter(), time.process_time()
    slices = work()
    seconds, spent = time.perf_counter() - began, time.process_time() - spent
    peak = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    print(json.dumps({"slices": slices, "seconds": seconds, "cpu": spent, "mib": int(peak) / 1024}))


def timed(way: str, scans: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """The numbers of one round."""
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as output:
        words = [sys.executable, __file__, str(arguments.run), "--data", str(arguments.data), "--child", way]
        words += ["--scans", str(scans), "--output", output, "--model", arguments.model]
        words += ["--workers", str(arguments.workers)]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{way} failed:\n{done.stderr}")
        numbers: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return numbers


def rounds(scans: Path, arguments: argparse.Namespace) -> None:
    """Both peers and ours, in turns."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in (*PEERS, *OURS)}
    for _ in range(arguments.rounds):
        for way, numbers in found.items():
            numbers.append(timed(way, scans, arguments))
    best = {way: min(numbers, key=lambda each: each["seconds"]) for way, numbers in found.items()}
    least = {way: min(each["cpu"] for each in numbers) for way, numbers in found.items()}
    peer = min(best[way]["seconds"] for way in PEERS)
    peer_cpu = min(least[way] for way in PEERS)
    slices = int(best["plain"]["slices"])
    print(f"{slices} slices, best of {arguments.rounds} rounds in turns, {os.cpu_count()} cores")
    print("| way | slices/s | times the faster peer | processor ms a slice | the same ratio | MiB |")
    print("|---|--:|--:|--:|--:|--:|")
    for way, quickest in best.items():
        print(
            f"| {way} | {slices / quickest['seconds']:.1f} | {peer / quickest['seconds']:.2f} "
            f"| {1000 * least[way] / slices:.1f} | {peer_cpu / least[way]:.2f} | {quickest['mib']:.0f} |"
        )


def sizes(most: int) -> Iterator[int]:
    """100, 1,000, … and `most`."""
    size = 100
    while size < most:
        yield size
        size *= 10
    yield most


def many(arguments: argparse.Namespace) -> None:
    """Time and memory of ever more slices, the fast way."""
    print("\n| slices | ms a slice | MiB |\n|--:|--:|--:|")
    for slices in sizes(arguments.many):
        with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
            numbers = timed("fast", fill(Path(folder) / "scans", arguments.data, slices), arguments)
        print(
            f"| {slices:,} | {1000 * numbers['seconds'] / numbers['slices']:.2f} | {numbers['mib']:.0f} |", flush=True
        )


def cold_start(scans: Path, arguments: argparse.Namespace) -> None:
    """Seconds of the whole command on one slice."""
    command = shutil.which("tumorseg", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if command is None:
        sys.exit("tumorseg is not installed")
    took = []
    for _ in range(COLD_STARTS):
        with tempfile.TemporaryDirectory(dir=arguments.scratch) as output:
            words = [command, "-q", "segment", str(sorted(scans.rglob("*.tif"))[0]), "--output", output]
            began = time.perf_counter()
            subprocess.run([*words, "--model", arguments.model], check=True, capture_output=True)
            took.append(time.perf_counter() - began)
    print(f"\none slice, from typing to mask: {min(took):.2f} s (best of {COLD_STARTS}; median {np.median(took):.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="its network is the peers'")
    parser.add_argument("--data", type=Path, required=True, help="the folder kaggle_3m")
    parser.add_argument("--model", default="lgg", help="the export of the same run")
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--many", type=int, default=0, help="also time 100, 1,000, … and so many slices")
    parser.add_argument("--scratch", type=Path, help="a folder for links and masks, best on the file system of --data")
    parser.add_argument("--child", choices=(*PEERS, *OURS), help=argparse.SUPPRESS)
    parser.add_argument("--scans", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments)
        return
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
        scans = fill(Path(folder) / "scans", arguments.data, arguments.slices)
        rounds(scans, arguments)
        cold_start(scans, arguments)
    if arguments.many:
        many(arguments)


if __name__ == "__main__":
    main()
