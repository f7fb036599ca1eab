"""A score over patients: mean, median, and how far the mean could move with other patients."""

from typing import Any

import numpy as np

from tumorseg.metrics.bootstrap import bootstrap_interval
from tumorseg.metrics.overlap import Scores


def over_patients(values: Scores) -> dict[str, Any]:
    """Mean, median and interval over the patients that have a score, and how many have none."""
    scored = values[~np.isnan(values)]
    return {
        "mean": float(scored.mean()) if scored.size else float("nan"),
        "median": float(np.median(scored)) if scored.size else float("nan"),
        "ci95": list(bootstrap_interval(scored)),
        "n": int(scored.size),
        "left_out": int(values.size - scored.size),
    }
