"""The LGG set from Kaggle: its address, what its archive holds, and whether its patients are the published ones."""

import base64
import csv
import json
import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tumorseg.answer import Patience, RemoteFile
from tumorseg.datasets.check_patient import Level, examine
from tumorseg.datasets.fetch_set import Contents, Holding, Packed, PublishedSet
from tumorseg.datasets.known import published_lgg
from tumorseg.datasets.lgg import LggListing, identify, list_lgg, scans_of
from tumorseg.errors import DataError, few
from tumorseg.formats.archive import Archive
from tumorseg.progress import Progress

ARCHIVE = "lgg-mri-segmentation.zip"
_MEMBER = re.compile(
    r"(?P<above>(.*/)?)(?P<place>kaggle_3m/((?P<patient>[A-Za-z0-9_-]+)/(?P=patient)_\d+(_mask)?\.tif"
    r"|data\.csv|README\.md))"
)


def offered(address: str, folder: Path, patience: Patience, own: bool) -> Mapping[str, RemoteFile]:
    """The one archive; the Kaggle account of whoever runs this is shown to Kaggle alone, not to a mirror.

    Raises:
        DataError: kaggle.json cannot be read.
    """
    return {ARCHIVE: RemoteFile(address, authorization=kaggle_authorization() if own else "")}


def kaggle_authorization() -> str:
    """The header for Kaggle from its own variables or ~/.kaggle/kaggle.json; "" where there are none.

    The set can be had without an account; Kaggle may ask for one where many download from one place.

    Raises:
        DataError: kaggle.json cannot be read.
    """
    if token := os.environ.get("KAGGLE_API_TOKEN"):
        return f"Bearer {token.strip()}"
    user, key = os.environ.get("KAGGLE_USERNAME"), os.environ.get("KAGGLE_KEY")
    if not (user and key):
        file = Path(os.environ.get("KAGGLE_CONFIG_DIR") or Path.home() / ".kaggle") / "kaggle.json"
        try:
            account = json.loads(file.read_text(encoding="utf-8"))
            user, key = str(account["username"]), str(account["key"])
        except FileNotFoundError:
            return ""
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{file} is no Kaggle account", next_step="download it anew from kaggle.com, or delete it"
            ) from error
    return "Basic " + base64.b64encode(f"{user}:{key}".encode()).decode("ascii")


def contents(path: Path) -> Contents:
    """The slices, masks and tables of an archive that holds kaggle_3m; of copies the one that lies nearest the top.

    Args:
        path: the archive, or a folder with one.

    Raises:
        DataError: no such archive.
        FormatError: it is damaged.
        UnsafeArchive: it would write where it must not, or is a bomb.
    """
    if path.is_dir():
        found = sorted(path.glob("*.zip"))
        if len(found) != 1:
            raise DataError(f"{path} holds {len(found)} ZIP files", next_step="name the one with the LGG set")
        path = found[0]
    archive = Archive(path)
    nearest: dict[str, tuple[int, str]] = {}
    unlike = set()
    for name in archive.names:
        match = _MEMBER.fullmatch(name)
        if match is None:
            continue
        place, depth = match["place"], match["above"].count("/")
        other = nearest.get(place)
        if other is not None and archive.checksum(other[1]) != archive.checksum(name):
            unlike.add(place)
        if other is None or depth < other[0]:
            nearest[place] = (depth, name)
    if not any(place.endswith(".tif") for place in nearest):
        raise DataError(f"{path} holds no kaggle_3m/<patient>/<patient>_<number>.tif", next_step="name the LGG archive")
    chosen = {place: name for place, (_, name) in nearest.items()}
    archive.unpacked_size(chosen.values())
    files = [
        Packed(place, archive.size(name), lambda name=name: archive.read(name).read())  # type: ignore[misc]
        for place, name in sorted(chosen.items())
    ]
    text = f"the archive holds two versions of {few(sorted(unlike))}; the one nearest its top is taken"
    return Contents(files, (text,) if unlike else ())


def verify(folder: Path, *, strict: bool, progress: Progress) -> Holding:
    """Read every patient and compare those that are known with their digests; see `Verify`."""
    listing = list_lgg(folder)
    scans_of(listing)
    names = list(listing.patients)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        results = pool.map(lambda name: examine(name, listing.patients[name]), names)
        patients = list(progress.track(results, what="Verifying patients", total=len(names)))
    for facts in patients:
        for finding in facts.findings:
            if finding.level is Level.ERROR:
                raise DataError(f"patient {facts.id}: {finding.message}", next_step=_OTHER)
    known = published_lgg()
    altered = [facts.id for facts in patients if facts.id in known and facts.digest != known[facts.id]]
    if altered:
        raise DataError(f"{few(altered)}: not the pixels that were published", next_step=_OTHER)
    same = sum(facts.id in known for facts in patients)
    text = (
        f"{len(patients)} patients, {sum(facts.slices for facts in patients):,} slices; "
        f"{same} of the {len(known)} patients whose pixels are known are there, as published"
    )
    problems = tuple(_missing(listing, known))
    if strict and problems:
        raise DataError("; ".join(problems), next_step=_OTHER)
    return Holding(text, problems)


def _missing(listing: LggListing, known: Mapping[str, str]) -> list[str]:
    """Who is not there, by the known digests and by the set's own table."""
    problems = []
    if absent := sorted(known.keys() - listing.patients.keys()):
        problems.append(f"{len(absent)} published patients are missing ({few(absent)})")
    if listing.table is None:
        return [*problems, "data.csv is missing, so nobody can tell whether all patients are there"]
    try:
        with open(listing.table, newline="", encoding="utf-8-sig") as file:
            rows = {identify((row.get("Patient") or "").strip())[0] for row in csv.DictReader(file)}
    except (OSError, UnicodeDecodeError, csv.Error):
        return [*problems, "data.csv cannot be read, so nobody can tell whether all patients are there"]
    here = {identify(name)[0] for name in listing.patients}
    if rowed := sorted(rows - here - {""}):
        problems.append(f"{len(rowed)} patients of data.csv are missing ({few(rowed)})")
    return problems


_OTHER = "delete it and fetch the published set"

LGG = PublishedSet(
    name="lgg",
    licence="LGG MRI segmentation (Buda, Saha, Mazurowski 2019, doi 10.1016/j.compbiomed.2019.05.002; images from "
    "TCGA-LGG): CC BY-NC-SA 4.0. Name the authors; not for commercial use, nor is a model that is trained on it; what "
    "is made from it carries the same licence.",
    page="https://www.kaggle.com/datasets/mateuszbuda/lgg-mri-segmentation",
    by_hand="the whole set as a ZIP",
    address="https://www.kaggle.com/api/v1/datasets/download/mateuszbuda/lgg-mri-segmentation",
    offered=offered,
    contents=contents,
    verify=verify,
    account="set KAGGLE_API_TOKEN to a token of your Kaggle account",
)
