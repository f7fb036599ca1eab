"""Several networks as one: a graph, and the same in torch, whose logits are the log odds of their mean probability."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import ModelProto, NodeProto, TensorProto, compose, helper, numpy_helper
from torch import Tensor, nn

from tumorseg.errors import ModelError
from tumorseg.files import atomic_write, digest_file
from tumorseg.inference.model import ONNX_NAME, Model, ModelSpec
from tumorseg.inference.onnx_runtime import INPUT, OUTPUT
from tumorseg.training.export import OPSET

LEAST = 1e-30
"""Probabilities below it are taken for it, so that their logarithm is finite in float32."""


class Joined(nn.Module):
    """Networks that see the same image, and answer with one set of logits.

    With p the mean of the members' probabilities, the logits are log p - log(1 - p) of a single class, and log p of
    each of several that exclude each other: a sigmoid, or a softmax, makes p of them again.

    Args:
        networks: image (N, C, H, W) float32 -> logits (N, K, H, W) float32, each.
        temperature: by which the members' logits are divided before they become probabilities.
    """

    def __init__(self, networks: Sequence[nn.Module], *, temperature: float) -> None:
        super().__init__()
        self._networks = nn.ModuleList(networks)
        self._temperature = temperature

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, K, H, W) of an image (N, C, H, W)."""
        logits = torch.stack([network(image) for network in self._networks]) / self._temperature
        if logits.shape[2] > 1:
            return torch.log(torch.softmax(logits, dim=2).mean(dim=0).clamp_min(LEAST))
        tumour, other = (torch.sigmoid(each).mean(dim=0).clamp_min(LEAST) for each in (logits, -logits))
        return torch.log(tumour) - torch.log(other)


def join_members(model: Model, folder: Path) -> Model:
    """An ensemble as a model of one network that gives the same probabilities, its graph written into `folder`.

    The temperature is inside it, so that the new model's is 1. All else stays.

    Args:
        model: an ensemble.
        folder: gets model.onnx.

    Raises:
        ModelError: a member's graph is not of the opset that training writes.
    """
    target = folder / ONNX_NAME
    write_joined(target, model.graphs, model.spec)
    alone = {"members": (), "temperature": 1.0, "files": {ONNX_NAME: digest_file(target)}}
    return Model(model.spec.model_copy(update=alone), folder)


def write_joined(path: Path, graphs: Sequence[Path], spec: ModelSpec) -> None:
    """Write one graph that computes what `Joined` computes of the members.

    Args:
        path: of the file; it appears whole or not at all.
        graphs: of the members.
        spec: of the ensemble.

    Raises:
        ModelError: a graph is not of the opset that training writes.
    """
    members = [member_of(graph, index) for index, graph in enumerate(graphs)]
    nodes, constants = list[NodeProto](), list[TensorProto]()
    for index, member in enumerate(members):
        nodes.append(helper.make_node("Identity", [INPUT], [f"{index}.{INPUT}"]))
        nodes.extend(member.graph.node)
        constants.extend(member.graph.initializer)
    constants += [
        numpy_helper.from_array(np.asarray(value, np.float32), name)
        for name, value in (("temperature", spec.temperature), ("least", LEAST))
    ]
    cooled = [f"{index}.cooled" for index in range(len(members))]
    nodes += [
        helper.make_node("Div", [f"{index}.{OUTPUT}", "temperature"], [name]) for index, name in enumerate(cooled)
    ]
    if spec.logits == 1:
        nodes += _log_mean(cooled, "Sigmoid", "tumour")
        opposite = [f"{name}.opposite" for name in cooled]
        nodes += [helper.make_node("Neg", [one], [other]) for one, other in zip(cooled, opposite, strict=True)]
        nodes += _log_mean(opposite, "Sigmoid", "other")
        nodes.append(helper.make_node("Sub", ["tumour", "other"], [OUTPUT]))
    else:
        nodes += _log_mean(cooled, "Softmax", OUTPUT, axis=1)
    example = onnx.load(str(graphs[0])).graph
    joined = helper.make_graph(nodes, "joined", list(example.input), list(example.output), constants)
    model = helper.make_model(
        joined, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=max(member.ir_version for member in members)
    )
    onnx.checker.check_model(model)
    with atomic_write(path) as temporary:
        onnx.save(model, str(temporary))


def member_of(path: Path, index: int) -> ModelProto:
    """A network's graph with `index` and a dot before all its names, so that it can stand beside others.

    Raises:
        ModelError: it is not of the opset that training writes.
    """
    model = onnx.load(str(path))
    if [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")] != [OPSET]:
        raise ModelError(f"{path} is not of ONNX's opset {OPSET}", next_step="train the run again, or update tumorseg")
    return compose.add_prefix(model, f"{index}.")


def _log_mean(logits: Sequence[str], operation: str, output: str, **attributes: Any) -> list[NodeProto]:
    """The logarithm of the mean over the members of what `operation` makes of their logits."""
    each = [f"{name}.probability" for name in logits]
    return [
        *(helper.make_node(operation, [one], [other], **attributes) for one, other in zip(logits, each, strict=True)),
        helper.make_node("Mean", each, [f"{output}.mean"]),
        helper.make_node("Max", [f"{output}.mean", "least"], [f"{output}.least"]),
        helper.make_node("Log", [f"{output}.least"], [output]),
    ]
