"""Which of a scan's channels is which sequence, and what stands in for one that is missing."""

from collections.abc import Mapping, Sequence

import numpy as np

from tumorseg.errors import DataError
from tumorseg.scan import Caution, Pixels

UNNAMED = ("pre", "flair", "post")
"""What three channels without names are, in the order of the LGG set."""

_GIVE_THEM = "give them, if there are any: the mask is less sure without"
_IN_WORDS = {"pre": "pre-contrast", "post": "post-contrast"}


def name_channels(
    pixels: Pixels, *, where: str, wanted: Sequence[str] = UNNAMED
) -> tuple[Pixels, tuple[str, ...], tuple[Caution, ...]]:
    """Name the channels of a file that does not name them itself.

    Args:
        pixels: (slices, height, width, channels).
        where: the file, for the error.
        wanted: the model's channels.

    Returns:
        The pixels of the channels that say something, their names, and warnings: three unnamed channels are pre,
        FLAIR and post; one, or three equal ones, is FLAIR, with a warning. To a model of a single channel, one
        unnamed channel is that.

    Raises:
        DataError: another number of channels.
    """
    count = pixels.shape[-1]
    if count == 1 and len(wanted) == 1:
        return pixels, tuple(wanted), ()
    if count == 1:
        return pixels, ("flair",), (_assumed("the only channel is taken for FLAIR"),)
    if count != len(UNNAMED):
        raise DataError(
            f"{where} has {count} unnamed channels, not 1 or 3",
            next_step="say which is which, counted from 0, such as --channels pre=0 flair=1 post=2",
        )
    if all(_all_equal(frame) for frame in pixels):
        return pixels[..., :1], ("flair",), (_assumed("its three channels are equal and taken for FLAIR"),)
    return pixels, UNNAMED, ()


def pick_channels(pixels: Pixels, indices: Mapping[str, int], *, where: str) -> tuple[Pixels, tuple[str, ...]]:
    """The channels of a file that `--channels` names by their index, and their names.

    Args:
        pixels: (slices, height, width, channels).
        indices: by the name of the sequence, from 0.
        where: the file, for the error.

    Raises:
        DataError: the file has fewer channels.
    """
    count = pixels.shape[-1]
    for name, index in indices.items():
        if index >= count:
            raise DataError(
                f"{where} has {count} channel{'s' * (count != 1)}, counted from 0, and no {name}={index}",
                next_step="check --channels",
            )
    return pixels[..., list(indices.values())], tuple(indices)


def choose_channels(
    named: Sequence[str], wanted: Sequence[str], *, where: str
) -> tuple[list[int], tuple[Caution, ...]]:
    """Which of a scan's channels the network's channels are, and warnings about those that are replaced.

    Args:
        named: the scan's channels.
        wanted: the network's channels; where a scan lacks one, FLAIR takes its place, as in the LGG set.
        where: the scan, for the error.

    Raises:
        DataError: there is no FLAIR to take the place of what is missing.
    """
    order = list(named)
    missing = [name for name in wanted if name not in order]
    if missing and "flair" not in order:
        raise DataError(
            f"{where} has the sequences {', '.join(order)}, but the model needs {', '.join(wanted)}",
            next_step="name its sequences with --channels, FLAIR among them",
        )
    chosen = [order.index(name if name in order else "flair") for name in wanted]
    if not missing:
        return chosen, ()
    words = " and ".join(_IN_WORDS.get(name, name) for name in missing)
    advice = "give it, if there is one: the mask is less sure without" if len(missing) == 1 else _GIVE_THEM
    return chosen, (Caution("missing", f"{words} missing, replaced by FLAIR", advice),)


def _assumed(text: str) -> Caution:
    return Caution("assumed", text, "check that it is FLAIR; say which is which with --channels")


def _all_equal(frame: Pixels) -> bool:
    return all(np.array_equal(frame[..., 0], frame[..., index]) for index in range(1, frame.shape[-1]))
