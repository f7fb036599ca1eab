"""A synthetic data set in the layout of the LGG set, for trying and testing everything without anybody's scans."""

import csv
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorseg.datasets.phantom_anatomy import Head, Layer, Volume, build_head, slice_heights, smooth_field
from tumorseg.datasets.phantom_findings import (
    PaintedLesion,
    bright_structures,
    draw_lesion,
    paint_lesion,
    reference_of,
)
from tumorseg.errors import DataError, OutputError
from tumorseg.files import atomic_folder
from tumorseg.progress import Progress, silent

SEQUENCES = ("pre", "flair", "post")

CLINICAL_COLUMNS = (
    "Patient", "RNASeqCluster", "MethylationCluster", "miRNACluster", "CNCluster", "RPPACluster", "OncosignCluster",
    "COCCluster", "histological_type", "neoplasm_histologic_grade", "tumor_tissue_site", "laterality",
    "tumor_location", "gender", "age_at_initial_pathologic", "race", "ethnicity", "death01",
)  # fmt: skip

BRIGHTNESS: Mapping[str, tuple[float, float, float]] = {
    "air": (0.02, 0.02, 0.02),
    "skin": (0.42, 0.46, 0.46),
    "fat": (0.95, 0.78, 0.95),
    "muscle": (0.34, 0.28, 0.42),
    "soft": (0.42, 0.40, 0.52),
    "bone": (0.06, 0.05, 0.06),
    "marrow": (0.52, 0.42, 0.55),
    "dura": (0.24, 0.22, 0.52),
    "falx": (0.25, 0.24, 0.60),
    "fluid": (0.13, 0.07, 0.13),
    "eye": (0.12, 0.08, 0.12),
    "mucosa": (0.40, 0.70, 0.85),
    "white": (0.56, 0.36, 0.57),
    "grey": (0.39, 0.48, 0.41),
    "nucleus": (0.46, 0.43, 0.48),
    "plexus": (0.32, 0.40, 0.85),
    "spot": (0.46, 0.66, 0.47),
    "cap": (0.44, 0.66, 0.45),
    "rim": (0.30, 0.70, 0.38),
    "blood": (0.88, 0.72, 0.90),
    "vessel": (0.10, 0.06, 0.95),
}
"""Of each tissue before contrast, on FLAIR and after contrast; 1 is the brightest fat."""


@dataclass(frozen=True)
class Style:
    """How one institution's scanners make images.

    Attributes:
        exposure: darkest and brightest scaling to 8 bits, one pair for each sequence.
        noise: standard deviation of the receiver's noise, in units of the brightness of fat.
        bias: how much the coil's sensitivity varies over the head.
        blur: share of a pixel's signal that its four neighbours receive.
        gamma: range of the exponent of brightness.
        fat: brightness of fat in each sequence, as a share of its usual one.
        background: signal where there is only air.
    """

    exposure: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    noise: float
    bias: float
    blur: float
    gamma: tuple[float, float]
    fat: tuple[float, float, float]
    background: float = 0.0


STYLES: Mapping[str, Style] = {
    "DU": Style(((0.55, 0.9), (0.5, 0.85), (0.5, 0.85)), 0.012, 0.12, 0.06, (0.9, 1.1), (0.9, 0.95, 0.5)),
    "HT": Style(((0.5, 0.95), (0.45, 0.95), (0.45, 0.9)), 0.022, 0.18, 0.10, (0.85, 1.15), (1.0, 1.0, 1.0)),
    "CS": Style(((0.4, 0.8), (0.4, 0.7), (0.4, 0.8)), 0.030, 0.10, 0.12, (0.95, 1.2), (1.0, 0.9, 0.6)),
    "FG": Style(((0.6, 0.95), (0.6, 1.0), (0.6, 0.95)), 0.018, 0.24, 0.04, (0.8, 1.0), (0.95, 0.6, 0.9), 0.03),
}

INSTITUTIONS = ("DU", "HT", "CS", "DU", "HT", "FG")
"""Of patient 0, 1, …, and over again."""


@dataclass(frozen=True)
class PhantomPatient:
    """One synthetic patient.

    Attributes:
        id: as a folder of the published set is called, such as TCGA_DU_0001_19990101.
        institution: two letters.
        pixels: (slices, 256, 256, 3) uint8: pre-contrast, FLAIR, post-contrast.
        reference: (slices, 256, 256) uint8, 0 and 255.
        missing: the sequences that FLAIR stands in for.
    """

    id: str
    institution: str
    pixels: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    missing: tuple[str, ...]


def phantom_patient(seed: int, index: int, *, slices: int = 20) -> PhantomPatient:
    """Draw one patient; the same seed, index and number of slices give the same pixels.

    Args:
        seed: of the data set.
        index: of the patient within it, from 0.
        slices: how many, from the skull base to the vertex.
    """
    rng = np.random.default_rng([seed, index])
    institution = INSTITUTIONS[index % len(INSTITUTIONS)]
    missing = {7: ("pre", "post"), 10: ("post",)}.get(index % 12, ())
    heights = slice_heights(rng, slices)
    lesions = [draw_lesion(rng, heights) for _ in range(2 if rng.random() < 0.2 else 1)]
    head = build_head(rng, heights, [lesion.push for lesion in lesions])
    layers = [*head.layers, *bright_structures(rng, head, blood=not missing)]
    painted = [paint_lesion(rng, head, lesion) for lesion in lesions]
    pixels = _expose(rng, head, _signals(rng, head, layers, painted, STYLES[institution]), STYLES[institution])
    for sequence in missing:
        pixels[..., SEQUENCES.index(sequence)] = pixels[..., SEQUENCES.index("flair")]
    return PhantomPatient(
        id=f"TCGA_{institution}_{index + 1:04d}_19990101",
        institution=institution,
        pixels=pixels,
        reference=reference_of(painted),
        missing=missing,
    )


def write_phantom(
    folder: Path, *, patients: int = 24, slices: int = 20, seed: int = 0, progress: Progress = silent
) -> Path:
    """Write a synthetic data set as `folder`/kaggle_3m, whole or not at all.

    Args:
        folder: made if it is not there.
        patients: how many; six follow each other through the institutions DU, HT, CS, DU, HT, FG.
        slices: of each patient.
        seed: the same seed gives the same files.
        progress: told of each patient.

    Returns:
        The folder kaggle_3m.

    Raises:
        DataError: a number is out of range.
        OutputError: kaggle_3m exists and is not empty, or cannot be written.
    """
    for name, value, least, most in (
        ("patients", patients, 1, 9999), ("slices", slices, 1, 200), ("seed", seed, 0, 2**63),
    ):  # fmt: skip
        if not least <= value <= most:
            raise DataError(f"--{name} {value} is out of range", next_step=f"give a number from {least} to {most}")
    target = Path(folder).absolute() / "kaggle_3m"
    try:
        with atomic_folder(target) as temporary, ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            draw = partial(_write_patient, temporary, seed=seed, slices=slices)
            rows = list(
                progress.track(pool.map(draw, range(patients)), what="Drawing synthetic patients", total=patients)
            )
            with open(temporary / "data.csv", "w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(CLINICAL_COLUMNS)
                writer.writerows(sorted(rows))
    except OutputError as error:
        raise OutputError(error.what, next_step="name another folder, or delete what is there") from error
    return target


def _write_patient(folder: Path, index: int, *, seed: int, slices: int) -> list[str]:
    """Write one patient's TIFFs; gives the row of data.csv."""
    import tifffile

    patient = phantom_patient(seed, index, slices=slices)
    (folder / patient.id).mkdir()
    for number, (image, mask) in enumerate(zip(patient.pixels, patient.reference, strict=True), start=1):
        stem = folder / patient.id / f"{patient.id}_{number}"
        tifffile.imwrite(f"{stem}.tif", image, photometric="rgb", metadata=None, software=False)
        tifffile.imwrite(f"{stem}_mask.tif", mask, photometric="minisblack", metadata=None, software=False)
    rng = np.random.default_rng([seed, index, 1])
    most = (4, 5, 4, 3, 4, 3, 3, 3, 2, 1, 3, 6, 2)
    codes = [str(rng.integers(1, top + 1)) for top in most]
    if rng.random() < 0.2:
        codes[0] = ""
    return [patient.id.rsplit("_", 1)[0], *codes, str(rng.integers(20, 76)), "3", "2", str(rng.integers(0, 2))]


def _signals(
    rng: np.random.Generator, head: Head, layers: list[Layer], painted: list[PaintedLesion], style: Style
) -> list[Volume]:
    """The three sequences without noise, 0 to about 1, painted coat by coat."""
    mottle = smooth_field(rng, head.heights, 2.6)
    patch = smooth_field(rng, head.heights, 34.0)
    signals = []
    for sequence in range(3):
        drift = rng.normal(0, 0.02, len(BRIGHTNESS)).tolist()
        level = {tissue: BRIGHTNESS[tissue][sequence] + drift[n] for n, tissue in enumerate(BRIGHTNESS)}
        level["fat"] *= style.fat[sequence]
        signal = np.full(mottle.shape, style.background, dtype=np.float32)
        for layer in layers:
            if layer.tissue == "vessel" and sequence < 2:
                continue
            signal += layer.weight * (np.float32(max(0.02, level[layer.tissue])) - signal)
        signal *= 1 + 0.035 * mottle + (0.05 if sequence == 1 else 0.02) * patch
        for lesion in painted:
            _add_lesion(signal, lesion, level, sequence)
        signals.append(signal)
    return signals


def _add_lesion(signal: Volume, painted: PaintedLesion, level: Mapping[str, float], sequence: int) -> None:
    """Paint a lesion over one sequence, in place."""
    lesion = painted.lesion
    sign = lesion.contrast if sequence == 1 else -lesion.darkness
    own = level["white"] + sign * (1 + 0.16 * painted.texture) if sequence == 1 else signal + sign
    signal += 0.9 * painted.body * (own - signal)
    signal += 0.85 * painted.core * (np.float32(0.16) - signal)
    if sequence == 2:
        signal += 0.8 * painted.ring * (np.float32(0.85) - signal)


def _expose(rng: np.random.Generator, head: Head, signals: list[Volume], style: Style) -> NDArray[np.uint8]:
    """Coil sensitivity, blur, Rician noise (Gudbjartsson 1995), gamma and the scaling to 8 bits."""
    coil = smooth_field(rng, head.heights, 110.0)
    near = np.exp(-((np.hypot(head.x - float(rng.choice((-80.0, 80.0))), head.y - rng.uniform(-60, 60)) / 45) ** 2))
    gain = np.exp(style.bias * coil + rng.uniform(0, 1.5) * style.bias * near).astype(np.float32)
    pixels = np.empty((*gain.shape, 3), dtype=np.uint8)
    for sequence, signal in enumerate(signals):
        received = _blur(np.maximum(signal, 0) * gain, np.float32(style.blur))
        noise = np.float32(style.noise * rng.uniform(0.6, 1.4))
        real = received + noise * rng.standard_normal(received.shape, dtype=np.float32)
        received = np.hypot(real, noise * rng.standard_normal(received.shape, dtype=np.float32))
        exposure = rng.uniform(*style.exposure[sequence])
        shown = np.float32(255 * exposure) * received ** np.float32(rng.uniform(*style.gamma))
        pixels[..., sequence] = np.clip(np.rint(shown), 0, 255).astype(np.uint8)
    return pixels


def _blur(image: Volume, share: np.float32) -> Volume:
    """Give each of the four neighbours in the plane its share."""
    blurred = (1 - 4 * share) * image
    blurred[:, 1:] += share * image[:, :-1]
    blurred[:, :-1] += share * image[:, 1:]
    blurred[:, :, 1:] += share * image[:, :, :-1]
    blurred[:, :, :-1] += share * image[:, :, 1:]
    return blurred
