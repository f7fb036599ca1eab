"""The clinical table beside the LGG set, joined to the patients; its codes have no published dictionary."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tumorseg.datasets.lgg import identify, list_lgg
from tumorseg.errors import few

KEY = "Patient"
_MOST_CODES = 12


@dataclass(frozen=True)
class Column:
    """One column, over the patients who are here and have a row.

    Attributes:
        name: as published.
        filled, missing: patients with and without a value.
        codes: how often each value occurs; empty for a measured number.
        numbers: sorted values of a measured number, such as the age; empty for codes.
    """

    name: str
    filled: int
    missing: int
    codes: Mapping[str, int]
    numbers: tuple[float, ...]


@dataclass(frozen=True)
class Clinical:
    """The table, joined to the patients.

    Attributes:
        names: of its columns, without the patient.
        rows: by patient who is here; those without a row are not in it.
        columns: what each holds.
        notes: what does not fit, one line each.
    """

    names: tuple[str, ...]
    rows: Mapping[str, Mapping[str, str]]
    columns: tuple[Column, ...]
    notes: tuple[str, ...]


def read_clinical_table(folder: Path, patients: Sequence[str]) -> Clinical:
    """Read data.csv beside the patients; what is wrong with it is a note, since no training needs it.

    Args:
        folder: of the data set.
        patients: who is here, as the scans name them.
    """
    table = list_lgg(folder).table
    if table is None:
        return Clinical((), {}, (), ("There is no data.csv with clinical data.",))
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = tuple(name for name in reader.fieldnames or () if name)
            entries = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        return Clinical((), {}, (), (f"{table.name} cannot be read: {error}.",))
    if KEY not in names:
        said = f"{table.name} has no column {KEY}, so that nobody can be found in it; restore the published table."
        return Clinical((), {}, (), (said,))
    names = tuple(name for name in names if name != KEY)
    listed = {identify((entry[KEY] or "").strip())[0]: entry for entry in entries}
    listed.pop("", None)
    rows = {
        patient: {name: (listed[patient].get(name) or "").strip() for name in names}
        for patient in patients
        if patient in listed
    }
    notes = []
    if absent := [patient for patient in patients if patient not in listed]:
        notes.append(f"{len(absent)} of {len(patients)} patients have no row in {table.name}: {few(absent)}.")
    if strangers := sorted(set(listed) - set(patients)):
        notes.append(f"{len(strangers)} rows of {table.name} belong to patients who are not here: {few(strangers)}.")
    return Clinical(names, rows, tuple(_column(name, list(rows.values())) for name in names), tuple(notes))


def _column(name: str, rows: Sequence[Mapping[str, str]]) -> Column:
    values = [row[name] for row in rows if row[name] and row[name].upper() != "NA"]
    counts = Counter(values)
    numbers = sorted(number for number in map(_number, values) if number is not None)
    measured = len(numbers) == len(values) and len(counts) > _MOST_CODES
    codes = {} if measured else dict(sorted(counts.items(), key=lambda item: (_number(item[0]) or 0.0, item[0])))
    return Column(name, len(values), len(rows) - len(values), codes, tuple(numbers) if measured else ())


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
