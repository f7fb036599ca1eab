"""`tumorseg.show`: a picture of whatever can be looked at."""

import os
from pathlib import Path

from tumorseg.api.dataset import Dataset
from tumorseg.api.picture import Picture, draw
from tumorseg.errors import DataError
from tumorseg.scan import Scan, Segmentation


def show(
    what: "Dataset | Scan | Segmentation | str | os.PathLike[str]", patient: str | None = None, slice: int | None = None
) -> Picture:
    """Draw one slice: FLAIR in grey, the reference outlined in blue, a prediction in dashed orange.

    Args:
        what: a data set, a scan, a segmentation, or the path of a file with one scan.
        patient: of a data set; None takes the first.
        slice: its number as the files count, or from 1 where they do not; None takes the one with the most tumour.

    Raises:
        DataError: there is no such patient or slice.
    """
    if isinstance(what, Dataset):
        return what.show(patient, slice)
    if patient is not None:
        raise DataError("only a data set has patients to choose from", next_step="leave out patient")
    if isinstance(what, Scan | Segmentation):
        return draw(what, slice)
    from tumorseg.api.model import read_scan

    return draw(read_scan(Path(what))[0], slice)
