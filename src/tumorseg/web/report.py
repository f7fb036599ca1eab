"""A scan's report as PDF: pictures, numbers and warnings, for the folder of whoever asked."""

from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from tumorseg.scan import Segmentation
from tumorseg.web.stored import StoredScan

NOTICE = "Research use only. Not a medical device; no diagnosis or treatment may rest on it."
MOST_PICTURES = 6

_ROWS: tuple[tuple[str, str, str], ...] = (
    ("tumour_ml", "Tumour volume", "{:.2f} ml"),
    ("tumour_voxels", "Tumour voxels", "{:,.0f}"),
    ("tumour_slices", "Slices with tumour", "{:.0f}"),
    ("components", "Separate parts (3D)", "{:.0f}"),
    ("largest_diameter_mm", "Largest diameter within a slice", "{:.1f} mm"),
    ("largest_diameter_pixels", "Largest diameter within a slice", "{:.1f} px"),
    ("largest_slice_mm2", "Largest area within a slice", "{:.0f} mm²"),
    ("largest_slice_pixels", "Largest area within a slice", "{:,.0f} px"),
    ("mean_probability", "Mean probability inside", "{:.2f}"),
    ("mean_entropy", "Uncertainty at and in the outline (0 sure, 1 undecided)", "{:.2f}"),
)
_INSTEAD = {"largest_diameter_pixels": "largest_diameter_mm", "largest_slice_pixels": "largest_slice_mm2"}
"""Rows in pixels that are left out where there is one in millimetres."""


def write_report(path: Path, scan: StoredScan, segmentation: Segmentation, measured: dict[str, Any]) -> None:
    """Write the report.

    Args:
        path: of the PDF.
        scan: that was segmented.
        segmentation: with the mask to show.
        measured: what `described` gives for that mask.
    """
    from reportlab.lib import colors
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.lib.units import mm
    from reportlab.platypus import Image, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

    styles = getSampleStyleSheet()
    plain, heading = styles["BodyText"], styles["Heading2"]
    record = scan.record
    numbers = measured["measurements"]
    rows = [["Model", record["model"]], ["Size", " x ".join(map(str, record["shape"])) + " (slices x rows x columns)"]]
    if record["spacing"]:
        rows.append(["Spacing", " x ".join(f"{step:.2f}" for step in record["spacing"]) + " mm"])
    rows.append(["Sequences", ", ".join(record["channels"])])
    for key, words, form in _ROWS:
        if numbers.get(key) is not None and numbers.get(_INSTEAD.get(key, "")) is None:
            rows.append([words, form.format(numbers[key])])
    line: list[Any] = [("LINEBELOW", (0, 0), (-1, -1), 0.25, colors.lightgrey), ("FONTSIZE", (0, 0), (-1, -1), 9)]
    story: list[Any] = [
        Paragraph("Tumour outline, drawn by a program", styles["Title"]),
        Paragraph(f"<b>{escape(NOTICE)}</b>", plain),
        Spacer(1, 4 * mm),
        Table(rows, colWidths=[75 * mm, 95 * mm], style=TableStyle(line), hAlign="LEFT"),
    ]
    if record["warnings"]:
        story.append(Paragraph("Before you use it", heading))
        story += [
            Paragraph(f"• {escape(warning['text'])}. {escape(warning['advice'])}".removesuffix(" "), plain)
            for warning in record["warnings"]
        ]
    story.append(Paragraph("Slices", heading))
    shown = _shown(measured["slices"]["tumour_pixels"])
    pictures = []
    for index in shown:
        content, aspect = _picture(segmentation, index)
        width = min(80 * mm, 80 * mm / aspect)
        label = (
            f"Slice {record['slices']['number'][index]}: {measured['slices']['tumour_pixels'][index]:,} px of tumour"
        )
        pictures.append([Image(BytesIO(content), width, width * aspect), Paragraph(label, plain)])
    pairs = [pictures[start : start + 2] for start in range(0, len(pictures), 2)]
    story.append(Table([[*pair, *[""] * (2 - len(pair))] for pair in pairs], colWidths=[85 * mm, 85 * mm]))
    written = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")

    def foot(canvas: Any, document: Any) -> None:
        canvas.setFont("Helvetica", 8)
        canvas.drawString(20 * mm, 12 * mm, f"{NOTICE}  tumorseg, {written}, page {document.page}")

    document = SimpleDocTemplate(
        str(path), pagesize=A4, title="Tumour outline", author="tumorseg", topMargin=18 * mm, bottomMargin=20 * mm
    )
    document.build(story, onFirstPage=foot, onLaterPages=foot)


def _shown(pixels: list[int]) -> list[int]:
    """The slice with most tumour, and some from all over it, in order; without tumour the middle one."""
    inside = np.flatnonzero(np.asarray(pixels))
    if not inside.size:
        return [len(pixels) // 2]
    spread = inside[np.linspace(0, inside.size - 1, min(MOST_PICTURES - 1, inside.size)).round().astype(int)]
    return sorted({int(np.argmax(pixels)), *map(int, spread)})


def _picture(segmentation: Segmentation, index: int) -> tuple[bytes, float]:
    """A slice with its outline as PNG, and its height by its width."""
    import cv2

    from tumorseg.inference.overlay import overlay_slice

    picture: NDArray[np.uint8] = overlay_slice(segmentation, index)
    return cv2.imencode(".png", picture[..., ::-1])[1].tobytes(), picture.shape[0] / picture.shape[1]
