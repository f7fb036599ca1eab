"""What the page says of brightness: sequences, institutions, contrast, and sequences that are missing."""

from collections.abc import Mapping, Sequence

from tumorseg.errors import few
from tumorseg.evaluation.charts import Axis, Dot, strips
from tumorseg.evaluation.facts import sequence_name
from tumorseg.studies.charts import around
from tumorseg.studies.exploration.gather import Exploration
from tumorseg.studies.exploration.rows import IntensityRow, Spread, spread
from tumorseg.studies.exploration.sections import (
    NARROW,
    WIDE,
    Chart,
    Section,
    Table,
    band,
    both_widths,
    capital,
    counted,
    groups_of,
)

_BETWEEN = {"institution": "between institutions", "class": "between classes", "": ""}
_MOST_DOTS = 40
"""Of one group in a strip; larger groups are drawn as bands."""


def intensities(found: Exploration) -> Section:
    """How bright the sequences are, group by group, and how they differ between patients."""
    kind, group = groups_of(found)
    names = {row.patient: group(row) for row in found.patients}
    top = 255.0 if found.eight_bits else max(spread([row.high for row in found.intensities]).p95, 1.0)
    unit = "value as stored, 0 to 255" if found.eight_bits else "value as stored, no unit"
    wide = []
    for sequence in found.channels:
        rows = []
        for name, members in sorted(_by_group(found, sequence, names).items()):
            heads = [row.head for row in members]
            middle = Spread(len(heads), *(spread(list(each)).p50 for each in zip(*heads, strict=True)))
            rows.append(band(f"{name} ({len(heads):,})", middle, unit=""))
        medians = [row.spread.p50 for row in rows]
        reading = (
            f"The middle value of the head runs from {min(medians):.0f} to {max(medians):.0f} {_BETWEEN[kind]}."
            if len(rows) > 1
            else f"The middle value of the head is {medians[0]:.0f}."
        )
        title = f"{capital(sequence_name((sequence,)))} in the head{', by ' * bool(kind)}{kind}"
        wide.append(both_widths(Axis(unit, 0.0, top), rows, title=title, reading=reading))
    wide.append(_brightest(found, names, top, unit))
    lead = (
        "Percentiles of the head's pixels, each the median over the scans of a group: thin bar 5th to 95th, thick bar "
        "the middle half, line the median."
    )
    return Section("intensity", "How bright the images are", lead, wide=tuple(wide))


def _by_group(found: Exploration, sequence: str, names: Mapping[str, str]) -> Mapping[str, list[IntensityRow]]:
    rows: dict[str, list[IntensityRow]] = {}
    for row in found.intensities:
        if row.sequence == sequence:
            rows.setdefault(names[row.patient], []).append(row)
    return rows


def _brightest(found: Exploration, names: Mapping[str, str], top: float, unit: str) -> Chart:
    """The 99th percentile of the shown sequence, scan by scan."""
    shown = "flair" if "flair" in found.channels else found.channels[0]
    groups = sorted(_by_group(found, shown, names).items())
    word = sequence_name((shown,))
    title = f"99th percentile of {word}, scan by scan"
    values = [row.p99 for _, members in groups for row in members]
    low, high = min(values), max(values)
    said = f"It runs from {low:.0f} to {high:.0f}"
    reading = (
        f"{said}: dividing by 255 would leave one scan {high / max(low, 1):.1f} times as bright as another. The "
        "default recipe normalises each scan by its own percentiles."
        if found.eight_bits
        else f"{said}: values share no scale, so each scan is normalised by its own percentiles."
    )
    if max(len(members) for _, members in groups) > _MOST_DOTS:
        rows = [band(f"{name} ({len(members):,})", [row.p99 for row in members], unit="") for name, members in groups]
        return both_widths(Axis(unit, 0.0, top), rows, title=title, reading=reading)
    dots = [(name, [Dot(row.p99, 0.0, f"{row.scan}: {row.p99:.0f}") for row in members]) for name, members in groups]
    nan = float("nan")
    alt = f"{title}: {low:.0f} to {high:.0f}; the numbers are in intensities.csv."
    wide, narrow = (
        strips(Axis(unit, 0.0, top), dots, alt=alt, width=width, mean=nan, interval=(nan, nan), note="")
        for width in (WIDE, NARROW)
    )
    return Chart(title, wide, reading, narrow)


def contrast(found: Exploration) -> Section:
    """The tumour against the rest of the head, sequence by sequence, and class by class."""
    classes = {row.patient: row.main_class for row in found.patients}
    rows, brighter = [], []
    several = len(found.classes) > 1
    for sequence in found.channels:
        for index in range(1, len(found.classes) + 1) if several else (0,):
            members = [
                row
                for row in found.intensities
                if row.sequence == sequence
                and row.contrast == row.contrast
                and (not several or classes[row.patient] == index)
            ]
            word = sequence_name((sequence,))
            of = found.classes[index - 1] if several else ""
            name = f"{word}, {of}" if several and len(found.channels) > 1 else of or word
            rows.append(band(f"{name} ({len(members):,})", [row.contrast for row in members], unit="", digits=2))
            brighter.append((name, spread([row.brighter for row in members])))
    ends = [value for row in rows if row.spread.count for value in (row.spread.p5, row.spread.p95)]
    axis = around([0.0, *ends], label="contrast, share of the scan's range", within=(-1.5, 1.5))
    likely = "; ".join(f"{name} {100 * one.p50:.0f} %" for name, one in brighter if one.count)
    reading = (
        "Median of the tumour minus median of the rest of the head, in the slices with tumour, as a share of the "
        "scan's range from the 0.5th to the 99.5th percentile; above 0 the tumour is brighter. A random pixel of the "
        f"tumour is brighter than one of the rest in: {likely} (median over scans). "
        "At 50 % brightness alone tells nothing."
        if likely
        else "No mask shows tumour."
    )
    of = f", {sequence_name(found.channels)}" if len(found.channels) == 1 else ""
    chart = both_widths(axis, rows, title=f"Contrast of the tumour{of}", reading=reading, zero=True)
    lead = "What a network can see by brightness alone; the rest it must learn from shape, texture and place."
    return Section("contrast", "Tumour against head", lead, wide=(chart,))


def missing(found: Exploration) -> Section:
    """Sequences that FLAIR stands in for, and blank slices."""
    rows = []
    for sequence in found.channels:
        absent = [row.patient for row in found.patients if sequence in row.stand_ins]
        own = [row for row in found.intensities if row.sequence == sequence]
        blank = sum(row.blank_slices for row in own)
        scans = sum(bool(row.blank_slices) for row in own)
        rows.append(
            (
                sequence_name((sequence,)),
                f"{len(absent)}",
                few(absent, shown=12) if absent else "–",
                f"{blank:,}" + (f" in {counted(scans, 'scan')}" if blank else ""),
            )
        )
    if len(found.channels) == 1:
        table = Table("Sequences", ("sequence", "blank slices"), tuple((row[0], row[3]) for row in rows))
    else:
        heads = ("sequence", "FLAIR in its place, patients", "who", "blank slices")
        table = Table("Sequences", heads, tuple(rows), (1,))
    return Section("missing", "Missing sequences", _missing_lead(found), tables=(table,))


def _missing_lead(found: Exploration) -> str:
    replaced: Sequence[str] = [row.patient for row in found.patients if row.stand_ins]
    if len(found.channels) == 1:
        return f"There is one sequence, {sequence_name(found.channels)}."
    if "flair" not in found.channels:
        return "No sequence is named FLAIR, so it is not known whether one stands in for another."
    if not replaced:
        return "Every patient has all sequences: none has the pixels of FLAIR in every slice."
    return (
        f"In {counted(len(replaced), 'patient')} a sequence has the pixels of FLAIR in every slice: it was missing, "
        "and FLAIR stands in for it. A model that leans on it must be taught to do without: the default recipe drops "
        "sequences while it trains."
    )
