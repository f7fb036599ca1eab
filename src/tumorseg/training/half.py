"""Weights of an ONNX graph in 16 bits: half the file, computed in 32 bits as before."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tumorseg.files import atomic_write

LEAST_VALUES = 1024
"""Smaller tensors (biases, shapes) stay as they are: they weigh nothing, and biases matter most."""

_LARGEST = float(np.finfo(np.float16).max)


def halve_weights(source: Path, target: Path) -> None:
    """Write a graph again with its large float32 weights stored as float16, each followed by a Cast to float32.

    Everything is still computed in float32; what is lost is the weights' rounding alone, at most 2^-11 of each that
    is no smaller than 2^-14. ONNX Runtime carries out the casts once, when it opens the graph. A tensor that holds
    a value beyond the range of float16 stays as it is.

    Args:
        source: of the graph.
        target: of the new one; it appears whole or not at all.
    """
    model = onnx.load(str(source))
    casts = []
    for stored in model.graph.initializer:
        if stored.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(stored)
        if values.size < LEAST_VALUES or not np.abs(values).max() <= _LARGEST:
            continue
        name = stored.name
        stored.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    with atomic_write(target) as temporary:
        onnx.save(model, str(temporary))
