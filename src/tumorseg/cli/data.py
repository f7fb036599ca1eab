"""`tumorseg data check` and `tumorseg data phantom`: look at a data set, or make a synthetic one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tumorseg.datasets.check import CheckReport
    from tumorseg.datasets.check_set import SetReport

CHECK_EXAMPLE = "tumorseg data check kaggle_3m"
PHANTOM_EXAMPLE = "tumorseg data phantom synthetic --patients 24"

LINES_OF_A_KIND = 8
"""Findings of one kind that the table shows; the JSON has all."""


def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The data set: a folder, ZIP, CSV or YAML file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON for programs.")] = False,
) -> None:
    """Read every file of a data set and say what would spoil training; exit 1 where something would."""
    from tumorseg.cli.console import console_progress, emit, emit_json
    from tumorseg.datasets.check import CheckReport
    from tumorseg.datasets.check_set import check_data

    report = check_data(folder, progress=console_progress())
    if as_json:
        emit_json(report.as_json())
    else:
        summary = _summary(report) if isinstance(report, CheckReport) else _summary_of_set(report)
        _show("Data set", ("", ""), summary)
        for title, level in (("Errors: they would spoil training", "error"), ("Notes", "note")):
            if rows := _findings(report, level):
                emit("")
                _show(title, ("patient", "what"), rows)
        errors, notes = len(report.errors), len(report.notes)
        verdict = "not fit to train on" if errors else "fit to train on"
        emit(f"\n{_count(errors, 'error')}, {_count(notes, 'note')}: {verdict}")
    if report.errors:
        raise typer.Exit(1)


def phantom(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to make the folder kaggle_3m.")],
    patients: Annotated[int, typer.Option(metavar="N", help="How many patients.")] = 24,
    slices: Annotated[int, typer.Option(metavar="N", help="Slices of each patient.")] = 20,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed gives the same files.")] = 0,
) -> None:
    """Make a synthetic data set in the layout of the LGG set: heads with lesions, nobody's scans."""
    from tumorseg.cli.console import console_progress, emit
    from tumorseg.datasets.phantom import write_phantom

    written = write_phantom(folder, patients=patients, slices=slices, seed=seed, progress=console_progress())
    emit(str(written))


def _summary(report: "CheckReport") -> list[tuple[str, str]]:
    """What the set holds, as rows of name and value."""
    facts = report.as_json()
    by_institution = ", ".join(f"{name} {count}" for name, count in facts["institutions"].items())
    pairs = facts["pairs"]
    share = f" ({100 * facts['tumour_slices'] / pairs:.1f} %)" if pairs else ""
    missing = facts["missing_sequences"]
    published = facts["published"]
    rows = [
        ("folder", facts["folder"]),
        ("patients", f"{facts['patients']} ({by_institution})"),
        ("slices", f"{facts['slices']:,}, {pairs:,} of them whole pairs of image and mask"),
        ("with tumour", f"{facts['tumour_slices']:,}{share}"),
        ("images", "; ".join(f"{kind}: {count:,}" for kind, count in facts["images"].items()) or "none readable"),
        ("mask values", "; ".join(f"{kind}: {count:,}" for kind, count in facts["mask_values"].items()) or "none"),
        (
            "FLAIR in place of",
            f"pre-contrast in {len(missing['pre'])} patients, post-contrast in {len(missing['post'])}",
        ),
        ("copies", f"{_count(facts['copies'], 'patient')} more than once" if facts["copies"] else "none"),
        (
            "published",
            f"{published['identical']} of {facts['patients']} patients are pixel for pixel the published ones "
            f"({published['known']} are known)",
        ),
    ]
    return rows


def _summary_of_set(report: "SetReport") -> list[tuple[str, str]]:
    """What a set that is not of the LGG layout holds, as rows of name and value."""
    facts = report.as_json()
    layout = {"figshare": "the figshare set", "folder": "pairs of images and masks"}[facts["kind"]]
    classes = [
        (name, f"in {counts['slices']:,} slices of {_count(counts['patients'], 'patient')}")
        for name, counts in facts["classes"].items()
    ]
    folds = facts["folds"]
    rows = [
        ("folder", facts["folder"]),
        ("layout", layout),
        ("patients", f"{facts['patients']:,}"),
        ("slices", f"{facts['slices']:,} in {_count(facts['scans'], 'scan')}"),
        ("channels", ", ".join(facts["channels"]) or "unknown"),
        *classes,
        ("without tumour", f"{facts['empty_masks']:,} slices"),
        ("images", "; ".join(f"{kind}: {count:,}" for kind, count in facts["images"].items()) or "none readable"),
    ]
    if facts["kind"] == "figshare":
        rows += [
            ("ids merged", f"of {_count(len(facts['merged_patients']), 'patient')}"),
            (
                "folds",
                f"{len(folds)}, of {', '.join(map(str, folds.values()))} patients" if folds else "none published",
            ),
        ]
    return rows


def _findings(report: "CheckReport | SetReport", level: str) -> list[tuple[str, str]]:
    """Rows of patient and message, kind by kind; the rest of a long kind is counted."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for finding in report.errors if level == "error" else report.notes:
        kinds.setdefault(finding.kind, []).append((finding.patient or "whole set", finding.message))
    rows = []
    for kind, found in kinds.items():
        rows += found[:LINES_OF_A_KIND]
        if len(found) > LINES_OF_A_KIND:
            rows.append(("…", f"and {len(found) - LINES_OF_A_KIND} more of the kind {kind}; --json lists all"))
    return rows


def _show(title: str, header: tuple[str, str], rows: list[tuple[str, str]]) -> None:
    """A table on stdout: ruled where it is a terminal, plain columns where it is not."""
    import sys

    from tumorseg.cli.console import aligned, emit

    if not sys.stdout.isatty():
        emit(f"{title}\n{aligned([('  ' + name, value) for name, value in rows])}")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", show_header=any(header))
    table.add_column(header[0], no_wrap=True)
    table.add_column(header[1], overflow="fold")
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    Console(highlight=False).print(table)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
