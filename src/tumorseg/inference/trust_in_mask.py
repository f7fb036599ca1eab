"""What the numbers about a mask say about how far to trust it."""

from collections.abc import Mapping

from tumorseg.scan import Caution

UNSURE = 0.7
"""Expected Dice below which a mask is called unsure: the level below which the reports of `evaluate` list a patient."""

NOTHING_FOUND = Caution("empty", "no tumour was found", "look for yourself: a small or faint one may be missed")


def mask_cautions(numbers: Mapping[str, float]) -> tuple[Caution, ...]:
    """What to know before the mask is used.

    Args:
        numbers: what `measure` gives with probabilities.
    """
    if numbers["tumour_voxels"] == 0:
        return (NOTHING_FOUND,)
    expected = numbers["expected_dice"]
    if expected < UNSURE:
        text = f"the model is unsure of this mask: the Dice that it expects is below {UNSURE}"
        return (Caution("unsure", text, "check the outline slice by slice"),)
    return ()
