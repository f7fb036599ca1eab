"""Rows that look like a table in a notebook and in a terminal, and that pandas takes as they are."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from markupsafe import escape

SHOWN = 60
"""Rows that are displayed; the others are counted."""


class Table(list[dict[str, Any]]):
    """A list of rows, each a dictionary; `pandas.DataFrame(table)` makes a data frame of it.

    Args:
        rows: what one lacks of another's keys becomes None.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        given = list(rows)
        columns = dict.fromkeys(key for row in given for key in row)
        super().__init__({key: row.get(key) for key in columns} for row in given)

    @property
    def columns(self) -> tuple[str, ...]:
        """The keys of the rows."""
        return tuple(self[0]) if self else ()

    def column(self, name: str) -> list[Any]:
        """One value of each row."""
        return [row[name] for row in self]

    def __repr__(self) -> str:
        cells = [self.columns, *(tuple(_text(value) for value in row.values()) for row in self[:SHOWN])]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
        ]
        return "\n".join([*lines, *self._rest()])

    def _repr_html_(self) -> str:
        heads = "".join(f"<th>{escape(name)}</th>" for name in self.columns)
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(_text(value))}</td>" for value in row.values()) + "</tr>"
            for row in self[:SHOWN]
        )
        rest = "".join(f"<p>{line}</p>" for line in self._rest())
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>{rest}"

    def _rest(self) -> list[str]:
        return [f"… and {len(self) - SHOWN} more rows"] if len(self) > SHOWN else []


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return "" if value is None else str(value)
