"""Which device, precision and batch size a training takes when it is not told."""

from dataclasses import dataclass
from typing import Literal

import torch

from tumorseg.errors import TrainingError
from tumorseg.recipe import Recipe

USUAL_BATCH = 16
SMALL_GPU = 6 * 2**30
"""Bytes of device memory below which the usual batch at 256 x 256 may not fit."""


@dataclass(frozen=True)
class Device:
    """Where training happens.

    Attributes:
        accelerator: Lightning's name, "cpu" or "cuda".
        name: for people, such as "NVIDIA H200" or "CPU, 2 threads".
        precision: Lightning's name, "32-true" or "bf16-mixed".
    """

    accelerator: str
    name: str
    precision: str


def device_count(wanted: int | Literal["auto"], device: Device) -> int:
    """How many devices of this machine share a training; auto takes every visible GPU.

    Raises:
        TrainingError: there are fewer.
    """
    there = torch.cuda.device_count() if device.accelerator == "cuda" else None
    if wanted == "auto":
        return there or 1
    if wanted < 1 or (there is not None and wanted > there):
        has = "" if there is None else f": this machine has {there}"
        raise TrainingError(f"--devices {wanted}{has}", next_step="give a number from 1 up, or auto")
    return wanted


def choose_device(wanted: str, recipe: Recipe) -> Device:
    """Take the GPU where there is one, and bf16 where the device computes with it.

    Raises:
        TrainingError: `wanted` is cuda and there is none.
    """
    if wanted not in ("auto", "cpu", "cuda"):
        raise TrainingError(f"--device {wanted} is unknown", next_step="take auto, cpu or cuda")
    cuda = torch.cuda.is_available()
    if wanted == "cuda" and not cuda:
        raise TrainingError("--device cuda: no CUDA device is visible", next_step="take --device cpu, or auto")
    if cuda and wanted != "cpu":
        half = recipe.precision == "bf16" or (recipe.precision == "auto" and torch.cuda.is_bf16_supported())
        return Device("cuda", torch.cuda.get_device_name(), "bf16-mixed" if half else "32-true")
    half = recipe.precision == "bf16" or (recipe.precision == "auto" and _processor_has_bf16())
    return Device("cpu", f"CPU, {torch.get_num_threads()} threads", "bf16-mixed" if half else "32-true")


def choose_batch_size(recipe: Recipe, device: Device) -> int:
    """The recipe's batch size, or the usual one, halved where a GPU's memory is small."""
    if recipe.batch_size != "auto":
        return recipe.batch_size
    if device.accelerator == "cuda":
        memory = torch.cuda.get_device_properties(0).total_memory
        return USUAL_BATCH if memory >= SMALL_GPU else USUAL_BATCH // 2
    return USUAL_BATCH


def _processor_has_bf16() -> bool:
    """Whether bf16 is computed and not emulated; where torch cannot tell, fp32 is the safe answer."""
    for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_arm_bf16_supported"):
        asked = getattr(torch.cpu, probe, None)
        if asked is not None and asked():
            return True
    return False
