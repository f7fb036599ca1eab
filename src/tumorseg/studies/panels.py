"""One slice through all models as inline SVG: the reference outlined alone, then with each model's answer."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tumorseg.evaluation.facts import sequence_name
from tumorseg.evaluation.overlay import detail_box, flair, outline, panel
from tumorseg.studies.scenes import Scene


@dataclass(frozen=True)
class Panels:
    """Pictures of one scene, all of the same part of the slice but the first.

    Attributes:
        whole: the slice, with a frame around the part that the others show.
        reference: that part with the reference.
        models: by label, with the reference and the model's outline.
        sequence: what is shown in grey.
    """

    whole: Markup
    reference: Markup
    models: Mapping[str, Markup]
    sequence: str


def panels(scene: Scene, *, key: str) -> Panels:
    """Draw one scene.

    Args:
        scene: the slice with all masks.
        key: unique in the page; ids are made of it.
    """
    height, width = scene.reference.shape
    everything = np.any([scene.reference, *scene.predicted.values()], axis=0)
    box = x, y, wide, high = detail_box(everything)
    frame = "".join(
        f'<rect class="{kind}" x="{x}" y="{y}" width="{wide}" height="{high}"/>' for kind in ("lens-casing", "lens")
    )
    place = f"slice {scene.slice_number} of {scene.patient}"
    whole = (
        f'<image id="scene-{key}" width="{width}" height="{height}" preserveAspectRatio="none" '
        f'href="{_data_uri(grey(scene))}"/>{frame}'
    )
    under = f'<use href="#scene-{key}"/><g class="outlines">{outline(scene.reference, "reference")}'
    pixels = int(scene.reference.sum())
    return Panels(
        whole=panel((0, 0, width, height), whole, f"{sequence_name(scene.channels)}, {place}, whole."),
        reference=panel(box, f"{under}</g>", f"The reference on {place}: {pixels:,} pixels."),
        models={
            label: panel(
                box,
                f"{under}{outline(mask, 'predicted')}</g>",
                f"{label} on {place}: {int(mask.sum()):,} pixels, {int((mask & scene.reference).sum()):,} of them in "
                f"the reference of {pixels:,}.",
            )
            for label, mask in scene.predicted.items()
        },
        sequence=sequence_name(scene.channels),
    )


def grey(scene: Scene) -> NDArray[np.uint8]:
    """The channel that pictures show, FLAIR where there is one, else the first; (height, width) uint8."""
    index = scene.channels.index("flair") if "flair" in scene.channels else 0
    return flair(scene.image[..., index])


def _data_uri(image: NDArray[np.uint8]) -> str:
    _, encoded = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
