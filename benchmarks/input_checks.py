"""What a model says of scans as they are, and of scans that are wrong: false alarms and hits, counted.

    python benchmarks/input_checks.py --run RUN --data DIR [--model MODEL] [--every 4] [--output FILE.json]
    python benchmarks/input_checks.py --folds 5 --data DIR [--every 4] [--output FILE.json]

Scans as they are: the validation patients of the run's split, of which nothing was learned and by which no limit was
chosen; whole, and each slice alone. Disturbed: the same, in every wrong order of the channels, turned, inverted, with
Rician noise. Further: pictures and medical images of other things, from the wheels of pydicom and, where they are
installed, scikit-learn, matplotlib and scikit-image. The network is not computed: what is said of the input counts.

With --folds every patient is judged by checks that were learned from those of the other folds. Lone slices as they
are from the outer tenths of a scan, the neck and the vertex, are counted by themselves, and so are those in which
hardly any of a head shows.
"""

import argparse
import importlib.util
import json
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
from numpy.typing import NDArray

from tumorseg.datasets.dealing import make_split
from tumorseg.datasets.split import read_split
from tumorseg.datasets.store import prepare
from tumorseg.disturbances import DISTURBANCES, disturb, scale_of
from tumorseg.inference.model import read_model
from tumorseg.inference.trust import ENDS, Usual, input_cautions, told_apart
from tumorseg.portrait import portrait
from tumorseg.recipe_file import load_recipe
from tumorseg.training.usual import learn_usual, with_head

NOISES = (0.05, 0.1, 0.2)
PICTURES = {"sklearn": "datasets/images", "matplotlib": "mpl-data/sample_data", "skimage": "data"}
"""Packages whose wheels hold pictures, and where in them."""

BODIES = {
    "CT_small.dcm": "CT, abdomen",
    "693_J2KI.dcm": "CT",
    "MR_small.dcm": "MR, 64 x 64",
    "examples_overlay.dcm": "MR, abdomen",
    "JPEG2000.dcm": "bone scan",
    "examples_jpeg2k.dcm": "ultrasound",
    "examples_palette.dcm": "ultrasound",
    "examples_rgb_color.dcm": "ultrasound",
    "ExplVR_BigEnd.dcm": "ultrasound, 80 x 60",
    "image_dfl.dcm": "a test pattern",
}
"""Files of pydicom's wheel that hold pixels of something that is no head on MRI."""

LARGEST = 700

Pixels = NDArray[Any]
Counts = dict[str, list[int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--run", type=Path, help="whose split names the validation patients")
    which.add_argument("--folds", type=int, help="learn from the patients of all folds but one, and judge that one's")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="lgg")
    parser.add_argument("--every", type=int, default=4, help="of lone slices that are disturbed")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.folds:
        held_out(options.data, options.folds, options.every, options.output)
        return
    spec = read_model(options.model).spec
    if spec.usual is None:
        raise SystemExit(f"{options.model} has no input checks")
    channels, usual = spec.channels, spec.usual
    result: dict[str, Any] = {"learned_from": usual.patients, "cross_validation": [usual.false_alarms, usual.hits]}
    scans = prepare(options.data).scans_of(read_split(options.run / "split.csv"), "val")
    whole: Counts = {}
    lone: Counts = {}
    alarms: list[str] = []
    for scan in scans:
        index = [scan.channels.index(name) for name in channels]
        pixels = np.ascontiguousarray(scan.pixels[..., index])
        alarms += judge(scan.patient, pixels, usual, channels, options.every, whole, lone)
        print(scan.patient, alarms[-1:], flush=True)
    others: Counts = {}
    missed = []
    for kind, name, pixels in other_things():
        if not count(others, kind, fitted(pixels, len(channels)), usual, channels):
            missed.append(name)
    result |= {"whole": whole, "lone": lone, "others": others, "missed": missed, "alarms": alarms}
    tell({"whole scans": whole, "lone slices": lone, "other things": others})
    print("missed:", ", ".join(missed))
    print("alarms:", *alarms, sep="\n  ")
    if options.output:
        options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def judge(
    patient: str, pixels: Pixels, usual: Usual, channels: tuple[str, ...], every: int, whole: Counts, lone: Counts
) -> list[str]:
    """Count what is said of one scan and of each of its slices, and give the false alarms in words."""
    alarms = []
    for name, given in disturbed(pixels):
        said = count(whole, name, given, usual, channels)
        if said and name == "as it is":
            alarms.append(f"{patient}: {', '.join(said)}")
    places, last = np.arange(len(pixels)), len(pixels) - 1
    outer = (places < ENDS * last) | (places > (1 - ENDS) * last)
    kinds = np.where(with_head(pixels), np.where(outer, ", outer tenths", ""), ", hardly a head")
    for place, kind in zip(places, kinds, strict=True):
        alone = pixels[place : place + 1]
        for name, given in disturbed(alone) if place % every == 0 else [("as it is", alone)]:
            said = count(lone, name + kind if name == "as it is" else name, given, usual, channels)
            if said and name == "as it is":
                alarms.append(f"{patient} slice {place + 1} of {last + 1}{kind}: {', '.join(said)}")
    return alarms


def held_out(data: Path, folds: int, every: int, output: Path | None) -> None:
    """Learn and judge fold by fold, and say what was counted over all of them."""
    store = prepare(data)
    whole: Counts = {}
    lone: Counts = {}
    alarms: list[str] = []
    for fold in range(folds):
        split = make_split(store, load_recipe("default").split, fold=fold, folds=folds)
        usual = learn_usual([*store.scans_of(split, "train"), *store.scans_of(split, "val")], store.channels)
        if usual is None:
            raise SystemExit(f"{data} has too few patients to learn from")
        for scan in store.scans_of(split, "test"):
            alarms += judge(scan.patient, scan.pixels, usual, store.channels, every, whole, lone)
        print(f"fold {fold}: {len(alarms)} false alarms up to here", flush=True)
    tell({"whole scans": whole, "lone slices": lone})
    print("alarms:", *alarms, sep="\n  ")
    if output:
        output.write_text(
            json.dumps({"whole": whole, "lone": lone, "alarms": alarms}, indent=2) + "\n", encoding="utf-8"
        )


def tell(found: dict[str, Counts]) -> None:
    """Print every count."""
    for title, counts in found.items():
        for name, (times, rightly, of) in counts.items():
            print(f"{title}: {name}: {times} of {of} warned of ({100 * times / of:.1f} %), {rightly} by name")


def disturbed(pixels: Pixels) -> Iterator[tuple[str, Pixels]]:
    """(slices, height, width, channels) as it is, and in each way wrong; what changes nothing is left out."""
    yield "as it is", pixels
    frame = portrait(pixels[len(pixels) // 2].astype(np.float32) / 255)
    if frame is not None and told_apart([frame]):
        for order in list(permutations(range(pixels.shape[-1])))[1:]:
            yield f"order {order}", pixels[..., list(order)]
    for quarters in (1, 2, 3):
        yield f"turned by {90 * quarters}", np.rot90(pixels, quarters, axes=(1, 2))
    yield "inverted", 255 - pixels
    noise = next(each for each in DISTURBANCES if each.key == "noise")
    nothing = np.zeros(pixels.shape[:3], np.uint8)
    for strength in NOISES:
        drawn = noise.draw(strength, pixels.shape, np.random.default_rng(0))
        yield f"noise {strength}", disturb(pixels, nothing, drawn, scale_of(pixels))[0]


def count(counts: Counts, name: str, pixels: Pixels, usual: Usual, channels: tuple[str, ...]) -> list[str]:
    """Add one to what was warned of, to what was named rightly, and to all; and give the codes."""
    said = [caution.code for caution in input_cautions(pixels, usual, channels)]
    right = {"order": "order", "turned": "turned", "inverted": "inverted", "noise": "noise"}.get(name.split()[0])
    row = counts.setdefault(name, [0, 0, 0])
    row[0] += bool(said)
    row[1] += right in said or (right is None and bool(said))
    row[2] += 1
    return said


def other_things() -> Iterator[tuple[str, str, Pixels]]:
    """Kind, name, and pixels (1, height, width, channels)."""
    random = np.random.default_rng(0)
    for side in (64, 256, 512):
        yield "pure noise", f"noise {side}", random.integers(0, 256, (1, side, side, 3), dtype=np.uint8)
    for name, inside in PICTURES.items():
        folder = package(name)
        if folder is None:
            print(f"{name} is not installed; its pictures are left out")
            continue
        for path in sorted((folder / inside).iterdir()):
            if path.suffix in (".jpg", ".png") and path.name not in ("phantom.png", "logo2.png"):
                picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
                assert picture is not None
                scale = min(1.0, LARGEST / max(picture.shape))
                yield "pictures", path.name, cv2.resize(picture, None, fx=scale, fy=scale, interpolation=3)[None]
    for name, what in BODIES.items():
        dataset = pydicom.dcmread(Path(pydicom.__file__).parent / "data" / "test_files" / name)
        pixels = dataset.pixel_array
        yield "other body parts", f"{name} ({what})", pixels[None, ..., None] if pixels.ndim == 2 else pixels[None]


def package(name: str) -> Path | None:
    """Where a package is installed; None where it is not."""
    found = importlib.util.find_spec(name)
    return Path(found.submodule_search_locations[0]) if found and found.submodule_search_locations else None


def fitted(pixels: Pixels, channels: int) -> Pixels:
    """As many channels as the model sees: a lone one stands for all, as FLAIR does in use."""
    return pixels if pixels.shape[-1] == channels else np.repeat(pixels[..., :1], channels, axis=-1)


if __name__ == "__main__":
    main()
