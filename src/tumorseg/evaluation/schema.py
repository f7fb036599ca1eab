"""The JSON schema of metrics.json, for programs that read it."""

import json
from functools import cache
from importlib import resources
from typing import Any


@cache
def metrics_schema() -> dict[str, Any]:
    """The schema (JSON Schema 2020-12), as `tumorseg/evaluation/metrics.schema.json` holds it."""
    text = resources.files("tumorseg.evaluation").joinpath("metrics.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
