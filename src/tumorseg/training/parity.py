"""Whether what ships computes what was trained: the masks of graph and network, pixel by pixel."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorseg.datasets.phantom import SEQUENCES, phantom_patient
from tumorseg.errors import ModelError
from tumorseg.grid import head_box, plan_grid
from tumorseg.inference.model import ModelSpec
from tumorseg.inference.sequences import choose_channels
from tumorseg.postprocess import blend_slices, postprocess, tumour_probability
from tumorseg.preprocess import statistics
from tumorseg.progress import Progress, silent
from tumorseg.scan import Scan
from tumorseg.training.raw_graph import BLACK, PROBABILITY, SLICES, WHITE

MOST_DIFFERENT = 1e-4
"""Share of all pixels on which two masks may differ: 0.01 %."""

MOST_APART = 0.05
"""Largest difference in the probability of any pixel: of masks that are empty anyway nothing can be told."""

ENOUGH_SLICES = 160
"""Whole scans are taken until they hold this many slices."""

Way = Callable[[Scan], NDArray[np.float16]]
"""One way to compute the probabilities of a scan, on its own grid."""


@dataclass(frozen=True)
class Parity:
    """Two ways compared on the same slices.

    Attributes:
        of, to: names of the two.
        slices, pixels: how many were compared.
        different: pixels on which the masks differ.
        worst_slice: the most that differ within one slice.
        probability: the largest difference in the probability of tumour.
    """

    of: str
    to: str
    slices: int
    pixels: int
    different: int
    worst_slice: int
    probability: float

    @property
    def share(self) -> float:
        """Share of all pixels on which the masks differ."""
        return self.different / self.pixels

    def __str__(self) -> str:
        return (
            f"{self.of} and {self.to}: masks differ in {self.different:,} of {self.pixels:,} pixels "
            f"({100 * self.share:.4f} %), at most {self.worst_slice} in a slice; probabilities by at most "
            f"{self.probability:.4f}"
        )


def measure_parity(
    ways: Mapping[str, Way],
    pairs: Sequence[tuple[str, str]],
    scans: Iterable[Scan],
    spec: ModelSpec,
    *,
    progress: Progress = silent,
) -> tuple[Parity, ...]:
    """Compare pairs of ways on every slice of the scans.

    Args:
        ways: by name.
        pairs: of these names.
        scans: with the model's channels.
        spec: whose threshold and postprocessing make the masks.
        progress: watches the scans go by.
    """
    counted = {pair: np.zeros(4) for pair in pairs}  # slices, pixels, different, worst slice
    apart = dict.fromkeys(pairs, 0.0)
    for scan in progress.track(scans, what="Comparing the export with the network"):
        probability = {name: way(scan) for name, way in ways.items()}
        masks = {
            name: postprocess(values, threshold=spec.threshold, cleaning=spec.postprocessing)
            for name, values in probability.items()
        }
        for pair in pairs:
            first, second = (masks[name] for name in pair)
            different = (first != second).sum(axis=(1, 2))
            before = counted[pair]
            now = [before[0] + len(first), before[1] + first.size, before[2] + different.sum()]
            counted[pair] = np.array([*now, max(before[3], different.max())])
            for one, other in zip(*(probability[name] for name in pair), strict=True):
                gap = float(np.abs(tumour_probability(one) - tumour_probability(other)).max())
                apart[pair] = max(apart[pair], gap)
    return tuple(
        Parity(*pair, *(int(value) for value in counted[pair]), probability=apart[pair])  # type: ignore[misc]
        for pair in pairs
    )


def refuse_disparity(found: Sequence[Parity]) -> None:
    """Let nothing ship that does not compute what was trained.

    Raises:
        ModelError: a pair's masks differ in more than `MOST_DIFFERENT` of the pixels, or the probability of a pixel
            by more than `MOST_APART`.
    """
    for parity in found:
        if parity.share > MOST_DIFFERENT or parity.probability > MOST_APART:
            raise ModelError(
                f"the export is not what was trained: {parity} (allowed: {100 * MOST_DIFFERENT:g} %, {MOST_APART})",
                next_step="export with --weights float32, or report this with recipe.yaml of the run",
            )


def raw_graph_way(path: Path, spec: ModelSpec) -> Way:
    """The graph for raw slices, used as its contract says: constants of the scan, grid, graph, back, blended."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def way(scan: Scan) -> NDArray[np.float16]:
        order, _ = choose_channels(scan.channels, spec.channels, where=f"scan {scan.id}")
        pixels = scan.pixels[..., order]
        measured = statistics(pixels, spec.normalization)
        grid = plan_grid(
            *pixels.shape[1:3], image_size=spec.image_size, box=head_box(pixels) if spec.crop == "head" else None
        )
        squares = [grid.apply(frame).astype(np.float32) for frame in pixels]
        answers = []
        for index in range(len(pixels)):
            # A slice's neighbours are given with it; those of the neighbours themselves are not needed.
            first, end = max(0, index - spec.neighbours), min(len(pixels), index + spec.neighbours + 1)
            each = slice(first, end) if len(measured.low) > 1 else slice(None)
            given = {
                SLICES: np.stack(squares[first:end]),
                BLACK: measured.black[each],
                WHITE: measured.white[each],
            }
            (answered,) = session.run([PROBABILITY], given)
            answers.append(grid.undo(answered[index - first]).astype(np.float16))
        probability = np.stack(answers)
        blend_slices(probability, spec.blend)
        return probability

    return way


def enough(scans: Sequence[Scan], slices: int = ENOUGH_SLICES) -> list[Scan]:
    """Whole scans from all over the list, until they hold so many slices; all of them where they do not."""
    chosen: list[Scan] = []
    held = 0
    for scan in _spread(scans):
        if held >= slices:
            break
        chosen.append(scan)
        held += len(scan.slice_numbers) or len(scan.pixels)
    return chosen


def phantom_scans(channels: Sequence[str], *, patients: int = 8, slices: int = 12) -> list[Scan]:
    """Synthetic scans with these channels; FLAIR stands for those that the phantom does not draw."""
    scans = []
    for index in range(patients):
        patient = phantom_patient(0, index, slices=slices)
        order = [SEQUENCES.index(name if name in SEQUENCES else "flair") for name in channels]
        pixels = np.ascontiguousarray(patient.pixels[..., order])
        scans.append(Scan(patient.id, patient.id, tuple(channels), lambda pixels=pixels: pixels))  # type: ignore[misc]
    return scans


def _spread(scans: Sequence[Scan]) -> list[Scan]:
    """The same scans, those next to each other (of one institution, say) far apart."""
    step = max(1, round(len(scans) ** 0.5))
    return [scan for first in range(step) for scan in scans[first::step]]
