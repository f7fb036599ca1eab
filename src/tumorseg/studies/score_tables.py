"""The tables of one part: the headline, the classes, the other scores, and the scores as other systems report them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tumorseg.evaluation.class_rows import class_rows
from tumorseg.evaluation.definitions import cut
from tumorseg.studies.comparison import behind_text, interval, p_text
from tumorseg.studies.published import Published
from tumorseg.studies.standings import Standing, Standings


@dataclass(frozen=True)
class Cell:
    """One value; `beside` says what it must be held against, `published` what its own system reported."""

    text: str
    beside: str = ""
    published: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One model's values."""

    label: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """A table with its heading and a sentence."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    said: str = ""


def tables_of(standings: Standings) -> tuple[Table, ...]:
    """Every score of one part in three tables, or four where the references tell several classes apart."""
    return (
        _table(
            standings,
            "Dice by patient",
            ("mean", "95 % interval", "median", "difference to the best", "p, Holm-corrected"),
            _headline,
        ),
        *_by_class(standings),
        _table(
            standings,
            "Other scores",
            (
                "Dice, all voxels",
                "IoU by patient",
                "IoU, all voxels",
                "precision",
                "recall",
                "accuracy",
                "false alarms",
            ),
            _others,
            "Over all voxels together, but for IoU by patient. False alarms: slices without tumour in which anything "
            "is marked; lower is better.",
        ),
        _table(
            standings,
            "As other systems report it",
            ("Dice, 16 slices a batch", "Dice + 100, one slice a batch", "Dice + 100, 32 slices a batch"),
            _borrowed,
            "Only to be held against published figures. Perfect masks need not reach 1 in the first; a prediction "
            "without any tumour scores high in the second.",
        ),
    )


def _table(
    standings: Standings,
    title: str,
    heads: tuple[str, ...],
    cells: Callable[[Standing], tuple[Cell, ...]],
    said: str = "",
) -> Table:
    return Table(title, heads, tuple(Row(row.arm.label, cells(row)) for row in standings.rows), said)


def _headline(row: Standing) -> tuple[Cell, ...]:
    patient = row.judged.metrics["dice_patient"]
    return (
        _cell(row, "dice_patient", cut(patient["mean"])),
        Cell(interval(*patient["ci95"])),
        Cell(cut(patient["median"])),
        Cell(behind_text(row)),
        Cell(p_text(row.p_holm) if row.behind else "–"),
    )


def _by_class(standings: Standings) -> tuple[Table, ...]:
    """Two columns for each class of the references; no table where they have one class."""
    best = class_rows(standings.best.judged.metrics)
    if not best:
        return ()
    counted = ", ".join(f"{entry.name} {entry.patients}" for entry in best)
    return (
        _table(
            standings,
            "Dice by patient, class by class",
            tuple(head for entry in best for head in (f"{entry.name}, as any tumour", f"{entry.name}, as itself")),
            _classes,
            f"Over the patients who have the class ({counted}): once as tumour of whatever class, once as this class, "
            "which a model of one class does not say. Beneath are 95 % intervals of the mean.",
        ),
    )


def _classes(row: Standing) -> tuple[Cell, ...]:
    return tuple(
        cell
        for entry in class_rows(row.judged.metrics)
        for cell in (
            Cell(cut(entry.any_mean), entry.any_interval),
            Cell(cut(entry.own_mean), entry.own_interval) if entry.named else Cell("–"),
        )
    )


def _others(row: Standing) -> tuple[Cell, ...]:
    metrics = row.judged.metrics
    return (
        _plain(row, "dice_pooled"),
        _cell(row, "iou_patient", cut(metrics["iou_patient"]["mean"])),
        _plain(row, "iou_pooled"),
        _plain(row, "precision"),
        _plain(row, "recall"),
        _plain(row, "accuracy", "all_empty", "nothing marked"),
        _cell(row, "empty_slice_fpr", cut(metrics["empty_slice_fpr"], lower_is_better=True)),
    )


def _borrowed(row: Standing) -> tuple[Cell, ...]:
    return (
        _plain(row, "dice_batch16", "perfect", "perfect masks"),
        _plain(row, "dice_smooth100_b1", "all_empty", "nothing marked"),
        _plain(row, "dice_smooth100_b32", "all_empty", "nothing marked"),
    )


def _plain(row: Standing, key: str, beside: str = "", who: str = "") -> Cell:
    """A score that is one number, and what `who` would get in the same."""
    metrics = row.judged.metrics
    return _cell(row, key, cut(metrics[key]), f"{who} {cut(metrics[beside][key])}" if beside else "")


def _cell(row: Standing, key: str, text: str, beside: str = "") -> Cell:
    return Cell(text, beside, tuple(published_text(figure) for figure in _figures(row.published, key)))


def published_text(figure: Published) -> str:
    """A published figure as the table shows it; a split by slice is named, since it flatters."""
    digits = 3 if round(figure.value, 3) == figure.value else 4
    return f"{figure.value:.{digits}f}" + (", split by slice" if figure.unit == "slice" else "")


def _figures(published: Sequence[Published], key: str) -> list[Published]:
    return [figure for figure in published if figure.metric == key]
