"""What an arm costs: weights, training time, and time per slice when it segments."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Protocol

from tumorseg.scan import Scan, Segmentation
from tumorseg.studies.arm import Arm

ROUNDS = 3
"""How often each model segments the timed scans; the median counts."""

SLICES = 48
"""About how many slices are timed."""


class Segmenter(Protocol):
    """What answers scans, such as `tumorseg.inference.predictor.Predictor`."""

    def segment_all(self, scans: Iterable[Scan]) -> Iterator[Segmentation]:
        """Segment many scans, each as a whole."""
        ...


@dataclass(frozen=True)
class Cost:
    """What one arm costs; None where it was not recorded.

    Attributes:
        parameters: weights of the network.
        epochs: that were trained.
        training_seconds: of the whole training, validation included.
        seconds_per_epoch: mean over the epochs, validation included.
        device: that it was trained on.
        milliseconds_per_slice: from the scan's pixels to the finished mask, all models on the same slices here.
    """

    parameters: int | None
    epochs: int
    training_seconds: float | None
    seconds_per_epoch: float | None
    device: str
    milliseconds_per_slice: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)


def cost_of(arm: Arm, milliseconds_per_slice: float | None = None) -> Cost:
    """Gather what the run recorded of itself."""
    seconds = [row["seconds"] for row in arm.log if "seconds" in row]
    parameters, training = arm.environment.get("parameters"), arm.environment.get("training_seconds")
    return Cost(
        parameters=int(parameters) if parameters else None,
        epochs=len(arm.log),
        training_seconds=float(training) if training else None,
        seconds_per_epoch=sum(seconds) / len(seconds) if seconds else None,
        device=str(arm.environment.get("device", "")),
        milliseconds_per_slice=milliseconds_per_slice,
    )


def timed_scans(scans: Sequence[Scan]) -> tuple[Scan, ...]:
    """The first scans that together have `SLICES` slices, or all."""
    chosen: list[Scan] = []
    slices = 0
    for scan in scans:
        if slices >= SLICES:
            break
        chosen.append(scan)
        slices += scan.pixels.shape[0]
    return tuple(chosen)


def milliseconds_per_slice(
    segmenters: Mapping[str, Segmenter],
    scans: Sequence[Scan],
    *,
    rounds: int = ROUNDS,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Time several models on the same slices, in turns, so that what else the machine does strikes all alike.

    Args:
        segmenters: by label; each segments the first scan once before the clock runs.
        scans: their pixels are read before.
        rounds: how often; the median counts.
        clock: in seconds.
    """
    slices = sum(scan.pixels.shape[0] for scan in scans)
    for segmenter in segmenters.values():
        _segment(segmenter, scans[:1])
    spent: dict[str, list[float]] = {label: [] for label in segmenters}
    for _ in range(rounds):
        for label, segmenter in segmenters.items():
            started = clock()
            _segment(segmenter, scans)
            spent[label].append(clock() - started)
    return {label: 1000 * median(times) / slices for label, times in spent.items()}


def _segment(segmenter: Segmenter, scans: Sequence[Scan]) -> None:
    for _ in segmenter.segment_all(scans):
        pass
