"""What a run folder remembers of itself, for whoever opens it later."""

import json
from pathlib import Path
from typing import Any

from tumorseg.errors import ModelError

READINGS = Path("evaluation", "readings.json")
"""Where a run counts how often its test patients were looked at."""


def read_environment(run: Path) -> dict[str, Any]:
    """Read environment.json of a run: data, command, seed, device, versions, times.

    Raises:
        ModelError: `run` is not a run folder, or the file is damaged.
    """
    path = Path(run) / "environment.json"
    try:
        environment = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(
            f"{run} is not a run folder: it has no readable environment.json",
            next_step="give a folder that tumorseg train wrote",
        ) from error
    except ValueError as error:
        raise ModelError(f"{path} is damaged", next_step="restore it or train again") from error
    if not isinstance(environment, dict):
        raise ModelError(f"{path} is damaged", next_step="restore it or train again")
    return environment
