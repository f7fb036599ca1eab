"""How often the test patients of a run were looked at: each look is one more chance to choose by them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tumorseg.errors import ModelError
from tumorseg.files import write_json
from tumorseg.inference.run_folder import READINGS


def count_reading(run: Path, *, dataset: str, store_digest: str, patients: int) -> int:
    """Note in RUN/evaluation/readings.json that the test part is read now.

    Returns:
        How often the test part of this data set was read under this run, this time included.

    Raises:
        ModelError: the file is not what this function writes.
        OutputError: it cannot be written.
    """
    path = run / READINGS
    readings = _read(path)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    readings.append({"time": now, "dataset": dataset, "store_digest": store_digest, "patients": patients})
    write_json(path, readings)
    return sum(reading["dataset"] == dataset for reading in readings)


def _read(path: Path) -> list[dict[str, Any]]:
    damaged = ModelError(f"{path} is damaged", next_step="restore it, so that readings of the test part stay counted")
    try:
        readings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise damaged from error
    if not isinstance(readings, list) or not all(isinstance(one, dict) and "dataset" in one for one in readings):
        raise damaged
    return readings
