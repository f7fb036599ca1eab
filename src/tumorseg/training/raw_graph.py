"""A graph that takes a raw slice and its scan's normalisation constants, and gives probabilities."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import NodeProto, TensorProto, helper, numpy_helper

from tumorseg.errors import ModelError
from tumorseg.files import atomic_write
from tumorseg.inference.model import ModelSpec
from tumorseg.inference.onnx_runtime import INPUT, OUTPUT
from tumorseg.preprocess import BRIGHTEST, IMAGENET_MEAN, IMAGENET_STD
from tumorseg.training.export import OPSET
from tumorseg.training.joined import member_of

SLICES, BLACK, WHITE, PROBABILITY = "slices", "black", "white", "probability"

_AXES = {"horizontal": 3, "vertical": 2}
"""Of (slices, channels, height, width)."""

_BACKWARDS, _TO_THE_END = np.iinfo(np.int64).min, np.iinfo(np.int64).max


class _Drawing:
    """Nodes and constants of a graph as they are drawn; each step gives the name of what it computes."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, value: ArrayLike, kind: type[np.generic] = np.float32) -> str:
        name = f"constant.{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def step(self, operation: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        name = output or f"step.{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, list(inputs), [name], **attributes))
        return name

    def cut(self, values: str, axis: int, first: int, end: int, step: int = 1) -> str:
        ends = [self.constant([value], np.int64) for value in (first, end, axis, step)]
        return self.step("Slice", values, *ends)

    def mirrored(self, values: str, axis: int) -> str:
        return self.cut(values, axis, -1, _BACKWARDS, -1)


def write_raw_graph(path: Path, graphs: Sequence[Path], spec: ModelSpec) -> None:
    """Write the graph: slices (N, size, size, C), black and white (N or 1, C) -> probability (N, size, size[, K]).

    All float32. Test-time flips, the temperature and the mean over an ensemble's members are inside it; resampling,
    blending between slices, threshold and postprocessing are not. With the constants of `preprocess.statistics` it
    computes what `Predictor.probabilities` blends. The slices of one call are consecutive ones of one scan where the
    model has neighbours, which are found among them.

    Args:
        path: of the file; it appears whole or not at all.
        graphs: of the model's networks.
        spec: of the model.

    Raises:
        ModelError: the model filters images before they are normalised, for which ONNX has no words.
    """
    if spec.filters:
        raise ModelError(
            f"model {spec.name} filters its images ({', '.join(spec.filters)}), which a graph cannot hold",
            next_step="export the plain network alone, with --network-only",
        )
    drawing = _Drawing()
    batch = _flipped(drawing, _stacked(drawing, _normalised(drawing, spec), spec), spec)
    members = [member_of(graph, index) for index, graph in enumerate(graphs)]
    total = ""
    for index, member in enumerate(members):
        drawing.step("Identity", batch, output=f"{index}.{INPUT}")
        drawing.nodes.extend(member.graph.node)
        drawing.constants.extend(member.graph.initializer)
        own = _probability(drawing, f"{index}.{OUTPUT}", spec)
        total = drawing.step("Add", total, own) if total else own
    _answer(drawing, total, spec, members=len(members))
    size, channels = spec.image_size, len(spec.channels)
    axes = [] if len(spec.classes) == 1 else [len(spec.classes)]
    graph = helper.make_graph(
        drawing.nodes,
        "slices_to_probability",
        [
            helper.make_tensor_value_info(SLICES, TensorProto.FLOAT, ["slices", size, size, channels]),
            helper.make_tensor_value_info(BLACK, TensorProto.FLOAT, ["slices_or_1", channels]),
            helper.make_tensor_value_info(WHITE, TensorProto.FLOAT, ["slices_or_1", channels]),
        ],
        [helper.make_tensor_value_info(PROBABILITY, TensorProto.FLOAT, ["slices", size, size, *axes])],
        drawing.constants,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=max(member.ir_version for member in members)
    )
    onnx.checker.check_model(model)
    with atomic_write(path) as temporary:
        onnx.save(model, str(temporary))


def _normalised(drawing: _Drawing, spec: ModelSpec) -> str:
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


def _stacked(drawing: _Drawing, values: str, spec: ModelSpec) -> str:
    """Each slice with its neighbours behind it, as `preprocess.stacked` orders them."""
    if not spec.neighbours:
        return values
    below = above = values
    seen = [values]
    for _ in range(spec.neighbours):
        ends = drawing.cut(below, 0, 0, 1), drawing.cut(above, 0, -1, _TO_THE_END)
        below = drawing.step("Concat", ends[0], drawing.cut(below, 0, 0, -1), axis=0)
        above = drawing.step("Concat", drawing.cut(above, 0, 1, _TO_THE_END), ends[1], axis=0)
        seen += [below, above]
    return drawing.step("Concat", *seen, axis=1)


def _flipped(drawing: _Drawing, values: str, spec: ModelSpec) -> str:
    """The images with their mirror images behind them, in one batch."""
    if not spec.test_time_flips:
        return values
    mirrored = [drawing.mirrored(values, _AXES[flip]) for flip in spec.test_time_flips]
    return drawing.step("Concat", values, *mirrored, axis=0)


def _probability(drawing: _Drawing, logits: str, spec: ModelSpec) -> str:
    """(slices and mirror images, classes, height, width), without background."""
    if spec.temperature != 1:
        logits = drawing.step("Div", logits, drawing.constant(spec.temperature))
    if spec.logits == 1:
        return drawing.step("Sigmoid", logits)
    every = drawing.step("Softmax", logits, axis=1)
    return drawing.cut(every, 1, 1, spec.logits)


def _answer(drawing: _Drawing, total: str, spec: ModelSpec, *, members: int) -> None:
    """The mean over members and mirror images, each of these mirrored back."""
    flips = spec.test_time_flips
    if flips:
        parts = [f"part.{index}" for index in range(1 + len(flips))]
        drawing.nodes.append(helper.make_node("Split", [total], parts, axis=0, num_outputs=len(parts)))
        total = parts[0]
        for part, flip in zip(parts[1:], flips, strict=True):
            total = drawing.step("Add", total, drawing.mirrored(part, _AXES[flip]))
    mean = drawing.step("Div", total, drawing.constant(float(members * (1 + len(flips)))))
    if spec.logits == 1:
        drawing.step("Squeeze", mean, drawing.constant([1], np.int64), output=PROBABILITY)
    else:
        drawing.step("Transpose", mean, output=PROBABILITY, perm=[0, 2, 3, 1])
