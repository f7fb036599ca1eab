"""Losses by name, over segmentation_models_pytorch and MONAI, and our few own (torch)."""

from tumorseg.losses.registry import LOSSES, build_loss

__all__ = ["LOSSES", "build_loss"]
