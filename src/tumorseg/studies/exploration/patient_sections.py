"""What the page says of the patients: across the split, and in the clinical table."""

from tumorseg.evaluation.charts import Dot, strips
from tumorseg.studies.exploration.charts import decades
from tumorseg.studies.exploration.clinical import Clinical, Column
from tumorseg.studies.exploration.dealt import RECIPE
from tumorseg.studies.exploration.gather import Exploration
from tumorseg.studies.exploration.rows import spread
from tumorseg.studies.exploration.sections import (
    NARROW,
    WIDE,
    Chart,
    Section,
    Table,
    band,
    both_widths,
    groups_of,
    percent,
)

_WORDS = {"train": "training", "val": "validation", "test": "test"}
_MOST_DOTS = 70


def split(found: Exploration) -> Section:
    """Patients, classes and institutions across the default recipe's split."""
    dealt = found.dealt
    title = "Across the split"
    if dealt.reason:
        return Section("split", title, f"The patients cannot be dealt into parts: {dealt.reason}.")
    shares = dealt.shares
    lead = (
        f"As the recipe {RECIPE} deals: {100 * shares.test:g} % test and {100 * shares.validation:g} % validation, by "
        f"patient, seed {shares.seed}. Parts should be alike: where one differs, scores on it differ for that too."
    )
    kind, _ = groups_of(found)
    heads = ["part", "patients", "slices", "with tumour", "share", "tumour a patient, median voxels"]
    names: list[str] = []
    if kind == "institution":
        names = sorted({row.institution for row in found.patients})
        heads += [f"{name or 'unknown'}, patients" for name in names]
    if len(found.classes) > 1:
        heads += [f"{name}, patients" for name in found.classes]
    rows = []
    for part in dealt.parts:
        median = spread([row.tumour_voxels for row in part.patients]).p50
        row = [_WORDS[part.part], f"{len(part.patients):,}", f"{part.slices:,}", f"{part.tumour_slices:,}"]
        row += [percent(part.tumour_slices, part.slices), f"{median:,.0f}"]
        row += [_share(part.institutions.get(name, 0), len(part.patients)) for name in names]
        if len(found.classes) > 1:
            row += [
                _share(part.classes.get(index, 0), len(part.patients)) for index in range(1, len(found.classes) + 1)
            ]
        rows.append(tuple(row))
    table = Table("Patients of each part", tuple(heads), tuple(rows), tuple(range(1, len(heads))))
    return Section("split", title, lead, wide=(_burden(found),), tables=(table,))


def _burden(found: Exploration) -> Chart:
    """Tumour of each patient, part by part."""
    parts = found.dealt.parts
    axis = decades("tumour of the patient, voxels, all slices", [row.tumour_voxels for row in found.patients])
    title = "Tumour of each patient, by part"
    medians = ", ".join(
        f"{_WORDS[part.part]} {spread([row.tumour_voxels for row in part.patients]).p50:,.0f}" for part in parts
    )
    reading = f"Medians in voxels: {medians}. Large tumours tend to score higher, so parts must be alike in size."
    sick = {part.part: [row for row in part.patients if row.tumour_voxels] for part in parts}
    if max(len(rows) for rows in sick.values()) > _MOST_DOTS:
        bars = [
            band(f"{name} ({len(rows)})", [float(row.tumour_voxels) for row in rows], unit="voxels")
            for name, rows in sick.items()
        ]
        return both_widths(axis, bars, title=title, reading=reading)
    dots = [
        (name, [Dot(row.tumour_voxels, 0.0, f"{row.patient}: {row.tumour_voxels:,} voxels") for row in rows])
        for name, rows in sick.items()
    ]
    nan = float("nan")
    wide, narrow = (
        strips(axis, dots, alt=f"{title}. {reading}", width=width, mean=nan, interval=(nan, nan), note="")
        for width in (WIDE, NARROW)
    )
    return Chart(title, wide, reading, narrow)


def _share(count: int, whole: int) -> str:
    return f"{count:,} ({100 * count / whole:.0f} %)" if whole else "0"


def clinical(found: Exploration, table: Clinical) -> Section:
    """The clinical table: what is filled in, and how often each code occurs."""
    rows = tuple((column.name, f"{column.filled}", f"{column.missing}", _values(column)) for column in table.columns)
    heads = ("column", "filled in", "missing", "code × patients")
    lead = (
        f"data.csv has a row for {len(table.rows)} of {len(found.patients)} patients. Its codes have no published "
        "dictionary: what a 1 or a 2 means is not known for certain, so nothing here is given a name."
        if table.names
        else "No clinical data could be joined."
    )
    tables = (Table("Columns", heads, rows, (1, 2)),) if rows else ()
    return Section("clinical", "Clinical table", lead, tables=tables, notes=table.notes)


def _values(column: Column) -> str:
    if column.numbers:
        found = spread(column.numbers)
        return (
            f"numbers, {column.numbers[0]:g} to {column.numbers[-1]:g}, median {found.p50:g}, "
            f"middle half {found.p25:g} to {found.p75:g}"
        )
    return ", ".join(f"{code} × {count}" for code, count in column.codes.items()) or "–"
