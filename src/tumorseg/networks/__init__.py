"""Networks: a registry over segmentation_models_pytorch, MONAI and our own, and where first weights come from.

The names below are imported when they are first used: asking where weights lie must not load torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tumorseg.networks.freezing import can_freeze, refuse_freezing
    from tumorseg.networks.registry import NETWORKS, build_network, parameter_count
    from tumorseg.networks.whereabouts import weights_at_hand

_HOMES = {
    "NETWORKS": "registry",
    "build_network": "registry",
    "can_freeze": "freezing",
    "parameter_count": "registry",
    "refuse_freezing": "freezing",
    "weights_at_hand": "whereabouts",
}

__all__ = ["NETWORKS", "build_network", "can_freeze", "parameter_count", "refuse_freezing", "weights_at_hand"]


def __getattr__(name: str) -> Any:
    if home := _HOMES.get(name):
        return getattr(importlib.import_module(f"tumorseg.networks.{home}"), name)
    raise AttributeError(f"module 'tumorseg.networks' has no attribute '{name}'")
