"""A network in ONNX Runtime: all that prediction needs, without torch."""

import logging
import mmap
from pathlib import Path

import numpy as np
import onnxruntime

from tumorseg.errors import ModelError
from tumorseg.inference.runtime import Device, Float32, available_cores

log = logging.getLogger(__name__)

INPUT, OUTPUT = "image", "logits"
CUDA_BATCH = 16
MOST_LANES = 4
"""Slices that are computed side by side on the processor: each takes memory of its own, some 60 MB."""

_ERRORS_ONLY = 3
_EXTERNAL = b"\n\x08location"
"""The key of an `external_data` entry, as protocol buffers write it."""


class OnnxRuntime:
    """A graph with input "image" and output "logits", both float32 (slices, channels or classes, height, width).

    On the processor each slice goes through by itself: that is the fastest there, and makes what comes out for a
    slice independent of its neighbours to the last bit. Several may do so side by side, which keeps the cores busier
    than sharing out one.

    Args:
        path: of the graph.
        device: auto takes CUDA where this ONNX Runtime has it.

    Raises:
        ModelError: the file is no such graph, or the device is not there.
    """

    def __init__(self, path: Path, *, device: Device = "auto") -> None:
        onnxruntime.set_default_logger_severity(_ERRORS_ONLY)
        providers = _providers(device)
        _refuse_other_files(path)
        options = onnxruntime.SessionOptions()
        self._lanes = min(available_cores(), MOST_LANES)
        options.intra_op_num_threads = max(1, available_cores() // self._lanes)
        options.log_severity_level = _ERRORS_ONLY
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # ONNX Runtime's own classes share no base
            raise ModelError(
                f"{path} is not a graph that ONNX Runtime {onnxruntime.__version__} can run",
                next_step="copy the model again, or update onnxruntime",
            ) from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if [entry.name for entry in inputs] != [INPUT] or OUTPUT not in [entry.name for entry in outputs]:
            raise ModelError(
                f"{path} is not a network of ours: it must take '{INPUT}' and give '{OUTPUT}'",
                next_step="give a model that tumorseg wrote",
            )
        self._on_cuda = self._session.get_providers()[0] == "CUDAExecutionProvider"
        if device == "cuda" and not self._on_cuda:
            raise _no_cuda()
        log.debug("segmenting with ONNX Runtime on %s", "CUDA" if self._on_cuda else "the processor")

    @property
    def batch_size(self) -> int:
        """Slices that it is best given at once."""
        return CUDA_BATCH if self._on_cuda else 1

    @property
    def lanes(self) -> int:
        """Calls that may be under way side by side."""
        return 1 if self._on_cuda else self._lanes

    def __call__(self, batch: Float32) -> Float32:
        """Logits (slices, classes, height, width) of normalised slices (slices, channels, height, width)."""
        step = self.batch_size
        parts = [self._run(batch[start : start + step]) for start in range(0, len(batch), step)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _run(self, batch: Float32) -> Float32:
        try:
            (logits,) = self._session.run([OUTPUT], {INPUT: np.ascontiguousarray(batch)})
        except Exception as error:  # ONNX Runtime's own classes share no base
            text = " ".join(str(error).split())
            raise ModelError(
                f"the network could not compute {batch.shape[1]} channels of {batch.shape[3]} x {batch.shape[2]}: "
                f"{text[:200]}",
                next_step="check that model.json and model.onnx belong together",
            ) from error
        return np.asarray(logits, np.float32)


def _refuse_other_files(path: Path) -> None:
    """Raise ModelError where a graph keeps weights in other files: no digest vouches for those."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            named = content.find(_EXTERNAL) >= 0
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read", next_step="copy the model again") from error
    if named:
        raise ModelError(f"{path} keeps weights in another file", next_step="store them in the graph itself")


def _providers(device: Device) -> list[str]:
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device == "cuda" and not has_cuda:
        raise _no_cuda()
    return (
        ["CUDAExecutionProvider", "CPUExecutionProvider"] if has_cuda and device != "cpu" else ["CPUExecutionProvider"]
    )


def _no_cuda() -> ModelError:
    return ModelError(
        "this ONNX Runtime cannot compute on a CUDA device",
        next_step="install onnxruntime-gpu in place of onnxruntime, or use --device cpu",
    )
