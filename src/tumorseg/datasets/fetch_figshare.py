"""The figshare set: the list of its files, what its archives hold, and whether all slices are there."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from tumorseg.answer import Patience, RemoteFile
from tumorseg.datasets.fetch_set import Contents, Holding, Packed, PublishedSet, is_plain_name
from tumorseg.datasets.figshare import FOLDS_FILE, Member, holds_figshare, list_figshare, open_listing
from tumorseg.download import discard, download
from tumorseg.errors import DataError, DownloadError, few
from tumorseg.formats.archive import Archive
from tumorseg.formats.matlab import read_folds
from tumorseg.progress import Progress

LIST = "article.json"
_MD5 = re.compile(r"[0-9a-f]{32}")


def offered(address: str, folder: Path, patience: Patience, own: bool) -> Mapping[str, RemoteFile]:
    """The archives of the slices and the file with the folds, with the sizes and MD5s that figshare's list gives.

    Args:
        address: of the article in figshare's interface (JSON), or of one ZIP with everything.
        folder: where the list is downloaded to.
        patience: with the server.
        own: whether the address is figshare's.

    Raises:
        DownloadError: the list cannot be had, or is none.
    """
    if urlsplit(address).path.lower().endswith(".zip"):
        return {"figshare.zip": RemoteFile(address)}
    place = folder / LIST
    discard(place)
    download(RemoteFile(address), place, patience=patience)
    try:
        entries = json.loads(place.read_text(encoding="utf-8"))["files"]
        files = {entry["name"]: _remote(entry) for entry in entries if _wanted(entry["name"])}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DownloadError("what came is no list of figshare's files", next_step="check the address") from error
    finally:
        place.unlink(missing_ok=True)
    if not holds_figshare(tuple(files)):
        raise DownloadError("figshare's list names no brainTumorDataPublic_….zip", next_step="check the address")
    return files


def _wanted(name: str) -> bool:
    return is_plain_name(name) and (holds_figshare((name,)) or name.lower() == FOLDS_FILE)


def _remote(entry: Mapping[str, object]) -> RemoteFile:
    md5 = str(entry.get("computed_md5") or entry.get("supplied_md5") or "").lower()
    size = entry.get("size")
    return RemoteFile(
        str(entry["download_url"]),
        size=size if isinstance(size, int) and size > 0 else None,
        md5=md5 if _MD5.fullmatch(md5) else "",
    )


def contents(path: Path) -> Contents:
    """The slices as <number>.mat, and cvind.mat.

    Args:
        path: one archive with everything, or a folder with the published files.

    Raises:
        DataError: nothing of the set there, or a slice is there twice.
        FormatError: an archive is damaged.
        UnsafeArchive: it would write where it must not, or is a bomb.
    """
    listing = list_figshare(path)
    for number, (other, *_) in listing.doubled.items():
        raise DataError(
            f"slice {number} lies there twice, as {listing.slices[number].path} and {other.path}",
            next_step="keep one of the two",
        )
    members = {f"{number}.mat": member for number, member in listing.slices.items()}
    if listing.folds is not None:
        members[FOLDS_FILE] = listing.folds
    packed: dict[Archive, list[str]] = defaultdict(list)
    for member in members.values():
        if member.archive is not None:
            packed[member.archive].append(member.name)
    for archive, names in packed.items():
        archive.unpacked_size(names)
    return Contents([_packed(place, member) for place, member in members.items()])


def _packed(place: str, member: Member) -> Packed:
    if member.archive is None:
        return Packed(place, member.path.stat().st_size, member.path.read_bytes)
    archive = member.archive
    return Packed(place, archive.size(member.name), lambda: archive.read(member.name).read())


def verify(folder: Path, *, strict: bool, progress: Progress) -> Holding:
    """Read whose every slice is, and compare the slices with the folds, which name them all; see `Verify`."""
    listing = list_figshare(folder)
    if listing.folds is None:
        raise DataError(
            f"{FOLDS_FILE} is missing, so nobody can tell whether all slices are there",
            next_step=f"put the published {FOLDS_FILE} beside the archives",
        )
    count = len(listing.folds.read(read_folds))
    if absent := sorted(set(range(1, count + 1)) - listing.slices.keys()):
        raise DataError(
            f"{len(absent):,} of {count:,} slices are missing ({few([f'{number}.mat' for number in absent])})",
            next_step="add the published archives that hold them",
        )
    data = open_listing(listing, progress=progress)
    patients = len({scan.patient for scan in data.scans})
    return Holding(f"{patients} patients, {len(data.scans):,} slices, as many as {FOLDS_FILE} names")


FIGSHARE = PublishedSet(
    name="figshare",
    licence="Brain tumour dataset (Cheng 2017, doi 10.6084/m9.figshare.1512427): CC BY 4.0. Name the author, and say "
    "what was changed.",
    page="https://figshare.com/articles/dataset/brain_tumor_dataset/1512427",
    by_hand="all files (one ZIP, or into one folder)",
    address="https://api.figshare.com/v2/articles/1512427",
    offered=offered,
    contents=contents,
    verify=verify,
)
