"""The judged networks that a run on everyone follows, with the validation patients whom they never saw."""

import logging
from collections.abc import Sequence
from pathlib import Path

from tumorseg.datasets.split import read_split
from tumorseg.errors import TumorsegError
from tumorseg.inference.model import read_model
from tumorseg.scan import Scan
from tumorseg.training.everyone import everyone_like
from tumorseg.training.fast_way import Trial

logger = logging.getLogger(__name__)


def rehearsals_of(run: Path, scans: Sequence[Scan]) -> tuple[Trial, ...]:
    """The run, or the folds of the cross-validation, whose settings a run on everyone took; none where they are gone.

    Args:
        run: whose patients all trained.
        scans: of its data.
    """
    try:
        judged = everyone_like(run)
    except TumorsegError as error:
        logger.warning("what mirror images are worth cannot be measured: %s", error)
        return ()
    if judged is None:
        return ()
    folds = sorted(path.parent for path in (judged / "runs").glob("*/model"))
    if not folds and everyone_like(judged) is not None:
        return rehearsals_of(judged, scans)  # nobody validated it either
    return tuple(trial for fold in folds or [judged] if (trial := _trial(fold, scans)) is not None)


def _trial(fold: Path, scans: Sequence[Scan]) -> Trial | None:
    model, split = read_model(fold), read_split(fold / "split.csv")
    if split.unit != "patient":
        return None
    trained, judged = ([scan for scan in scans if scan.patient in split.patients(part)] for part in ("train", "val"))
    return Trial(model, trained, judged) if trained and judged else None
