"""Graphs in 8 bits: which layers are spared, and that sums that overflow are found by arithmetic, not by processor."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

onnx = pytest.importorskip("onnx")

from tumorseg.inference.onnx_runtime import INPUT, OUTPUT, OnnxRuntime  # noqa: E402
from tumorseg.training.overflow import overflow_share  # noqa: E402
from tumorseg.training.quantised import write_quantised  # noqa: E402

CODES = np.array([[0, 0, 0, 0], [255, 255, 255, 255]], np.float32)


def kernel_of(*weights: float) -> NDArray[np.float32]:
    return np.array(weights, np.float32).reshape(1, -1, 1, 1)


def test_two_large_products_of_one_sign_overflow() -> None:
    assert overflow_share(CODES, kernel_of(1, 1, 1, 1)) == 0.5  # 255 x 127 x 2 = 64,770 in the second pixel
    assert overflow_share(CODES, kernel_of(-1, -1, 0, 0)) == 0.5
    assert overflow_share(CODES, kernel_of(1, -1, 1, -1)) == 0
    assert overflow_share(CODES, kernel_of(1, 0, 1, 0)) == 0  # 32,385 each
    assert overflow_share(CODES[:, :3], kernel_of(1, 0, 1)) == 0  # the last has no partner
    assert overflow_share(np.zeros((3, 2), np.float32), kernel_of(0, 0)) == 0


def test_the_worst_tap_counts() -> None:
    kernel = np.zeros((1, 4, 3, 3), np.float32)
    kernel[0, :, 1, 2] = 1
    assert overflow_share(CODES, kernel) == 0.5


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.floats(-3, 0), st.floats(0.1, 4))
def test_the_share_is_that_of_sums_that_16_bits_would_change(seed: int, channels: int, low: float, high: float) -> None:
    generator = np.random.default_rng(seed)
    pixels = generator.uniform(low, high, (12, channels)).astype(np.float32)
    kernel = generator.normal(size=(3, channels, 1, 1)).astype(np.float32)
    scale = (max(pixels.max(), 0) - min(pixels.min(), 0)) / 255
    codes = np.clip(np.rint(pixels / scale) - round(float(min(pixels.min(), 0) / scale)), 0, 255).astype(int)
    weights = np.rint(kernel[:, :, 0, 0] * (127 / np.abs(kernel[:, :, 0, 0]).max(axis=1, keepdims=True))).astype(int)
    changed = 0
    for pixel in codes:
        for row in weights:
            pairs = [sum(pixel[at : at + 2] * row[at : at + 2]) for at in range(0, channels, 2)]
            changed += sum(pairs) != sum(max(-(2**15), min(2**15 - 1, pair)) for pair in pairs)
    assert overflow_share(pixels, kernel) == pytest.approx(changed / (12 * 3), abs=1e-9)


def write_graph(path: Path) -> None:
    """Three convolutions: of the image; of values that are all large, by weights of one sign; and by mixed weights."""
    generator = np.random.default_rng(0)
    mixed = generator.normal(size=(1, 8, 1, 1))
    mixed[0, 1::2] = -np.abs(mixed[0, 1::2])
    mixed[0, 0::2] = np.abs(mixed[0, 0::2])
    kernels = {
        "stem": generator.uniform(0.5, 1, (8, 3, 3, 3)),
        "same": generator.uniform(0.5, 1, (8, 8, 1, 1)),
        "mixed": mixed,
    }
    helper = onnx.helper
    nodes = [
        helper.make_node("Conv", [INPUT, "stem"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "same"], ["c"]),
        helper.make_node("Conv", ["c", "mixed"], [OUTPUT]),
    ]
    shape = ["n", None, "h", "w"]
    graph = helper.make_graph(
        nodes,
        "three",
        [helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, [shape[0], 3, *shape[2:]])],
        [helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, [shape[0], 1, *shape[2:]])],
        [onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in kernels.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), str(path))


def test_the_image_stays_in_float32_and_what_overflows_gets_7_bits(tmp_path: Path) -> None:
    write_graph(tmp_path / "float.onnx")
    generator = np.random.default_rng(1)
    frames = [generator.uniform(0.5, 1, (3, 24, 32)).astype(np.float32) for _ in range(4)]
    write_quantised(tmp_path / "float.onnx", tmp_path / "fast.onnx", iter(frames))

    stored = {
        entry.name: onnx.numpy_helper.to_array(entry) for entry in onnx.load(tmp_path / "fast.onnx").graph.initializer
    }
    assert stored["stem"].dtype == np.float32
    assert stored["same_quantized"].dtype == stored["mixed_quantized"].dtype == np.int8
    assert np.abs(stored["same_quantized"].astype(int)).max() == 64
    assert np.abs(stored["mixed_quantized"].astype(int)).max() == 127

    other = generator.uniform(0.5, 1, (1, 3, 40, 24)).astype(np.float32)  # of another size
    exact, quick = OnnxRuntime(tmp_path / "float.onnx")(other), OnnxRuntime(tmp_path / "fast.onnx")(other)
    assert np.abs(exact - quick).max() < 0.02 * np.abs(exact).max()
