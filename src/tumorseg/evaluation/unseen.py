"""No ensemble is judged on whom any of its members has seen: out of all folds together, nobody is held out."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tumorseg.datasets.prepared import Store
from tumorseg.datasets.split import Part, Split
from tumorseg.errors import DataError, few

MEMBERS = "members"
"""Key of environment.json that names the runs whose models an ensemble averages."""


def refuse_seen(
    run: Path, environment: Mapping[str, Any], split: Split, trained_on: Collection[str], store: Store, part: Part
) -> None:
    """Raise DataError, with the patients, where an ensemble of runs would be judged on whom a member has seen.

    Seen are patients of a member's training or validation part, and scans that are equal, pixel for pixel and with
    their reference, to one of those. A single run is not refused: its own split says who trains.

    Args:
        run: the ensemble's folder.
        environment: the content of its environment.json.
        split: who was held out from every member, as "test".
        trained_on: digests of the scans that a member has seen.
        store: the data set to be judged on.
        part: that is asked for; of a data set without a patient of that part, all would be judged.
    """
    if not environment.get(MEMBERS):
        return
    judged = store.scans_of(split, part) or store.scans
    digests, known = {entry.id: entry.digest for entry in store.stored}, set(trained_on)
    seen = {
        scan.patient for scan in judged if split.parts.get(scan.patient, "test") != "test" or digests[scan.id] in known
    }
    if seen:
        raise DataError(
            f"members of the ensemble {run} were trained or chosen on {few(sorted(seen))}, so it cannot be judged "
            f"on {'them' if len(seen) > 1 else 'that patient'}",
            next_step="give data of other patients with --data; what held-out folds scored is in crossval.json",
        )
