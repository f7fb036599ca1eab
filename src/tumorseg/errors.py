"""What a user can get wrong. Every message says what, where, and what to do next, in one line."""

from collections.abc import Sequence


class TumorsegError(Exception):
    """Something that the user can mend; the command line prints it in one line and exits with `exit_code`.

    Args:
        what: what is wrong, with the file or key it concerns.
        next_step: what to do about it, as an imperative sentence without a full stop.
    """

    exit_code = 2

    def __init__(self, what: str, *, next_step: str = "") -> None:
        self.what = what
        self.next_step = next_step
        super().__init__(f"{what}; {next_step}" if next_step else what)


class DataError(TumorsegError):
    """A data set or one of its files is not as it must be."""


class FormatError(DataError):
    """A file cannot be read as the format that its name promises."""


class ShapeMismatch(DataError):
    """Two arrays that belong together have different shapes."""


class RecipeError(TumorsegError):
    """A recipe, or a key or value in it, is unknown or of the wrong type."""


class ModelError(TumorsegError):
    """A model folder, run folder or weights file is missing, incomplete or not one."""


class OutputError(TumorsegError):
    """An output exists already, or cannot be written."""


class UnsafeArchive(FormatError):
    """An archive would write where it must not, or more than anyone's data set holds."""


class DownloadError(TumorsegError):
    """A file cannot be had from the web.

    Args:
        what, next_step: as in `TumorsegError`.
        status: the server's answer, where it was the answer that settled it.
    """

    def __init__(self, what: str, *, next_step: str = "", status: int | None = None) -> None:
        self.status = status
        super().__init__(what, next_step=next_step)


class ServerError(TumorsegError):
    """A server cannot be reached, refuses, or gives an answer that cannot be used.

    Args:
        what, next_step: as in `TumorsegError`.
        status: the server's answer, where it was the answer that settled it.
    """

    def __init__(self, what: str, *, next_step: str = "", status: int | None = None) -> None:
        self.status = status
        super().__init__(what, next_step=next_step)


class TrainingError(TumorsegError):
    """Training cannot start or go on; the last good checkpoint stands."""


class MissingExtra(TumorsegError):
    """A package of an optional extra is not installed.

    Args:
        package: the package that could not be imported.
        extra: the extra of tumorseg that brings it.
    """

    def __init__(self, package: str, *, extra: str) -> None:
        super().__init__(
            f"{package} is not installed and this needs it", next_step=f"run: pip install 'tumorseg[{extra}]'"
        )


def few(names: Sequence[str], shown: int = 3) -> str:
    """The first of many names, and how many more there are; for messages that stay one line."""
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")
