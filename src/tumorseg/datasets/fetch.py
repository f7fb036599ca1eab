"""A published data set, brought here: downloaded, verified, unpacked, and only then given its name."""

import logging
import math
import os
import shlex
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from tumorseg.answer import MANY, Patience, RemoteFile
from tumorseg.datasets.fetch_figshare import FIGSHARE
from tumorseg.datasets.fetch_lgg import LGG
from tumorseg.datasets.fetch_place import MIB, empty, refuse_less_than, usable_folder, workshop
from tumorseg.datasets.fetch_record import what_it_holds, write_record
from tumorseg.datasets.fetch_set import Holding, PublishedSet
from tumorseg.download import kept_bytes, partial_of, probe, receive
from tumorseg.errors import DataError, DownloadError, FormatError, OutputError, UnsafeArchive
from tumorseg.files import unwritable, write_text
from tumorseg.progress import Progress, silent

SETS: dict[str, PublishedSet] = {"lgg": LGG, "figshare": FIGSHARE}

_REFUSED = (401, 403)

_log = logging.getLogger(__name__)


def fetch_data(
    name: str,
    folder: str | Path,
    *,
    source: str | Path | None = None,
    patience: Patience = MANY,
    progress: Progress = silent,
) -> Path:
    """Bring a published data set to `folder`, whole and verified or not at all.

    What is downloaded lies in a hidden folder beside it (`.NAME.partial`) until the set is whole; a later call goes on
    from there. A folder that holds the whole set already is left as it is.

    Args:
        name: lgg or figshare.
        folder: where to; it must not exist, be empty, or hold the set.
        source: instead of the published address, another one (a mirror), an archive that was downloaded by hand, or a
            folder with what was.
        patience: how long a server is waited for.
        progress: told of MiB, files and patients.

    Returns:
        The folder.

    Raises:
        DataError: no such set, or what came is not what was published.
        DownloadError: it cannot be had; what has come is kept.
        OutputError: the folder holds something else, cannot be written, or the disk is too small.
    """
    if name not in SETS:
        raise DataError(f"there is no published set {name!r}", next_step=f"choose from {', '.join(SETS)}")
    published = SETS[name]
    folder = usable_folder(Path(folder))
    if _is_there(published, folder, progress):
        return folder
    _log.info("%s", published.licence)
    local = None if source is None or _is_address(source) else _found(Path(source))
    with workshop(folder) as work:
        try:
            if local is not None:
                holding = _unpack(published, local, work, folder, str(local), strict=False, progress=progress)
            else:
                address = published.address if source is None else str(source)
                holding = _from_web(published, address, work, folder, source is None, patience, progress)
        except DownloadError as error:
            raise _with_a_way_out(error, published, folder, work, own=source is None) from error
        except KeyboardInterrupt:
            if any((work / "files").iterdir()):
                _log.info("what has come is kept in %s; run the same again to go on", work)
            raise
    for text in holding.warnings:
        _log.warning("%s", text)
    _say_what_is_there(published, folder, holding.text)
    return folder


def _is_there(published: PublishedSet, folder: Path, progress: Progress) -> bool:
    """Whether the folder holds the whole set already.

    Raises:
        OutputError: it holds something else, or a part of it.
    """
    try:
        if not folder.is_dir() or not any(folder.iterdir()):
            return False
    except OSError as error:
        raise unwritable(folder, error) from error
    holds = what_it_holds(folder, published.name, progress)
    if holds is None:
        try:
            holds = published.verify(folder, strict=True, progress=progress).text
        except DataError as error:
            raise OutputError(
                f"{folder} is not empty and not the whole {published.name} set ({error.what})",
                next_step="name another folder, or delete it",
            ) from error
    _say_what_is_there(published, folder, holds)
    return True


def _say_what_is_there(published: PublishedSet, folder: Path, holds: str) -> None:
    _log.info("%s holds the %s set: %s", folder, published.name, holds)
    _log.info("next: tumorseg data check %s", shlex.quote(str(folder)))


def _is_address(source: str | Path) -> bool:
    return isinstance(source, str) and "://" in source


def _found(path: Path) -> Path:
    if not path.exists():
        raise DataError(
            f"{path} does not exist", next_step="give an archive, a folder with what was downloaded, or a URL"
        )
    return path


def _from_web(
    published: PublishedSet,
    address: str,
    work: Path,
    folder: Path,
    own: bool,
    patience: Patience,
    progress: Progress,
) -> Holding:
    """Download and unpack; what turns out to be damaged is downloaded once more."""
    files, note = work / "files", work / "source"
    if not note.is_file() or note.read_text(encoding="utf-8") != address:
        empty(files)
        write_text(note, address)
    for last in (False, True):
        remotes = {
            file: _measured(remote, files / file, patience)
            for file, remote in published.offered(address, files, patience, own).items()
        }
        _refuse_small_disk(files, remotes)
        _download(remotes, files, patience, progress)
        place = files if len(remotes) > 1 else files / next(iter(remotes))
        try:
            return _unpack(published, place, work, folder, address, strict=own, progress=progress)
        except UnsafeArchive:
            empty(files)
            raise
        except FormatError as error:
            empty(files)
            if last:
                raise DownloadError(
                    f"what came is damaged, twice: {error.what}", next_step="try again later"
                ) from error
            _log.warning("%s; downloading it once more", error.what)
        except DataError:
            empty(files)
            raise
    raise AssertionError("unreachable")


def _measured(remote: RemoteFile, path: Path, patience: Patience) -> RemoteFile:
    return remote if remote.size is not None or path.is_file() else probe(remote, patience=patience)


def _refuse_small_disk(files: Path, remotes: Mapping[str, RemoteFile]) -> None:
    """Raise OutputError where the disk cannot take the rest of the download and, unpacked, at least as much again."""
    need = 0
    for file, remote in remotes.items():
        size = remote.size or 0
        need += size + (0 if (files / file).is_file() else size - kept_bytes(remote, files / file))
    refuse_less_than(need, files)


def _download(remotes: Mapping[str, RemoteFile], files: Path, patience: Patience, progress: Progress) -> None:
    missing = {file: remote for file, remote in remotes.items() if not (files / file).is_file()}
    sizes = [remote.size for remote in missing.values()]
    kept = sum(kept_bytes(remote, files / file) for file, remote in missing.items())
    if kept:
        _log.info("going on after %.1f MiB that are here already", kept / MIB)

    def arriving() -> Iterator[int]:
        for file, remote in missing.items():
            yield from receive(remote, files / file, patience=patience)

    known = [size for size in sizes if size is not None]
    total = math.ceil((sum(known) - kept) / MIB) if len(known) == len(sizes) else None
    if missing:
        for _ in progress.track(_mebibytes(arriving()), what="Downloading (MiB)", total=total):
            pass


def _mebibytes(parts: Iterable[int]) -> Iterator[None]:
    """One item for each MiB, and one for the rest."""
    come = 0
    for part in parts:
        come += part
        while come >= MIB:
            yield None
            come -= MIB
    if come:
        yield None


def _unpack(
    published: PublishedSet, place: Path, work: Path, folder: Path, source: str, *, strict: bool, progress: Progress
) -> Holding:
    """Unpack into a hidden folder, verify what lies there, and give it its name."""
    found = published.contents(place)
    for text in found.warnings:
        _log.warning("%s", text)
    refuse_less_than(sum(packed.size for packed in found.files), work)
    whole = work / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    whole.mkdir()
    files: dict[str, tuple[int, int]] = {}
    for packed in progress.track(found.files, what="Unpacking", total=len(found.files)):
        content = packed.read()
        target = whole / packed.place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        files[packed.place] = (len(content), zlib.crc32(content))
    try:
        holding = published.verify(whole, strict=strict, progress=progress)
    except DataError as error:
        # Its next step would speak of a folder that is gone when it is read.
        what = error.what.replace(f"{whole}/", "")
        kind = FormatError if isinstance(error, FormatError) else DataError
        raise kind(what, next_step=f"get it anew from {published.page}") from error
    record = {"name": published.name, "source": _nameable(source), "licence": published.licence}
    write_record(whole, **record, holds=holding.text, files=files)
    os.sync()  # a power cut must not leave a folder of this name with empty files in it
    try:
        if folder.is_dir():
            folder.rmdir()
        os.replace(whole, folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    empty(work / "files")
    return holding


def _nameable(source: str) -> str:
    """A source without what follows a question mark, where mirrors put keys."""
    return source.partition("?")[0] if "://" in source else source


def _with_a_way_out(
    error: DownloadError, published: PublishedSet, folder: Path, work: Path, *, own: bool
) -> DownloadError:
    """The same error with what was asked for, and with how to do it by hand."""
    command = f"tumorseg data fetch {published.name} {shlex.quote(str(folder))} --from"
    steps = [f"open {published.page}, download {published.by_hand}, then run: {command} FILE"]
    if own and error.status in _REFUSED and published.account:
        steps.insert(0, published.account)
    with suppress(OSError):
        if error.status is None and any(path.suffix == partial_of(path).suffix for path in (work / "files").iterdir()):
            steps.insert(0, "run the same again to go on from where it broke off")
    host = urlsplit(published.address).hostname if own else "the address of --from"
    return DownloadError(
        f"the {published.name} set cannot be downloaded from {host}: {error.what}",
        next_step=", or ".join(steps),
        status=error.status,
    )
