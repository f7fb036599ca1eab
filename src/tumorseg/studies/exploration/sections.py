"""What the page says: counts, size and place of the tumours, each chart with one line on how to read it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tumorseg.evaluation.charts import Axis, Frame, Series, lines
from tumorseg.studies.exploration.charts import (
    Band,
    bands,
    counting_top,
    decades,
    heat_map,
    histogram,
    log_edges,
    whole_edges,
)
from tumorseg.studies.exploration.gather import Exploration
from tumorseg.studies.exploration.planes import TOLD
from tumorseg.studies.exploration.rows import PatientRow, Spread, spread

WIDE, NARROW = 1040, 350
_BINS = 20


@dataclass(frozen=True)
class Chart:
    """A chart with its title and how to read it; of a wide one there is a narrow drawing for phones."""

    title: str
    drawn: Markup
    reading: str
    narrow: Markup | None = None


@dataclass(frozen=True)
class Table:
    """A table; the first column names the rows, `numbers` are the columns set to the right."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...] = ()
    reading: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the page: charts side by side, wide charts and tables below one another."""

    key: str
    title: str
    lead: str
    charts: tuple[Chart, ...] = ()
    wide: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()


def counted(number: int, noun: str) -> str:
    """1 patient, 2 patients."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def digits(value: float) -> str:
    """A size as people read it: three digits below a hundred, whole numbers above."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def capital(text: str) -> str:
    """With a capital letter at its start, the rest as it is."""
    return text[:1].upper() + text[1:]


def percent(part: float, whole: float) -> str:
    """A share, such as 34.8 %; – of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else "–"


def groups_of(found: Exploration) -> tuple[str, Callable[[PatientRow], str]]:
    """What patients are told apart by, and how: institution where known, else class where there are several."""
    if any(row.institution for row in found.patients):
        return "institution", lambda row: row.institution or "unknown"
    if len(found.classes) > 1:
        return "class", lambda row: found.classes[row.main_class - 1] if row.main_class else "no tumour"
    return "", lambda row: "all"


def grouped(found: Exploration) -> Mapping[str, list[PatientRow]]:
    """The patients of each group, sorted by its name."""
    _, group = groups_of(found)
    rows: dict[str, list[PatientRow]] = {}
    for row in found.patients:
        rows.setdefault(group(row), []).append(row)
    return dict(sorted(rows.items()))


def both_widths(axis: Axis, rows: Sequence[Band], *, title: str, reading: str, zero: bool = False) -> Chart:
    """Percentile bands for a desk and for a phone; what they show is in `alt` as numbers."""
    alt = f"{title}. " + "; ".join(f"{row.title}" for row in rows)
    wide, narrow = (bands(axis, rows, alt=alt, width=width, zero=zero) for width in (WIDE, NARROW))
    return Chart(title, wide, reading, narrow)


def band(name: str, values: Iterable[float] | Spread, *, unit: str, digits: int = 0) -> Band:
    """One row, with its numbers in words."""
    found = values if isinstance(values, Spread) else spread(list(values))
    if not found.count:
        return Band(name, found, f"{name}: nothing to show")
    low, quarter, median, three, high = (
        f"{value:,.{digits}f}" for value in (found.p5, found.p25, found.p50, found.p75, found.p95)
    )
    title = f"{name}: median {median} {unit}, middle half {quarter} to {three}, 5 to 95 % {low} to {high}"
    return Band(name, found, title)


def counts(found: Exploration) -> Section:
    """How much there is, and how it is spread over patients, classes and institutions."""
    kind, _ = groups_of(found)
    charts = []
    per_patient = [row.slices for row in found.patients]
    middle = spread(per_patient).p50
    edges = whole_edges(per_patient)
    charts.append(
        Chart(
            "Slices per patient",
            histogram(
                edges,
                per_patient,
                x=Axis("slices of the patient", edges[0], edges[-1]),
                y="patients",
                alt=f"Slices per patient: {min(per_patient)} to {max(per_patient)}, median {middle:g}.",
                mark=(middle, f"median {middle:g}"),
            ),
            f"{min(per_patient)} to {max(per_patient)} slices a patient. A mean over slices weighs long scans more; "
            "scores here are by patient."
            if min(per_patient) < max(per_patient)
            else f"Every patient has {counted(per_patient[0], 'slice')}.",
        )
    )
    with_tumour = [100 * row.tumour_slices / row.slices for row in found.patients]
    if found.tumour_slices < len(found.slices):
        middle = spread(with_tumour).p50
        charts.append(
            Chart(
                "Slices with tumour, by patient",
                histogram(
                    [5.0 * step for step in range(21)],
                    with_tumour,
                    x=Axis("slices with tumour, % of the patient's", 0, 100),
                    y="patients",
                    alt=f"Share of slices with tumour by patient, median {middle:.0f} %.",
                    mark=(middle, f"median {middle:.0f} %"),
                ),
                f"{percent(len(found.slices) - found.tumour_slices, len(found.slices))} of all slices show no tumour: "
                "a model that marks nothing is right on all of them, so a mean over slices flatters it.",
            )
        )
    tables = []
    if len(found.classes) > 1:
        tables.append(_class_table(found))
    if kind == "institution":
        tables.append(_institution_table(found))
    tables.append(
        Table(
            "Image sizes and types",
            ("width x height x channels, type", "slices"),
            tuple((name, f"{count:,}") for name, count in found.frames.items()),
            (1,),
            "Every slice is brought to the recipe's image size from its own."
            if len(found.frames) > 1
            else "All slices share one size and type.",
        )
    )
    volumes = "" if found.has_volumes else " Each scan is one slice."
    lead = (
        f"{counted(len(found.patients), 'patient')}, {counted(found.scans, 'scan')}, "
        f"{counted(len(found.slices), 'slice')}: {found.tumour_slices:,} show tumour "
        f"({percent(found.tumour_slices, len(found.slices))}), {len(found.slices) - found.tumour_slices:,} do not."
        if found.tumour_slices < len(found.slices)
        else f"{counted(len(found.patients), 'patient')}, {counted(len(found.slices), 'slice')}, all with tumour: how "
        "often healthy slices are marked cannot be measured on this set."
    )
    return Section("counts", "What is there", lead + volumes, tuple(charts), tables=tuple(tables))


def _class_table(found: Exploration) -> Table:
    rows = []
    for index, name in enumerate(found.classes):
        patients = sum(bool(row.class_slices[index]) for row in found.patients)
        slices = sum(row.class_slices[index] for row in found.patients)
        per_patient = spread([row.class_slices[index] for row in found.patients if row.class_slices[index]])
        median = f"{per_patient.p50:g}" if patients else "–"
        share = percent(slices, found.tumour_slices)
        rows.append((name, f"{patients:,}", f"{slices:,}", share, median))
    heads = ("class", "patients", "slices", "of slices with tumour", "slices a patient, median")
    reading = "A rare class is learned from few patients; the split deals patients so that each part has its share."
    return Table("Classes", heads, tuple(rows), (1, 2, 3, 4), reading)


def _institution_table(found: Exploration) -> Table:
    rows = []
    for name, patients in grouped(found).items():
        slices = sum(row.slices for row in patients)
        tumour = sum(row.tumour_slices for row in patients)
        rows.append((name, f"{len(patients):,}", f"{slices:,}", f"{tumour:,}", percent(tumour, slices)))
    heads = ("institution", "patients", "slices", "with tumour", "share with tumour")
    reading = "Scanners differ between institutions; one with few patients cannot be judged by itself."
    return Table("Institutions", heads, tuple(rows), (1, 2, 3, 4), reading)


def sizes(found: Exploration) -> Section:
    """How large the tumours are."""
    millimetres = found.has_spacing
    charts, wide = [], []
    if found.has_volumes:
        per_patient = [
            (row.tumour_ml or 0.0) if millimetres else float(row.tumour_voxels)
            for row in found.patients
            if row.tumour_voxels
        ]
        charts.append(_size_chart("Tumour per patient", per_patient, "ml" if millimetres else "voxels", "patients"))
    per_slice = [
        (row.tumour_mm2 or 0.0) if millimetres else float(row.tumour_pixels)
        for row in found.slices
        if row.tumour_pixels
    ]
    unit = "mm²" if millimetres else "pixels"
    charts.append(_size_chart("Tumour per slice", per_slice, unit, "slices with tumour"))
    kind, group = groups_of(found)
    names = {row.patient: group(row) for row in found.patients}
    shares: dict[str, list[float]] = {}
    for row in found.slices:
        if row.tumour_pixels and row.head_pixels:
            shares.setdefault(names[row.patient], []).append(100 * row.tumour_pixels / row.head_pixels)
    if shares:
        axis = Axis(
            "tumour, % of the head's pixels in the slice", 0.0, max(5.0, *(spread(v).p95 for v in shares.values()))
        )
        rows = [band(f"{name} ({len(v):,})", v, unit="%", digits=1) for name, v in sorted(shares.items())]
        reading = (
            "Of slices with tumour. Few pixels are tumour, so accuracy says little, and a loss that counts pixels "
            "alone learns to mark nothing."
        )
        wide.append(both_widths(axis, rows, title=f"Tumour against head{', by ' * bool(kind)}{kind}", reading=reading))
    lead = (
        "Sizes are in millimetres: every scan tells its spacing."
        if millimetres
        else "Sizes are in voxels and pixels: the spacing is not known for every scan, so no volume is given."
    )
    return Section("size", "How large the tumours are", lead, tuple(charts), tuple(wide))


def _size_chart(title: str, values: Sequence[float], unit: str, what: str) -> Chart:
    axis = decades(f"size of the tumour, {unit}", values)
    if not values:
        drawn = histogram(log_edges(axis), [], x=axis, y=what, alt=f"{title}: there is no tumour.")
        return Chart(title, drawn, "No mask shows tumour.")
    middle, low, high = spread(values).p50, min(values), max(values)
    return Chart(
        title,
        histogram(
            log_edges(axis),
            values,
            x=axis,
            y=what,
            alt=f"{title}: {digits(low)} to {digits(high)} {unit}, median {digits(middle)}.",
            mark=(middle, f"median {digits(middle)}"),
        ),
        f"{digits(low)} to {digits(high)} {unit}. A rim of one pixel costs a small tumour much of its Dice.",
    )


def places(found: Exploration) -> Section:
    """Where the tumours lie: over the head, and along the slice axis."""
    charts = []
    for index, one in enumerate(found.heat_maps):
        across, down, share = one.densest
        title = f"{capital(one.name)}, {counted(one.patients, 'patient')}"
        said = (
            f"Most often {100 * across:.0f} % from the left and {100 * down:.0f} % from the top of the head's box: "
            f"there in {100 * share:.0f} % of these patients."
        )
        drawn = heat_map(one, key=str(index), alt=f"Heat map of {title}. {said}")
        charts.append(Chart(title, drawn, said))
    if any(row.position == row.position for row in found.slices):
        charts.append(_along_axis(found))
    planes = (
        f"The plane of a slice is not recorded in this set; it is told from the picture ({TOLD})."
        if found.kind == "figshare"
        else "Sides are those of the picture as stored."
    )
    lead = (
        "Each head is brought to one box, so that heads of different size lie on each other; colour is the share of "
        f"patients whose tumour covers a place in any slice. {planes}"
    )
    notes = () if found.heat_maps else ("No mask shows tumour.",)
    return Section("place", "Where the tumours lie", lead, tuple(charts), notes=notes)


def _along_axis(found: Exploration) -> Chart:
    total, tumour = [0] * _BINS, [0] * _BINS
    for row in found.slices:
        if row.position == row.position:
            index = min(int(row.position * _BINS), _BINS - 1)
            total[index] += 1
            tumour[index] += row.tumour_pixels > 0
    points = [
        (100 * (index + 0.5) / _BINS, 100 * hit / count)
        for index, (hit, count) in enumerate(zip(tumour, total, strict=True))
        if count
    ]
    top = max(share for _, share in points)
    peak = next(at for at, share in points if share == top)
    title = "Along the slice axis"
    alt = f"Slices with tumour along the slice axis: most at {peak:.0f} % of the way, {top:.0f} %."
    y = Axis("slices with tumour, %", 0, counting_top(round(top)))
    drawn = lines(Frame(Axis("place along the slice axis, %", 0, 100), y), [Series("", points)], alt=alt)
    ends = [share for at, share in points if at < 10 or at > 90]
    reading = (
        f"Most slices with tumour lie {peak:.0f} % of the way ({top:.0f} % of the slices there)"
        + (f", few at the ends (at most {max(ends):.0f} %)" if ends else "")
        + "; 0 is the first slice, 100 the last. Height alone tells much about whether to expect a tumour."
    )
    return Chart(title, drawn, reading)
