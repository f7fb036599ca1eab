"""A graph that computes in 8 bits: a quarter of the file, and about half of the time on a processor."""

import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.files import atomic_write
from tumorseg.inference.onnx_runtime import INPUT

CALIBRATION_SLICES = 64
"""On which the range of every layer's values is measured."""


def write_quantised(source: Path, target: Path, frames: Iterable[NDArray[np.float32]]) -> None:
    """Write a graph again with 8-bit weights, a scale for each output channel, and 8-bit activations.

    Post-training static quantisation (Jacob et al. 2018) by ONNX Runtime: smallest and largest value of each layer on
    the given slices become 0 and 255. Input and output stay float32, and height and width free.

    Args:
        source: a float32 graph.
        target: of the new one; it appears whole or not at all.
        frames: slices as the network sees them, (channels, height, width) each.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it recommends, on the root logger, what has been done
    try:
        with tempfile.TemporaryDirectory(prefix="tumorseg-") as folder, atomic_write(target) as temporary:
            prepared = Path(folder) / "prepared.onnx"
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            quantize_static(
                str(prepared),
                str(temporary),
                _Calibration(frames),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
    finally:
        root.setLevel(level)


class _Calibration:
    """Slices one after the other, as ONNX Runtime asks for them."""

    def __init__(self, frames: Iterable[NDArray[np.float32]]) -> None:
        self._frames = iter(frames)

    def get_next(self) -> dict[str, Any] | None:
        """The next input; None at the end."""
        frame = next(self._frames, None)
        return None if frame is None else {INPUT: np.ascontiguousarray(frame[None])}
