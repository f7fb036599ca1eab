"""ONNX graphs drawn step by step, with whole networks in them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import NodeProto, TensorProto, ValueInfoProto, compose, helper, numpy_helper

from tumorseg.errors import ModelError
from tumorseg.files import atomic_write
from tumorseg.inference.onnx_runtime import INPUT, OUTPUT
from tumorseg.training.export import OPSET

_BACKWARDS, TO_THE_END = np.iinfo(np.int64).min, np.iinfo(np.int64).max


class Drawing:
    """Nodes and constants of a graph as they are drawn; each step gives the name of what it computes."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._networks = 0
        self._ir_version = 0

    def constant(self, value: ArrayLike, kind: type[np.generic] = np.float32) -> str:
        """A value that is stored in the graph."""
        name = f"constant.{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def step(self, operation: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """What an operation of ONNX makes of its inputs, under a name of its own or `output`."""
        name = output or f"step.{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, list(inputs), [name], **attributes))
        return name

    def cut(self, values: str, axis: int, first: int, end: int, step: int = 1) -> str:
        """Every `step`th from `first` to before `end` along an axis."""
        ends = [self.constant([value], np.int64) for value in (first, end, axis, step)]
        return self.step("Slice", values, *ends)

    def mirrored(self, values: str, axis: int) -> str:
        """Backwards along an axis."""
        return self.cut(values, axis, -1, _BACKWARDS, -1)

    def network(self, path: Path, image: str) -> str:
        """The logits that a network's graph makes of an image; its names are kept apart from all others.

        Raises:
            ModelError: it is not of the opset that training writes.
        """
        model = onnx.load(str(path))
        if [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")] != [OPSET]:
            raise ModelError(
                f"{path} is not of ONNX's opset {OPSET}", next_step="train the run again, or update tumorseg"
            )
        own = compose.add_prefix(model, f"{self._networks}.")
        self.step("Identity", image, output=f"{self._networks}.{INPUT}")
        self.nodes.extend(own.graph.node)
        self.constants.extend(own.graph.initializer)
        logits = f"{self._networks}.{OUTPUT}"
        self._networks += 1
        self._ir_version = max(self._ir_version, own.ir_version)
        return logits

    def write(self, path: Path, name: str, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto]) -> None:
        """Write what was drawn as a graph, whole or not at all."""
        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=self._ir_version)
        onnx.checker.check_model(model)
        with atomic_write(path) as temporary:
            onnx.save(model, str(temporary))
