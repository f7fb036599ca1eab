"""What a server says of jobs, scans and models, as values with types; what it leaves out is empty."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tumorseg.errors import ServerError
from tumorseg.remote import readable

Status = Literal["queued", "running", "done", "failed", "cancelled"]
STATUSES: tuple[Status, ...] = ("queued", "running", "done", "failed", "cancelled")
ENDED: tuple[Status, ...] = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        done, total: of `unit`; 0 as long as nothing is known.
        unit: such as slices.
    """

    done: int = 0
    total: int = 0
    unit: str = "slices"


@dataclass(frozen=True)
class JobState:
    """A job as the server last described it.

    Attributes:
        id: by which the server knows it.
        status: queued, running, done, failed or cancelled.
        progress: how far it is.
        position: in the queue, from 1; 0 once it has begun.
        model: the name of what segments.
        failures: (file, reason) of files that could not be read.
        problem, next_step: why it failed, and what to do; "" where it did not.
        scans: what is said of each scan that is done.
    """

    id: str
    status: Status
    progress: Progress
    position: int = 0
    model: str = ""
    failures: tuple[tuple[str, str], ...] = ()
    problem: str = ""
    next_step: str = ""
    scans: tuple[Mapping[str, Any], ...] = ()

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in ENDED


@dataclass(frozen=True)
class ModelInfo:
    """A model that the server offers.

    Attributes:
        name: by which it is chosen.
        description: one line.
        licence: of its use.
        channels: the sequences that it looks at.
        classes: what its mask's values 1… are.
        is_default: whether it segments where none is named.
    """

    name: str
    description: str = ""
    licence: str = ""
    channels: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    is_default: bool = False


def job_state(answer: object, origin: str) -> JobState:
    """Read a job.

    Raises:
        ServerError: the answer is none.
    """
    job = mapping(answer)
    status, identity = job.get("status"), job.get("id")
    if (
        status not in STATUSES
        or not isinstance(identity, str)
        or not identity.replace("-", "").replace("_", "").isalnum()
    ):
        raise ServerError(f"{origin} answers as no tumorseg server does", next_step="check the address")
    progress, problem = mapping(job.get("progress")), mapping(job.get("error"))
    return JobState(
        identity,
        status,
        Progress(whole(progress.get("done")), whole(progress.get("total")), readable(progress.get("unit") or "slices")),
        whole(job.get("position")),
        readable(job.get("model") or ""),
        tuple((readable(each.get("file")), readable(each.get("reason"))) for each in mappings(job.get("failures"))),
        readable(problem.get("detail") or problem.get("title") or ""),
        readable(problem.get("next_step") or ""),
        tuple(mappings(job.get("scans"))),
    )


def model_info(answer: Mapping[str, Any]) -> ModelInfo:
    """Read a model."""
    return ModelInfo(
        readable(answer.get("name") or ""),
        readable(answer.get("description") or ""),
        readable(answer.get("licence") or ""),
        words(answer.get("channels")),
        words(answer.get("classes")),
        answer.get("default") is True,
    )


def mapping(value: object) -> Mapping[str, Any]:
    """A JSON object; an empty one for all else."""
    return value if isinstance(value, dict) else {}


def mappings(value: object) -> list[Mapping[str, Any]]:
    """The JSON objects of a list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def words(value: object) -> tuple[str, ...]:
    """The texts of a list, each as one line."""
    return tuple(readable(each) for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def whole(value: object) -> int:
    """A whole number; 0 for all else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def numbers(value: object) -> dict[str, float]:
    """The numbers of a JSON object; NaN where it says null."""
    found: dict[str, float] = {}
    for name, each in mapping(value).items():
        if each is None:
            found[name] = math.nan
        elif isinstance(each, int | float) and not isinstance(each, bool):
            found[name] = each
    return found


def columns(value: object) -> dict[str, tuple[float, ...]]:
    """The lists of numbers in a JSON object; NaN where one holds null."""
    found: dict[str, tuple[float, ...]] = {}
    for name, each in mapping(value).items():
        if isinstance(each, list) and all(one is None or isinstance(one, int | float) for one in each):
            found[name] = tuple(math.nan if one is None else one for one in each)
    return found
