"""Evaluations of a study's runs: taken over where they are of this model and data, else made."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tumorseg.datasets.prepared import Store
from tumorseg.evaluation.evaluate import evaluate_run
from tumorseg.inference.model import read_model
from tumorseg.progress import Progress, silent
from tumorseg.studies.arm import Arm, read_judged

logger = logging.getLogger(__name__)

_POPULATIONS = {"test": ("test", "external"), "val": ("val",), "train": ("train",)}


def judged(arm: Arm, parts: Sequence[str], data: Path, store: Store, *, progress: Progress = silent) -> Arm:
    """The arm with its evaluation of each part; a new reading of the test part is counted where there is none yet.

    Args:
        arm: a whole run.
        parts: "test", "val", "train".
        data, store: the data set, and what `prepare` gives for it.
        progress: watches the scans go by.
    """
    return replace(
        arm, judged={part: read_judged(evaluation_of(arm, part, data, store, progress=progress)) for part in parts}
    )


def evaluation_of(arm: Arm, part: str, data: Path, store: Store, *, progress: Progress = silent) -> Path:
    """The folder of an arm's evaluation of one part; see `judged`."""
    model = read_model(arm.run).spec.model_dump(mode="json")
    for path in sorted((arm.run / "evaluation").glob("[!.]*/metrics.json")):
        if _is_of(path, part, model, store.digest):
            logger.info("%s: the evaluation on %s is there", arm.label, part)
            return path.parent
    logger.info("%s: judged on %s", arm.label, part)
    return evaluate_run(arm.run, part, data, progress=progress)


def _is_of(path: Path, part: str, model: Mapping[str, Any], store_digest: str) -> bool:
    """Whether a metrics.json is of this model, files included, on this part of this data, and of nothing else."""
    try:
        protocol = json.loads(path.read_text(encoding="utf-8"))["protocol"]
        known: Mapping[str, Any] = protocol["model"]
        return (
            protocol["part"] in _POPULATIONS[part]
            and protocol["store_digest"] == store_digest
            and not protocol.get("change")
            and "files" in known
            and all(model.get(key) == value for key, value in known.items())
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False
