"""What a robustness study has counted so far, case by case, so that a stopped one goes on."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from tumorseg.errors import OutputError
from tumorseg.files import atomic_write, write_json
from tumorseg.metrics.overlap import Confusion
from tumorseg.studies.robustness_result import Shot, slice_shot

FOLDER = "unfinished"
"""Below the study's folder, while the study is not finished."""

_PLAN = "study.json"
_COUNTS = ("tp", "fp", "fn", "tn")


@dataclass(frozen=True, eq=False)
class CaseAnswers:
    """One model on all scans in one case.

    Attributes:
        counts: (scans,), in the study's order of scans.
        shot: of the pictured slice; None of any model but the first.
    """

    counts: Confusion
    shot: Shot | None = None


@dataclass(frozen=True)
class Unfinished:
    """The folder of what was counted.

    Attributes:
        folder: the study's folder with `FOLDER` behind.
        scans: ids, in the order of the counts.
    """

    folder: Path
    scans: tuple[str, ...]

    def known(self, label: str, key: str) -> CaseAnswers | None:
        """What was counted of a model and a case; None where that is still to be done, or the file is damaged."""
        try:
            with np.load(self._path(label, key), allow_pickle=False) as held:
                counts = Confusion(*(held[name] for name in _COUNTS))
                shot = None
                if "image" in held:
                    shot = slice_shot(held["image"], held["reference"], held["predicted"])
        except (OSError, ValueError, KeyError):
            return None
        return CaseAnswers(counts, shot) if counts.tp.shape == (len(self.scans),) else None

    def keep(self, label: str, key: str, answers: CaseAnswers) -> None:
        """Write what was counted, whole or not at all."""
        arrays: dict[str, Any] = {name: getattr(answers.counts, name) for name in _COUNTS}
        if answers.shot is not None:
            shot = answers.shot
            arrays |= {"image": shot.image, "reference": shot.reference, "predicted": shot.predicted}
        with atomic_write(self._path(label, key)) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **arrays)

    def finish(self) -> None:
        """Take the folder away, once the study's own files are there."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, label: str, key: str) -> Path:
        return self.folder / f"{quote(label, safe='')}-{key}.npz"


def begin(output: Path, plan: Mapping[str, Any], scans: Sequence[str], *, resume: bool) -> tuple[Unfinished, bool]:
    """Open the folder of an unfinished study, or make it.

    Args:
        output: the study's folder.
        plan: what the study is; one that was begun with another is not gone on with.
        scans: ids of what is judged.
        resume: go on with what is there.

    Returns:
        The folder, and whether it was there before.

    Raises:
        OutputError: an unfinished study is there and `resume` is not given, or it is another; or it is finished.
    """
    folder = output / FOLDER
    known = _plan_of(folder)
    if known is None:
        if resume and (output / "robustness.json").is_file():
            raise OutputError(f"the study in {output} is finished", next_step="leave out --resume to begin it anew")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / _PLAN, dict(plan))
        return Unfinished(folder, tuple(scans)), False
    if not resume:
        raise OutputError(
            f"{output} holds an unfinished study", next_step="go on with --resume, or choose another --output"
        )
    if different := sorted(name for name in plan if known.get(name) != json.loads(json.dumps(plan[name]))):
        raise OutputError(
            f"the unfinished study in {output} differs in {', '.join(different)}",
            next_step="resume with the same runs, --part and --data, or choose another --output",
        )
    return Unfinished(folder, tuple(scans)), True


def readings_of(output: Path) -> dict[str, int]:
    """How often each run's test part had been read when the study was begun, by label."""
    return dict((_plan_of(output / FOLDER) or {}).get("readings", {}))


def note_readings(output: Path, readings: Mapping[str, int]) -> None:
    """Keep the readings with the plan, so that going on is no further reading."""
    known = _plan_of(output / FOLDER) or {}
    write_json(output / FOLDER / _PLAN, {**known, "readings": dict(readings)})


def _plan_of(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / _PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
