"""Which patients of the published LGG set are known by their pixels, and their digests."""

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources


@cache
def published_lgg() -> Mapping[str, str]:
    """Digest of each known patient's pixels and masks, by the name of the patient's folder.

    The digests are those of `tumorseg.datasets.store.digest_of_pixels`: SHA-256 over the shape (slices, 256,
    256, 3), the pixels and the masks as 0 and 1, slices in the order of their numbers. They cover 88 of the
    110 published patients; the other 22 were not at hand when the table was made, so a patient that is not in
    it may be published all the same.
    """
    text = (resources.files("tumorseg.datasets") / "known_lgg.json").read_text(encoding="utf-8")
    patients: dict[str, str] = json.loads(text)["patients"]
    return patients
