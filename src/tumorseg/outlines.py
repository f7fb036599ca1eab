"""Outlines of masks along the edges of their pixels, exact at any zoom."""

import numpy as np
from numpy.typing import NDArray

Loop = list[tuple[int, int]]
"""Corners (x, y) of a closed outline, in pixels from the upper left corner of the frame; not closed twice."""


def outlines(mask: NDArray[np.bool_]) -> list[Loop]:
    """Closed outlines of a mask's areas and holes.

    Args:
        mask: (height, width), bool.

    Returns:
        Loops whose interior by the even-odd rule is the mask. Areas run clockwise, holes the other way.
    """
    following = _edges(mask)
    loops: list[Loop] = []
    while following:
        start = next(iter(following))
        loop = [start]
        while True:
            ends = following[loop[-1]]
            end = ends.pop()
            if not ends:
                del following[loop[-1]]
            if end == start:
                break
            loop.append(end)
        loops.append(_corners(loop))
    return loops


def svg_path(mask: NDArray[np.bool_]) -> str:
    """The outlines as the `d` of an SVG path; "" for an empty mask. Fill it with `fill-rule="evenodd"`."""
    parts: list[str] = []
    for (x, y), *others in outlines(mask):
        parts.append(f"M{x} {y}")
        for next_x, next_y in others:
            parts.append(f"V{next_y}" if next_x == x else f"H{next_x}")
            x, y = next_x, next_y
        parts.append("Z")
    return "".join(parts)


def _edges(mask: NDArray[np.bool_]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Edges between tumour and not, from corner to corner, tumour on the right hand."""
    framed = np.pad(mask.astype(bool), 1)
    inside = framed[1:-1, 1:-1]
    sides = (
        (framed[:-2, 1:-1], (0, 0), (1, 0)),
        (framed[1:-1, 2:], (1, 0), (1, 1)),
        (framed[2:, 1:-1], (1, 1), (0, 1)),
        (framed[1:-1, :-2], (0, 1), (0, 0)),
    )
    following: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for neighbour, (from_x, from_y), (to_x, to_y) in sides:
        for y, x in np.argwhere(inside & ~neighbour).tolist():
            following.setdefault((x + from_x, y + from_y), []).append((x + to_x, y + to_y))
    return following


def _corners(loop: Loop) -> Loop:
    """Without the points that lie on a straight line between their neighbours."""
    return [
        point
        for before, point, after in zip(loop[-1:] + loop[:-1], loop, loop[1:] + loop[:1], strict=True)
        if not (before[0] == point[0] == after[0] or before[1] == point[1] == after[1])
    ]
