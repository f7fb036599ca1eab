"""What a run must remember of where and how it was made."""

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tumorseg.datasets.prepared import Store
from tumorseg.recipe import Recipe
from tumorseg.training.devices import Device

PACKAGES = ("tumorseg", "torch", "lightning", "segmentation-models-pytorch", "timm", "numpy", "opencv-python-headless")


def describe_environment(
    data: Path,
    store: Store,
    recipe: Recipe,
    device: Device,
    command: Sequence[str],
    parameters: int,
    *,
    processes: int = 1,
) -> dict[str, Any]:
    """The content of environment.json."""
    return {
        "data": str(Path(data).resolve()),
        "dataset": Path(data).resolve().name,
        "store_digest": store.digest,
        "command": list(command),
        "seed": recipe.seed,
        "device": device.name,
        "devices": processes,
        "precision": device.precision,
        "parameters": parameters,
        "versions": {"python": platform.python_version(), **_versions()},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {_processor()}",
        "commit": _commit(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _commit() -> str | None:
    """The commit of the source that runs, where it is a checkout."""
    try:
        asked = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return asked.stdout.strip() or None
