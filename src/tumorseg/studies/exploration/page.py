"""explore.html: the exploration as one page that opens anywhere."""

from tumorseg.studies.exploration.brightness_sections import contrast, intensities, missing
from tumorseg.studies.exploration.gather import Exploration
from tumorseg.studies.exploration.patient_sections import clinical, split
from tumorseg.studies.exploration.samples import drawn
from tumorseg.studies.exploration.sections import capital, counts, percent, places, sizes
from tumorseg.studies.page import rendered


def render(found: Exploration, *, files: tuple[str, ...], command: str = "") -> str:
    """The page as HTML: charts, pictures and style within it, no script, nothing from outside.

    Args:
        found: what it tells.
        files: names of the CSVs beside it.
        command: what the user typed; "" is left out.
    """
    sections = [counts(found), sizes(found), places(found), intensities(found), contrast(found), missing(found)]
    sections.append(split(found))
    if found.clinical is not None:
        sections.append(clinical(found, found.clinical))
    institutions = {row.institution for row in found.patients if row.institution}
    tiles = [
        ("Patients", f"{len(found.patients):,}", f"of {len(institutions)} institutions" if institutions else ""),
        ("Slices", f"{len(found.slices):,}", f"in {found.scans:,} scan{'s' * (found.scans != 1)}"),
        ("With tumour", f"{found.tumour_slices:,}", percent(found.tumour_slices, len(found.slices)) + " of the slices"),
        ("Sequences", f"{len(found.channels)}", ", ".join(found.channels)),
    ]
    if len(found.classes) > 1:
        tiles.append(("Classes", f"{len(found.classes)}", ", ".join(found.classes)))
    context: dict[str, object] = {
        "dataset": found.name,
        "tiles": [{"name": name, "value": value, "note": note} for name, value, note in tiles],
        "warnings": found.warnings,
        "sections": sections,
        "samples": [
            {
                "picture": drawn(sample),
                "patient": sample.patient,
                "detail": ", ".join(
                    word
                    for word in (sample.institution, sample.class_name, sample.place.replace(" ", "\u00a0"))
                    if word
                ),
                "pixels": int(sample.mask.sum()),
            }
            for sample in found.samples
        ],
        "sequence": capital(found.samples[0].sequence) if found.samples else "",
        "files": files,
        "command": command,
    }
    return rendered("exploration/explore.html.j2", context)
