"""What is sent: the types of every answer, as OpenAPI shows them."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tumorseg.web.downloads import Kind
from tumorseg.web.jobs import Status
from tumorseg.web.problems import Problem


class Sent(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class Progress(Sent):
    """How far a job is."""

    done: int = Field(ge=0)
    total: int = Field(ge=0, description="0 as long as it is unknown.")
    unit: str = Field(default="slices")


class Warned(Sent):
    """Something to know before a mask is used."""

    code: str = Field(examples=["assumed-flair"])
    text: str
    advice: str


class Failed(Sent):
    """A file that could not be used."""

    file: str = Field(description="Its owner's own name for it.")
    reason: str = Field(description="Names files by their number alone.")


class ScanSummary(Sent):
    """One segmented scan."""

    index: int = Field(ge=1, description="Counts from 1; the number in the addresses of this scan.")
    name: str = Field(description="What its owner calls it.")
    shape: list[int] = Field(description="Slices, height, width.", min_length=3, max_length=3)
    spacing: list[float] | None = Field(description="Millimetres between slices, rows and columns; null if unknown.")
    channels: list[str]
    classes: list[str]
    threshold: float
    largest_slice: int = Field(description="From 0; the middle one where there is no tumour.")
    tumour_volume_ml: float | None
    tumour_voxels: int
    warnings: list[Warned]
    downloads: list[Kind]
    format: str = Field(alias="format_name", serialization_alias="format", description="Of its files.")
    has_reference: bool
    edited: bool = Field(description="Whether a corrected mask is kept.")
    postprocessing: dict[str, Any] = Field(description="What follows the threshold; see model.json.")


class Slices(Sent):
    """Numbers of each slice, as lists of one length."""

    number: list[int] = Field(description="As the files name them, else from 1.")
    tumour_pixels: list[int]
    area_mm2: list[float] | None
    diameter: list[float]
    diameter_unit: str = Field(examples=["mm", "px"])


class Scores(Sent):
    """How a mask agrees with the reference; null where a score is undefined."""

    dice: float | None
    iou: float | None
    precision: float | None
    recall: float | None
    hd95: float | None
    hd95_unit: str = Field(examples=["mm", "px"])
    nsd: float | None = Field(description="Surface Dice at 2 of the same unit.")
    tumour_voxels: int
    reference_voxels: int
    threshold: float
    edited: bool
    classes: dict[str, float | None] = Field(description="Dice of each class, where there are several.")


class ScanDetail(ScanSummary):
    """One segmented scan with all its numbers."""

    measurements: dict[str, float | None]
    side: str | None = Field(description="left, right or middle of the patient; null if unknown.")
    slices: Slices
    scores: Scores | None = None


class Measured(Sent):
    """The numbers of a corrected mask."""

    measurements: dict[str, float | None]
    tumour_voxels: int
    tumour_volume_ml: float | None
    slices: Slices


class JobSent(Sent):
    """One upload on its way to masks."""

    id: str
    status: Status
    created: datetime
    progress: Progress
    position: int = Field(ge=0, description="In the queue, from 1; 0 when it does not wait.")
    error: Problem | None
    model: str
    files: int
    scans: list[ScanSummary]
    failures: list[Failed]


class Jobs(Sent):
    """All jobs of a session, the oldest first."""

    jobs: list[JobSent]


class ModelSent(Sent):
    """A model that is offered."""

    name: str
    description: str
    licence: str
    classes: list[str]
    channels: list[str]
    scores: list[dict[str, Any]]
    default: bool


class Models(Sent):
    """All models that are offered."""

    models: list[ModelSent]


class ExampleSent(Sent):
    """A scan to try the page with."""

    name: str
    title: str


class Examples(Sent):
    """All examples."""

    examples: list[ExampleSent]


class Limits(Sent):
    """What the server takes."""

    max_upload_bytes: int
    max_unpacked_bytes: int
    max_files: int
    max_slices: int
    max_pixels: int
    max_seconds: float
    max_jobs: int
    queue_length: int
    idle_minutes: float
    token: bool = Field(description="Whether a token must be sent.")
    version: str


class Health(Sent):
    """Whether the server lives, or is ready."""

    status: str = Field(examples=["ok"])
