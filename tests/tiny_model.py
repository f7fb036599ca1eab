"""A model of one convolution, so that prediction is tested without training and without torch."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tumorseg.files import digest_file
from tumorseg.inference.model import ModelSpec, write_spec

GAIN, OFFSET = 20.0, 10.0


def flair_kernel() -> NDArray[np.float32]:
    """A 1 x 1 kernel: the logit of a pixel is GAIN * FLAIR - OFFSET, so half the bright end is the border."""
    kernel = np.zeros((1, 3, 1, 1), np.float32)
    kernel[0, 1] = GAIN
    return kernel


def lopsided_kernel() -> NDArray[np.float32]:
    """A 3 x 3 kernel over all channels that no mirror image leaves alone."""
    return np.random.default_rng(3).normal(0, 2, (1, 3, 3, 3)).astype(np.float32)


def write_model(
    folder: Path,
    *,
    kernel: NDArray[np.float32] | None = None,
    bias: NDArray[np.float32] | None = None,
    **fields: Any,
) -> Path:
    """Write model.onnx and model.json into `folder`, and return it."""
    kernel = flair_kernel() if kernel is None else kernel
    pad = kernel.shape[-1] // 2
    classes, channels = kernel.shape[:2]
    node = helper.make_node("Conv", ["image", "kernel", "bias"], ["logits"], pads=[pad] * 4)
    graph = helper.make_graph(
        [node],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["slices", channels, "height", "width"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["slices", classes, "height", "width"])],
        [
            numpy_helper.from_array(kernel, "kernel"),
            numpy_helper.from_array(np.full(classes, -OFFSET, np.float32) if bias is None else bias, "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    values: dict[str, Any] = {
        "name": "tiny",
        "recipe": "tiny",
        "channels": ("pre", "flair", "post"),
        "classes": ("tumour",),
        "normalization": "volume-percentile",
        "image_size": 64,
        "files": {"model.onnx": digest_file(folder / "model.onnx")},
    }
    write_spec(folder, ModelSpec(**(values | fields)))
    return folder
