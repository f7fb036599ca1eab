"""Networks: a registry over segmentation_models_pytorch, and where first weights come from (torch)."""

from tumorseg.networks.registry import NETWORKS, build_network, parameter_count

__all__ = ["NETWORKS", "build_network", "parameter_count"]
