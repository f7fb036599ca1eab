"""A graph that takes a raw slice and its scan's normalisation constants, and gives probabilities."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from tumorseg.errors import ModelError
from tumorseg.inference.model import ModelSpec
from tumorseg.preprocess import BRIGHTEST, IMAGENET_MEAN, IMAGENET_STD
from tumorseg.training.drawing import TO_THE_END, Drawing

SLICES, BLACK, WHITE, PROBABILITY = "slices", "black", "white", "probability"

_AXES = {"horizontal": 3, "vertical": 2}
"""Of (slices, channels, height, width)."""


def write_raw_graph(path: Path, network: Path, spec: ModelSpec) -> None:
    """Write the graph: slices (N, size, size, C), black and white (N or 1, C) -> probability (N, size, size[, K]).

    All float32. Test-time flips and the temperature are inside it; resampling, blending between slices, threshold and
    postprocessing are not. With the constants of `preprocess.statistics` it computes what `Predictor.probabilities`
    blends. The slices of one call are consecutive ones of one scan where the model has neighbours, which are found
    among them.

    Args:
        path: of the file; it appears whole or not at all.
        network: the model's graph.
        spec: of the model.

    Raises:
        ModelError: the model filters images before they are normalised, for which ONNX has no words; or the network is
            not of the opset that training writes.
    """
    if spec.filters:
        raise ModelError(
            f"model {spec.name} filters its images ({', '.join(spec.filters)}), which a graph cannot hold",
            next_step="export the plain network alone, with --network-only",
        )
    drawing = Drawing()
    batch = _flipped(drawing, _stacked(drawing, _normalised(drawing, spec), spec), spec)
    _answer(drawing, _probability(drawing, drawing.network(network, batch), spec), spec)
    size, channels = spec.image_size, len(spec.channels)
    axes = [] if len(spec.classes) == 1 else [len(spec.classes)]
    drawing.write(
        path,
        "slices_to_probability",
        [
            helper.make_tensor_value_info(SLICES, TensorProto.FLOAT, ["slices", size, size, channels]),
            helper.make_tensor_value_info(BLACK, TensorProto.FLOAT, ["slices_or_1", channels]),
            helper.make_tensor_value_info(WHITE, TensorProto.FLOAT, ["slices_or_1", channels]),
        ],
        [helper.make_tensor_value_info(PROBABILITY, TensorProto.FLOAT, ["slices", size, size, *axes])],
    )


def _normalised(drawing: Drawing, spec: ModelSpec) -> str:
    """(slices, channels, height, width), as `preprocess.normalise` gives it."""
    axes = drawing.constant([1, 2], np.int64)
    black, white = (drawing.step("Unsqueeze", name, axes) for name in (BLACK, WHITE))
    span = drawing.step("Sub", white, black)
    nothing, one = drawing.constant(0.0), drawing.constant(1.0)
    span = drawing.step("Where", drawing.step("Greater", span, nothing), span, one)
    values = drawing.step("Div", drawing.step("Sub", SLICES, black), span)
    if spec.normalization in ("volume-percentile", "slice-percentile"):
        values = drawing.step("Clip", values, nothing, drawing.constant(BRIGHTEST))
    elif spec.normalization == "imagenet":
        channels = len(spec.channels)
        mean = drawing.constant(np.resize(np.array(IMAGENET_MEAN, np.float32), channels))
        deviation = drawing.constant(np.resize(np.array(IMAGENET_STD, np.float32), channels))
        values = drawing.step("Div", drawing.step("Sub", values, mean), deviation)
    return drawing.step("Transpose", values, perm=[0, 3, 1, 2])


def _stacked(drawing: Drawing, values: str, spec: ModelSpec) -> str:
    """Each slice with its neighbours behind it, as `preprocess.stacked` orders them."""
    if not spec.neighbours:
        return values
    below = above = values
    seen = [values]
    for _ in range(spec.neighbours):
        ends = drawing.cut(below, 0, 0, 1), drawing.cut(above, 0, -1, TO_THE_END)
        below = drawing.step("Concat", ends[0], drawing.cut(below, 0, 0, -1), axis=0)
        above = drawing.step("Concat", drawing.cut(above, 0, 1, TO_THE_END), ends[1], axis=0)
        seen += [below, above]
    return drawing.step("Concat", *seen, axis=1)


def _flipped(drawing: Drawing, values: str, spec: ModelSpec) -> str:
    """The images with their mirror images behind them, in one batch."""
    if not spec.test_time_flips:
        return values
    mirrored = [drawing.mirrored(values, _AXES[flip]) for flip in spec.test_time_flips]
    return drawing.step("Concat", values, *mirrored, axis=0)


def _probability(drawing: Drawing, logits: str, spec: ModelSpec) -> str:
    """(slices and mirror images, classes, height, width), without background."""
    if spec.temperature != 1:
        logits = drawing.step("Div", logits, drawing.constant(spec.temperature))
    if spec.logits == 1:
        return drawing.step("Sigmoid", logits)
    every = drawing.step("Softmax", logits, axis=1)
    return drawing.cut(every, 1, 1, spec.logits)


def _answer(drawing: Drawing, probability: str, spec: ModelSpec) -> None:
    """The mean over the images and their mirror images, each of these mirrored back."""
    flips = spec.test_time_flips
    total = probability
    if flips:
        parts = [f"part.{index}" for index in range(1 + len(flips))]
        drawing.nodes.append(helper.make_node("Split", [total], parts, axis=0, num_outputs=len(parts)))
        total = parts[0]
        for part, flip in zip(parts[1:], flips, strict=True):
            total = drawing.step("Add", total, drawing.mirrored(part, _AXES[flip]))
    mean = drawing.step("Div", total, drawing.constant(float(1 + len(flips))))
    if spec.logits == 1:
        drawing.step("Squeeze", mean, drawing.constant([1], np.int64), output=PROBABILITY)
    else:
        drawing.step("Transpose", mean, output=PROBABILITY, perm=[0, 2, 3, 1])
