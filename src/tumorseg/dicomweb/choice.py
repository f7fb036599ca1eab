"""Which series of a study is which sequence: as people say it, or where there is only one that it can be."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from tumorseg.dicomweb.archive import StudySeries
from tumorseg.dicomweb.attributes import is_uid
from tumorseg.errors import DataError, few
from tumorseg.inference.sequence_choice import SequenceChoice, parse_choice, refuse_useless

MR = "MR"

_SHOWN = 4


def choose_series(
    found: Sequence[StudySeries], wanted: Sequence[str], *, series: str | None = None, channels: Sequence[str] = ()
) -> dict[str, StudySeries]:
    """The series to pull, by the names of their sequences; FLAIR first, whose grid the mask has.

    Args:
        found: all of the study.
        wanted: the model's channels.
        series: the SeriesInstanceUID of the only one; it is taken for FLAIR, or what the model's one channel is.
        channels: words such as flair=1.2.3 (a SeriesInstanceUID) or flair=*FLAIR* (what the description looks like,
            capitals or not).

    Raises:
        DataError: none, several or another kind of series fit.
    """
    if channels and series:
        raise DataError("--series and --channels exclude each other", next_step="name all series with --channels")
    if channels:
        return _named(found, wanted, channels)
    only = wanted[0] if len(wanted) == 1 else "flair"
    if series:
        return {only: _of_uid(found, series, "--series")}
    images = [one for one in found if one.modality == MR]
    if not images:
        kinds = ", ".join(sorted({one.modality or "no modality" for one in found}))
        raise DataError(f"the study has no MR series, but {kinds}", next_step="name another study")
    if len(images) > 1:
        raise DataError(
            f"the study has {len(images)} MR series: {_listed(images)}",
            next_step="say which is which, such as --channels 'flair=*FLAIR*', or name one with --series; "
            "--list shows all",
        )
    return {only: images[0]}


def _named(found: Sequence[StudySeries], wanted: Sequence[str], channels: Sequence[str]) -> dict[str, StudySeries]:
    choice = _words(channels)
    refuse_useless(choice, wanted)
    chosen: dict[str, StudySeries] = {}
    for name, value in choice.patterns.items():
        option = f"--channels {name}={value}"
        one = _of_uid(found, value, option) if is_uid(value) else _of_pattern(found, value, option)
        if one in chosen.values():
            raise DataError(f"{option}: series {one} is another sequence already", next_step="name each series once")
        chosen[name] = one
    return dict(sorted(chosen.items(), key=lambda item: item[0] != "flair"))


def _words(channels: Sequence[str]) -> SequenceChoice:
    pairs = [word.partition("=")[::2] for word in channels]
    values = {name.strip().lower(): value for name, value in pairs}
    if "" in values.values() or len(values) < len(channels):
        parse_choice(channels)  # says what is wrong with a word, or that a name is there twice
    return SequenceChoice(patterns=values)


def _of_uid(found: Sequence[StudySeries], uid: str, option: str) -> StudySeries:
    for one in found:
        if one.uid == uid:
            if one.modality != MR:
                raise DataError(f"{option}: series {one} is not MR", next_step="name an MR series; --list shows all")
            return one
    raise DataError(f"{option}: the study has no series {uid}", next_step="--list shows its series")


def _of_pattern(found: Sequence[StudySeries], pattern: str, option: str) -> StudySeries:
    images = [one for one in found if one.modality == MR]
    fits = [one for one in images if fnmatchcase(one.description.casefold(), pattern.casefold())]
    if len(fits) == 1:
        return fits[0]
    if fits:
        raise DataError(
            f"{option} fits {len(fits)} series: {_listed(fits)}", next_step="give the SeriesInstanceUID of one"
        )
    raise DataError(
        f"{option} fits no MR series of the study, which has {_listed(images) or 'none'}",
        next_step="--list shows its series",
    )


def _listed(series: Sequence[StudySeries]) -> str:
    return few([str(one) for one in series], _SHOWN)
