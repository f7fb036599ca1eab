"""A graph that computes in 8 bits: a quarter of the file, and about half of the time on a processor.

Three kinds of layers are spared. Those that see the image stay in float32: a scan's brightest voxel would leave few
steps for the tissue. Those whose sums overflow on older processors get weights of 7 bits (what both would lose is
measured in docs/results/inference-speed.md). And what comes after the last weights, as where several networks' answers
are joined, stays in float32: it takes next to no time, and small probabilities would have no step of their own.
"""

import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.files import atomic_write
from tumorseg.inference.onnx_runtime import INPUT
from tumorseg.training.overflow import overflowing_kernels

if TYPE_CHECKING:
    from onnx import GraphProto

CALIBRATION_SLICES = 64
"""On which the range of every layer's values is measured."""

OVERFLOW_SLICES = 8
"""Of those, on which it is measured where sums overflow."""

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def write_quantised(source: Path, target: Path, frames: Iterable[NDArray[np.float32]]) -> None:
    """Write a graph again with 8-bit weights, a scale for each output channel, and 8-bit activations.

    Post-training static quantisation (Jacob et al. 2018) by ONNX Runtime: smallest and largest value of each layer on
    the given slices become 0 and 255. Input and output stay float32, as do the layers that see the image and what
    comes after the last weights, and height and width free.

    Args:
        source: a float32 graph.
        target: of the new one; it appears whole or not at all.
        frames: slices as the network sees them, (channels, height, width) each.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    calibration = list(frames)
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it recommends, on the root logger, what has been done
    try:
        with tempfile.TemporaryDirectory(prefix="tumorseg-") as folder, atomic_write(target) as temporary:
            prepared = Path(folder) / "prepared.onnx"
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            model = onnx.load(str(prepared))
            for index, node in enumerate(model.graph.node):
                node.name = f"{index}:{node.name}"  # they are told apart by it, and may have none
            overrides = {
                name: [{"quant_type": QuantType.QInt8, "symmetric": True, "axis": 0, "reduce_range": True}]
                for name in overflowing_kernels(model, calibration[:: max(1, len(calibration) // OVERFLOW_SLICES)])
            }
            quantize_static(
                model,
                str(temporary),
                _Calibration(calibration),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=[*_see_the_image(model.graph), *_after_the_weights(model.graph)],
                extra_options={"TensorQuantOverrides": overrides},
            )
    finally:
        root.setLevel(level)


def _see_the_image(graph: "GraphProto") -> list[str]:
    """Names of the first layers with weights: they take the input, or what was only cut, padded or scaled of it."""
    seen, first = {INPUT}, []
    for node in graph.node:  # in the order in which they are computed
        if node.op_type == "Shape" or not seen.intersection(node.input):
            continue
        if node.op_type in _WEIGHTED:
            first.append(node.name)
        else:
            seen.update(node.output)
    return first


def _after_the_weights(graph: "GraphProto") -> list[str]:
    """Names of the layers whose values no layer with weights takes, directly or through others."""
    needed, last = set[str](), []
    for node in reversed(graph.node):
        if node.op_type in _WEIGHTED or needed.intersection(node.output):
            needed.update(node.input)
        else:
            last.append(node.name)
    return last


class _Calibration:
    """Slices one after the other, as ONNX Runtime asks for them."""

    def __init__(self, frames: Iterable[NDArray[np.float32]]) -> None:
        self._frames = iter(frames)

    def get_next(self) -> dict[str, Any] | None:
        """The next input; None at the end."""
        frame = next(self._frames, None)
        return None if frame is None else {INPUT: np.ascontiguousarray(frame[None])}
