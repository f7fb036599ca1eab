"""Judge masks that lie in a folder, whoever made them: no model, and nothing of training is loaded."""

import logging
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tumorseg import __version__
from tumorseg.errors import DataError, few
from tumorseg.evaluation.evaluate import refuse_unusable, replaced
from tumorseg.evaluation.facts import Example, RunFacts
from tumorseg.evaluation.judged_scans import scored, with_references
from tumorseg.evaluation.judgement import judge, write_judgement
from tumorseg.evaluation.mask_names import list_masks, says_prediction, says_reference
from tumorseg.evaluation.references import References, holds_images_too, read_references
from tumorseg.evaluation.stored_masks import StoredMasks, pair_masks
from tumorseg.evaluation.strata import traits_of, with_strata
from tumorseg.progress import Progress, silent

logger = logging.getLogger(__name__)

UNKNOWN = (
    "split",
    "leakage between training and test",
    "what was chosen on which patients",
    "readings of the test part",
)


def evaluate_masks(
    predictions: Path,
    reference: Path,
    output: Path,
    *,
    command: Sequence[str] = (),
    progress: Progress = silent,
) -> Path:
    """Judge the masks in a folder against references, by patient.

    A reference without a prediction counts as an empty prediction and is named; a prediction without a reference is
    named and not judged.

    Args:
        predictions: a folder of masks in any format that is read, named as the references are.
        reference: a data set with masks, or a folder of masks.
        output: a folder that is new, empty or an earlier evaluation.
        command: what was typed, for the report.
        progress: watches the scans go by.

    Returns:
        The folder that now holds metrics.json, patients.csv, slices.csv, report.html and predictions.png.

    Raises:
        DataError: a folder is missing or empty, names do not fit, or the two seem to be exchanged.
        FormatError: a file is damaged, or holds values that are no classes.
        ShapeMismatch: a mask does not lie on its reference's grid.
        OutputError: the output holds something else, or cannot be written.
    """
    from tumorseg.evaluation.report import write_report

    predictions, reference, output = Path(predictions), Path(reference), Path(output)
    refuse_unusable(output)
    listing = list_masks(predictions)
    _refuse_same(predictions, reference)
    references = read_references(reference, progress=progress)
    _refuse_exchanged(predictions, reference, references)
    stored = pair_masks(references, listing)
    if stored.missing:
        logger.warning(
            "%s no prediction and count%s as empty: %s",
            _having(len(stored.missing), "reference"),
            "s" * (len(stored.missing) == 1),
            few(stored.missing),
        )
    if stored.extra:
        logger.warning(
            "%s no reference and %s not judged: %s",
            _having(len(stored.extra), "prediction"),
            "is" if len(stored.extra) == 1 else "are",
            few(extra_names(stored, predictions)),
        )
    if listing.left_out:
        logger.warning(
            "%d files are not called masks, as others are, and are left out: %s",
            len(listing.left_out),
            few([path.name for path in listing.left_out]),
        )
    for note in references.notes:
        logger.warning("%s", note)
    pictures: dict[str, Example] = {}
    answers = progress.track(stored.answers(), what="Judging", total=len(references.scans))
    judgement = judge(
        with_references(answers, pictures),
        _protocol(stored, predictions, [path.name for path in listing.left_out]),
        classes=references.classes,
        segmented=stored.named,
        calibrated=False,
    )
    traits = traits_of(references.scans if references.with_images else (), references.clinical)
    judgement = with_strata(judgement, traits)
    examples = scored(pictures, judgement)
    if not references.with_images:
        examples = tuple(replace(example, sequence="no image") for example in examples)
    facts = RunFacts(
        name=predictions.resolve().name,
        recipe=None,
        command=shlex.join(command),
        part="",
        dataset=references.name,
    )
    with replaced(output) as folder:
        write_judgement(folder, judgement)
        write_report(folder, run=facts, judgement=judgement, examples=examples)
    return output


def _refuse_same(predictions: Path, reference: Path) -> None:
    if reference.exists() and predictions.resolve() == reference.resolve():
        raise DataError(
            f"{predictions} is given as predictions and as reference", next_step="give two folders, one for each"
        )


def _refuse_exchanged(predictions: Path, reference: Path, references: References) -> None:
    """A folder of bare masks beside one that holds images too: the images belong to the references.

    And names that say which is which: predictions called truth, beside references called prediction.
    """
    if says_reference(predictions) and says_prediction(reference):
        raise DataError(
            f"the masks in {predictions} are called references and those in {reference} predictions: the two seem to "
            "be exchanged",
            next_step="exchange them, or rename the files",
        )
    if not references.with_images and holds_images_too(predictions):
        raise DataError(
            f"{predictions} holds images beside masks and {reference} does not: predictions and reference seem to be "
            "exchanged",
            next_step="exchange them, or give the folder of the predicted masks alone",
        )


def _having(count: int, noun: str) -> str:
    return f"1 {noun} has" if count == 1 else f"{count} {noun}s have"


def extra_names(stored: StoredMasks, predictions: Path) -> list[str]:
    """What predictions without a reference are called: with their folder where another mask has the same name."""
    names = Counter(path.name for path in (*stored.extra, *(each for files in stored.files for each in files if each)))
    return [path.name if names[path.name] == 1 else str(path.relative_to(predictions)) for path in stored.extra]


def _protocol(stored: StoredMasks, predictions: Path, left_out: Sequence[str]) -> Mapping[str, Any]:
    """How the scores came about, and what nobody here can know of them."""
    references = stored.references
    return {
        "run": predictions.resolve().name,
        "part": "unknown",
        "dataset": references.name,
        "patients": len({scan.patient for scan in references.scans}),
        "scans": len(references.scans),
        "pairing": stored.rule,
        "missing_predictions": list(stored.missing),
        "extra_predictions": extra_names(stored, predictions),
        "left_out_files": list(left_out),
        "classes": list(references.classes),
        "classes_told_apart": stored.named,
        "notes": list(references.notes),
        "unknown": list(UNKNOWN),
        "tumorseg": __version__,
    }
