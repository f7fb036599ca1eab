"""Layers whose sums overflow on processors without 8-bit dot products (VNNI), as most of before 2020 to 2022.

These multiply pairs of 8-bit codes and weights and add each pair in 16 bits, where it is cut off (x86's `pmaddubsw`).
With weights of 7 bits no pair can overflow, at the price of half of their precision, so that they are given only to
the layers that need it. Which those are is computed here, and does not depend on the processor that computes it.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tumorseg.inference.onnx_runtime import INPUT

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

OFTEN = 0.01
"""Of a layer's sums: rarer overflows change less than the seventh bit is worth."""

_PIXELS = 300
_HIGHEST = 2**15 - 1


def overflowing_kernels(model: "ModelProto", frames: Iterable[NDArray[np.float32]]) -> list[str]:
    """Names of the kernels with which more than `OFTEN` of a convolution's sums would overflow in 16 bits.

    Args:
        model: the float32 graph, its kernels stored in it.
        frames: a few slices as the network sees them, (channels, height, width) each.
    """
    from onnx.numpy_helper import to_array

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    convolutions = [node for node in model.graph.node if _may_overflow(node, stored.keys())]
    if not convolutions:
        return []
    inputs = _inputs_of(model, [node.input[0] for node in convolutions], frames)
    return [
        node.input[1]
        for node in convolutions
        if overflow_share(inputs[node.input[0]], to_array(stored[node.input[1]]).astype(np.float32)) > OFTEN
    ]


def overflow_share(pixels: NDArray[np.float32], kernel: NDArray[np.float32]) -> float:
    """How many of a convolution's sums hold a pair that overflows in 16 bits, 0 to 1; of its worst tap.

    Codes are 0 to 255 from the smallest to the largest value; weights −127 to 127 by output channel; neighbouring
    channels make a pair.

    Args:
        pixels: of its input, (pixels, channels).
        kernel: (outputs, channels, height, width).
    """
    lowest, highest = min(float(pixels.min()), 0.0), max(float(pixels.max()), 0.0)
    scale = (highest - lowest) / 255 or 1.0
    codes = np.clip(np.rint(pixels / scale) - round(lowest / scale), 0, 255).astype(np.int32)
    largest = np.abs(kernel).max(axis=(1, 2, 3), keepdims=True)
    weights = np.rint(kernel * 127 / np.where(largest > 0, largest, 1)).astype(np.int32)
    even = codes.shape[1] // 2 * 2  # a channel without a partner cannot overflow
    taps = weights[:, :even].transpose(2, 3, 0, 1).reshape(kernel[0, 0].size, len(weights), even)
    return max(_overflow_share_of_tap(codes[:, :even], tap) for tap in taps)


def _overflow_share_of_tap(codes: NDArray[np.int32], tap: NDArray[np.int32]) -> float:
    """As `overflow_share`, of codes (pixels, channels) and weights (outputs, channels) of one tap."""
    # Few pairs could overflow even if all pixels had their channels' largest codes: the others are not computed.
    most = codes.max(axis=0)
    highest, lowest = (most * np.maximum(sign * tap, 0) for sign in (1, -1))
    possible = np.maximum(*(bound[:, 0::2] + bound[:, 1::2] for bound in (highest, lowest))) > _HIGHEST
    outputs, pairs = np.nonzero(possible)
    if not len(outputs):
        return 0.0
    sums = codes[:, 2 * pairs] * tap[outputs, 2 * pairs] + codes[:, 2 * pairs + 1] * tap[outputs, 2 * pairs + 1]
    _, starts = np.unique(outputs, return_index=True)
    over = np.logical_or.reduceat(np.abs(sums) > _HIGHEST, starts, axis=1)
    return float(over.sum() / (len(codes) * len(tap)))


def _may_overflow(node: "NodeProto", stored: Iterable[str]) -> bool:
    """Whether it is a convolution of several channels, with a kernel that is known, that does not see the image."""
    groups = next((entry.i for entry in node.attribute if entry.name == "group"), 1)
    return node.op_type == "Conv" and groups == 1 and node.input[1] in stored and node.input[0] != INPUT


def _inputs_of(
    model: "ModelProto", names: list[str], frames: Iterable[NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    """Some pixels of the named values, (pixels, channels) each."""
    import onnxruntime
    from onnx import ModelProto, ValueInfoProto

    watched = ModelProto()
    watched.CopyFrom(model)
    distinct = list(dict.fromkeys(names))
    given = {value.name for value in watched.graph.output}
    watched.graph.output.extend(ValueInfoProto(name=name) for name in distinct if name not in given)
    session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    drawn: dict[str, list[NDArray[np.float32]]] = {name: [] for name in distinct}
    for index, frame in enumerate(frames):
        generator = np.random.default_rng(index)
        for name, value in zip(
            distinct, session.run(distinct, {INPUT: np.ascontiguousarray(frame[None])}), strict=True
        ):
            pixels = value[0].reshape(value.shape[1], -1).T
            drawn[name].append(pixels[generator.integers(0, len(pixels), _PIXELS)])
    return {name: np.concatenate(parts) for name, parts in drawn.items()}
