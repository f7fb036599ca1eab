"""Who would train, choose and be judged under the default recipe's split."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tumorseg.datasets.dealing import make_split
from tumorseg.datasets.prepared import Store
from tumorseg.datasets.split import PARTS, Part
from tumorseg.errors import DataError
from tumorseg.recipe import SplitShares
from tumorseg.recipe_file import load_recipe
from tumorseg.studies.exploration.rows import PatientRow

RECIPE = "default"


@dataclass(frozen=True)
class DealtPart:
    """One part of the split.

    Attributes:
        part: train, val or test.
        patients: their rows.
        slices, tumour_slices: over all of them.
        institutions: patients of each.
        classes: patients by the class that most of their slices show.
    """

    part: Part
    patients: tuple[PatientRow, ...]
    slices: int
    tumour_slices: int
    institutions: Mapping[str, int]
    classes: Mapping[int, int]


@dataclass(frozen=True)
class Dealt:
    """The split, or why there is none.

    Attributes:
        shares: of the default recipe.
        of: the part of each patient; empty where there is no split.
        parts: train, val and test.
        reason: why there is no split; "" where there is one.
    """

    shares: SplitShares
    of: Mapping[str, Part]
    parts: tuple[DealtPart, ...]
    reason: str = ""


def deal(store: Store, patients: Sequence[PatientRow]) -> Dealt:
    """Deal the patients as the default recipe would; too few of them are a reason, not an error."""
    shares = load_recipe(RECIPE).split
    try:
        of = make_split(store, shares).parts
    except DataError as error:
        return Dealt(shares, {}, (), str(error))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "sklearn":
            raise
        return Dealt(shares, {}, (), "scikit-learn is not installed; run: pip install 'tumorseg[train]'")
    return Dealt(shares, of, tuple(_part(part, [row for row in patients if of[row.patient] == part]) for part in PARTS))


def _part(part: Part, rows: Sequence[PatientRow]) -> DealtPart:
    return DealtPart(
        part=part,
        patients=tuple(rows),
        slices=sum(row.slices for row in rows),
        tumour_slices=sum(row.tumour_slices for row in rows),
        institutions=Counter(row.institution for row in rows),
        classes=Counter(row.main_class for row in rows),
    )
