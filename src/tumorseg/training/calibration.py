"""The temperature by which logits are divided so that probabilities mean what they say (Guo et al. 2017)."""

import logging
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tumorseg.grid import Grid, head_box, plan_grid
from tumorseg.inference.model import Flip, Model
from tumorseg.inference.onnx_runtime import OnnxRuntime
from tumorseg.inference.predictor import Predictor
from tumorseg.inference.runtime import Float32, Runtime
from tumorseg.metrics.head import head_mask
from tumorseg.scan import Scan

logger = logging.getLogger(__name__)

COLDEST, HOTTEST = 0.25, 8.0
MOST_PIXELS = 1_000_000
"""Of all scans together, drawn from their heads."""

SEED = 0
_AXES: dict[Flip, int] = {"horizontal": -1, "vertical": -2}


def fit_temperature(model: Model, scans: Sequence[Scan]) -> float:
    """The temperature at which the probabilities of these scans' pixels are most likely to give their references.

    The mean negative logarithm of the probability of what is there, over pixels of the heads, as `Predictor` gives
    probabilities before slices are blended: each network and mirror image is divided by the temperature, and their mean
    is taken after that.

    Args:
        model: whose own temperature is left out of account.
        scans: of patients that it was not trained on, with references.

    Returns:
        `COLDEST` to `HOTTEST`.
    """
    from scipy.optimize import minimize_scalar

    random = np.random.default_rng(SEED)
    runtimes = [OnnxRuntime(graph) for graph in model.graphs]
    drawn = [_drawn(model, runtimes, scan, MOST_PIXELS // len(scans), random) for scan in scans]
    logits = np.concatenate([each for each, _ in drawn], axis=1)
    truth = np.concatenate([each for _, each in drawn])

    def surprise(log_temperature: float) -> float:
        return _surprise(np.asarray(logits / np.exp(log_temperature), np.float32), truth)

    found = minimize_scalar(surprise, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded")
    temperature = round(float(np.exp(found.x)), 3)
    logger.info(
        "temperature %.3f: the mean surprise at a pixel of a head falls from %.4f to %.4f",
        temperature,
        surprise(0.0),
        found.fun,
    )
    return temperature


def _surprise(logits: Float32, truth: NDArray[np.uint8]) -> float:
    """Mean of -log p(truth), p the mean over the first axis; nats.

    Args:
        logits: (ways, pixels, logits).
        truth: (pixels,) 0 background, 1…K.
    """
    if logits.shape[-1] == 1:
        signed = np.where(truth != 0, logits[..., 0], -logits[..., 0])
        each = -np.logaddexp(0, -signed)
    else:
        highest = logits.max(axis=-1)
        total = highest + np.log(np.exp(logits - highest[..., None]).sum(axis=-1))
        each = logits[:, np.arange(len(truth)), truth] - total
    return float(-(np.logaddexp.reduce(each, axis=0) - np.log(len(each))).mean(dtype=np.float64))


def _drawn(
    model: Model, runtimes: Sequence[Runtime], scan: Scan, pixels: int, random: np.random.Generator
) -> tuple[Float32, NDArray[np.uint8]]:
    """Logits (ways, pixels, logits) and what is there (pixels,), of pixels drawn from the scan's head."""
    reference = scan.reference
    assert reference is not None
    spec = model.spec
    seen = scan.pixels[..., scan.channels.index("flair") if "flair" in scan.channels else 0]
    box = head_box(scan.pixels[..., [scan.channels.index(name) for name in spec.channels]])
    grid = plan_grid(*reference.shape[1:], image_size=spec.image_size, box=box if spec.crop == "head" else None)
    inside = _on_grid(head_mask(seen).astype(np.uint8), grid) != 0
    places = np.flatnonzero(inside)
    places = np.sort(random.choice(places, min(pixels, len(places)), replace=False))
    truth = _on_grid(reference, grid).ravel()[places]
    if spec.logits == 1:
        truth = (truth != 0).astype(np.uint8)
    ways = [np.moveaxis(way, 1, -1).reshape(-1, spec.logits)[places] for way in _logits(model, runtimes, scan)]
    return np.stack(ways), truth


def _on_grid(values: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
    return np.stack([grid.apply(np.ascontiguousarray(frame), nearest=True) for frame in values])


def _logits(model: Model, runtimes: Sequence[Runtime], scan: Scan) -> Iterator[Float32]:
    """Of each network and each mirror image, (slices, logits, size, size), mirrored back."""
    flips = model.spec.test_time_flips
    for runtime in runtimes:
        watched = _Watched(runtime)
        Predictor(model, runtime=watched).probabilities(scan)
        ways = 1 + len(flips)
        for index in range(ways):
            found = np.concatenate(watched.given[index::ways])
            yield np.flip(found, _AXES[flips[index - 1]]) if index else found


class _Watched:
    """A runtime that keeps what it computes, in the order in which `Predictor` asks: plain, then each mirror image."""

    def __init__(self, inner: Runtime) -> None:
        self._inner = inner
        self.given: list[Float32] = []

    @property
    def batch_size(self) -> int:
        """Slices that it is best given at once."""
        return self._inner.batch_size

    @property
    def lanes(self) -> int:
        """One, so that the order is known."""
        return 1

    def __call__(self, batch: Float32) -> Float32:
        """What the inner runtime computes."""
        logits = self._inner(batch)
        self.given.append(logits)
        return logits
