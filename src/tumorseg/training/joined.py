"""Several networks as one: a graph, and the same in torch, whose logits are the log odds of their mean probability."""

from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from tumorseg.files import digest_file
from tumorseg.inference.model import ONNX_NAME, Model, ModelSpec
from tumorseg.inference.onnx_runtime import INPUT, OUTPUT
from tumorseg.training.drawing import Drawing

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
    drawing = Drawing()
    temperature, least = drawing.constant(spec.temperature), drawing.constant(LEAST)
    logits = [drawing.step("Div", drawing.network(graph, INPUT), temperature) for graph in graphs]

    def log_mean(probabilities: Sequence[str], output: str = "") -> str:
        return drawing.step("Log", drawing.step("Max", drawing.step("Mean", *probabilities), least), output=output)

    if spec.logits == 1:
        tumour = log_mean([drawing.step("Sigmoid", each) for each in logits])
        other = log_mean([drawing.step("Sigmoid", drawing.step("Neg", each)) for each in logits])
        drawing.step("Sub", tumour, other, output=OUTPUT)
    else:
        log_mean([drawing.step("Softmax", each, axis=1) for each in logits], OUTPUT)
    example = onnx.load(str(graphs[0])).graph
    drawing.write(path, "joined", example.input, example.output)
