"""report.html and predictions.png: what a model does well and badly, in one file that opens anywhere."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tumorseg import __version__
from tumorseg.evaluation import figures, measure_figures, provenance
from tumorseg.evaluation.cautions import cautions
from tumorseg.evaluation.checklist import checklist
from tumorseg.evaluation.class_rows import class_rows
from tumorseg.evaluation.definitions import cut, values
from tumorseg.evaluation.diagnosis import Diagnosis, diagnose
from tumorseg.evaluation.doubt_page import doubt_section
from tumorseg.evaluation.facts import Example, RunFacts
from tumorseg.evaluation.judgement import Judgement, PatientScore
from tumorseg.evaluation.measure_words import reading
from tumorseg.evaluation.overlay import Overlay, legend, overlay
from tumorseg.evaluation.practices import from_json
from tumorseg.evaluation.practices_page import PracticeSection, practice_section
from tumorseg.evaluation.protocol_box import protocol_box
from tumorseg.evaluation.selection import WEAK, failures, select
from tumorseg.evaluation.sheet import write_sheet
from tumorseg.files import write_text
from tumorseg.recipe_file import dump_recipe

__all__ = ["Example", "RunFacts", "write_report"]

_WIDE, _NARROW = 1040, 350
"""Widths in pixels of the chart by institution, for a screen and for a phone; CSS shows one of them."""

_BARS = 12
"""Patients whose errors are drawn by kind, the worst first."""

_UNSCORED = 2.0
"""Sorts patients without a Dice behind all others."""


@dataclass(frozen=True)
class Case:
    """One patient of the report; `pictures` and `example` are None where no picture is shown, `anchor` is then ""."""

    patient: PatientScore
    diagnosis: Diagnosis
    example: Example | None = None
    pictures: Overlay | None = None
    anchor: str = ""


def write_report(folder: Path, *, run: RunFacts, judgement: Judgement, examples: Sequence[Example]) -> Path:
    """Write report.html and predictions.png, each whole or not at all.

    The page is one file: pictures, charts and style are within it, it asks the network for nothing and runs no
    script.

    Args:
        folder: where the two go.
        run: what was trained on what.
        judgement: the scores.
        examples: at most one slice per patient; which of them are shown is decided here.

    Returns:
        The path of report.html.

    Raises:
        OutputError: one of the two cannot be written.
    """
    chosen = select(examples, worst=2, median=2, best=2)
    mean = judgement.metrics.get("dice_patient", {}).get("mean")
    title = f"{run.name}: Dice by patient, mean {cut(mean)}"
    write_sheet(folder / "predictions.png", (*chosen.worst, *chosen.median, *chosen.best), title=title)
    path = folder / "report.html"
    write_text(path, render(run=run, judgement=judgement, examples=examples))
    return path


def render(*, run: RunFacts, judgement: Judgement, examples: Sequence[Example]) -> str:
    """The page as HTML; the arguments are those of `write_report`."""
    environment = Environment(
        loader=PackageLoader("tumorseg.evaluation", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cut"] = cut
    return environment.get_template("report.html.j2").render(_context(run, judgement, examples))


def _context(run: RunFacts, judgement: Judgement, examples: Sequence[Example]) -> dict[str, Any]:
    """Everything that the template names."""
    cases, shown = _cases(judgement, examples)
    headline = judgement.metrics.get("dice_patient", {})
    low, high = headline.get("ci95") or (math.nan, math.nan)
    scores = values(judgement.metrics)
    unseen = run.part == "test" and not judgement.metrics.get("protocol", {}).get("trained_on")
    return {
        "run": run,
        "version": __version__,
        "summary": provenance.summary(run, len(judgement.patients), unseen=unseen),
        "headline": {"mean": headline.get("mean"), "median": headline.get("median"), "low": low, "high": high},
        "judged": headline.get("n", len(judgement.patients)),
        "pooled": judgement.metrics.get("dice_pooled"),
        "lone": judgement.lone_metrics.get("dice_patient", {}).get("mean"),
        "cautions": cautions(run, judgement),
        "weak": WEAK,
        "weak_count": sum(case.patient.dice < WEAK for case in cases),
        "groups": shown,
        "legends": {group: legend(f"legend-{group}") for group in ("worst", "others")},
        "curves": figures.learning_curves(run.log, run.recipe),
        "strips": {
            "wide": figures.by_institution(judgement, width=_WIDE),
            "narrow": figures.by_institution(judgement, width=_NARROW),
        },
        "size_chart": figures.by_size(judgement),
        "volume_chart": figures.by_volume(judgement),
        "error_chart": figures.by_error(judgement),
        "own_scores": [value for value in scores if not value.definition.borrowed],
        "borrowed_scores": [value for value in scores if value.definition.borrowed],
        "practices": _practices(judgement),
        "class_rows": class_rows(judgement.metrics),
        "institutions": any(patient.institution for patient in judgement.patients),
        "cases": cases,
        "protocol": protocol_box(run, judgement.metrics),
        "reading": reading(judgement),
        "agreement": measure_figures.agreement(judgement),
        "reliability": measure_figures.reliability_diagram(judgement.metrics),
        "doubt": measure_figures.own_doubt(judgement),
        "uncertainty": doubt_section(judgement),
        "error_bars": {
            name: measure_figures.error_bars([case.patient for case in cases[:_BARS]], width=width)
            for name, width in (("wide", _WIDE), ("narrow", _NARROW))
        },
        "error_kinds": list(measure_figures.KINDS.values()),
        "strata": {
            name: measure_figures.forest(
                judgement.metrics.get("strata", ()), headline.get("mean", math.nan), width=width
            )
            for name, width in (("wide", _WIDE), ("narrow", _NARROW))
        },
        "checklist": checklist(run, judgement.metrics),
        "facts": provenance.facts(run),
        "versions": provenance.versions(run),
        "command": provenance.command(run),
        "recipe_yaml": dump_recipe(run.recipe) if run.recipe else "",
    }


def _practices(judgement: Judgement) -> PracticeSection | None:
    found = judgement.metrics.get("practices")
    return practice_section(from_json(found)) if found else None


def _cases(judgement: Judgement, examples: Sequence[Example]) -> tuple[list[Case], dict[str, list[Case]]]:
    """All patients, worst first, and those with pictures by role."""
    chosen = select(examples, worst=failures(examples), median=2, best=2)
    pictured = {example.patient: example for example in (*chosen.worst, *chosen.median, *chosen.best)}
    ranked = sorted(judgement.patients, key=lambda p: (_UNSCORED if math.isnan(p.dice) else p.dice, p.patient))
    by_patient: dict[str, list[Any]] = {}
    for piece in judgement.slices:
        by_patient.setdefault(piece.patient, []).append(piece)
    cases: list[Case] = []
    for index, patient in enumerate(ranked, start=1):
        diagnosis = diagnose(patient, by_patient.get(patient.patient, []))
        example = pictured.get(patient.patient)
        if example is None:
            cases.append(Case(patient, diagnosis))
        else:
            pictures = overlay(example, key=str(index))
            cases.append(Case(patient, diagnosis, example, pictures, anchor=f"case-{index}"))
    roles = {example.patient: example.role for example in pictured.values()}
    groups: dict[str, list[Case]] = {"worst": [], "median": [], "best": []}
    for case in cases:
        if role := roles.get(case.patient.patient, ""):
            groups[role].append(case)
    groups["best"].reverse()
    groups["median"].reverse()
    return cases, groups
