"""What ships of a trained network: model.json, and the files that it names and vouches for."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError

from tumorseg.errors import ModelError
from tumorseg.files import digest_file, write_text
from tumorseg.inference.catalogue import SPEC_NAME, find_model
from tumorseg.inference.trust import Usual
from tumorseg.recipe import Cleaning, Filter, Normalization, Part

ONNX_NAME = "model.onnx"
MAX_SPEC_BYTES = 16 * 2**20

_NEXT = "give a run folder, its model folder, a model.json, or a name of: tumorseg models"
_WEIGHTS = re.compile(r"[A-Za-z0-9][\w.-]*\.(onnx|safetensors)")

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 in hexadecimal."""

Flip = Literal["horizontal", "vertical"]


class FastWay(Part):
    """A way to compute a model faster, and what that costs, as measured when it was exported.

    Attributes:
        graph: a graph with 8-bit weights and activations beside model.json; "" computes the model's own.
        test_time_flips: as in `ModelSpec`.
        flips_above: mirror images are looked at only of slices in whose plain image some probability is above this;
            0 looks at all.
        cut: compute each slice only where it is lit; see `tumorseg.inference.cutting`.
        loss: mean Dice by patient of the ordinary way minus that of this one.
        patients: on how many that was measured.
        trained_on: whether the network was trained on these, as where nobody was left for validation.
    """

    graph: str = ""
    test_time_flips: tuple[Flip, ...] = ()
    flips_above: float = Field(default=0.0, ge=0, lt=1)
    cut: bool = False
    loss: float
    patients: int
    trained_on: bool = False


class ModelSpec(Part):
    """All that prediction needs to know of a network, as model.json holds it. Immutable once fitted on validation.

    Attributes:
        format: version of this layout.
        name: what people call the model.
        recipe: name of the recipe that it was trained by.
        channels: the sequences that the network sees, in this order.
        neighbours: slices on each side that the network sees beside the one it marks; see `Recipe`.
        classes: names of the mask's classes 1…K; several exclude each other, and the network has one logit for each
            and, before them, one for background.
        filters, normalization, crop, image_size: how a scan is brought onto the network's grid; see `Recipe`.
        members: the graphs of an ensemble, whose probabilities are averaged; empty where model.onnx is alone.
        threshold: a voxel is tumour where its probability, of several classes their sum, is above this.
        temperature: what logits are divided by before they become probabilities.
        test_time_flips: mirror images whose probabilities are averaged with the plain one.
        blend: share of a slice's probability that the slices below and above it give; see `blend_slices`.
        postprocessing: what happens to the mask after the threshold.
        usual: what its training scans look like, against which others are held; None where that is not known.
        training_patients: SHA-256 digests of the pixels that it was trained on.
        data_licence: of the data that it was trained on, and so of its use.
        fast: None where no fast way was measured.
        files: SHA-256 digest of each file beside model.json, by name.
    """

    format: Literal[1] = 1
    name: str
    recipe: str
    channels: tuple[str, ...] = Field(min_length=1)
    neighbours: int = Field(default=0, ge=0, le=3)
    classes: tuple[str, ...] = Field(min_length=1)
    filters: tuple[Filter, ...] = ()
    normalization: Normalization
    crop: Literal["none", "head"] = "none"
    image_size: int = Field(ge=32, le=2048, multiple_of=32)
    members: tuple[str, ...] = ()
    threshold: float = Field(default=0.5, ge=0, lt=1)
    temperature: float = Field(default=1.0, gt=0)
    test_time_flips: tuple[Flip, ...] = ()
    blend: float = Field(default=0.0, ge=0, lt=1)
    postprocessing: Cleaning = Cleaning()
    usual: Usual | None = None
    training_patients: tuple[Digest, ...] = ()
    data_licence: str = ""
    fast: FastWay | None = None
    files: dict[str, Digest] = Field(default_factory=dict)

    @property
    def stack(self) -> int:
        """Slices that the network sees at once."""
        return 1 + 2 * self.neighbours

    @property
    def logits(self) -> int:
        """Channels that the network puts out."""
        return 1 if len(self.classes) == 1 else len(self.classes) + 1


@dataclass(frozen=True)
class Model:
    """A model on disk.

    Attributes:
        spec: the content of its model.json.
        folder: where that lies.
    """

    spec: ModelSpec
    folder: Path

    @property
    def graphs(self) -> tuple[Path, ...]:
        """The network's graph, or those of an ensemble.

        Raises:
            ModelError: this model lacks one.
        """
        names = self.spec.members or (ONNX_NAME,)
        for name in names:
            if name not in self.spec.files:
                raise ModelError(f"the model in {self.folder} has no {name}", next_step=_NEXT)
        return tuple(self.folder / name for name in names)

    @property
    def faster(self) -> "Model":
        """The same network by its fast way.

        Raises:
            ModelError: none was measured for this model, or its graph is missing.
        """
        way = self.spec.fast
        if way is None:
            raise ModelError(
                f"model {self.spec.name} has no fast way", next_step="leave out --fast, or export the run with --fast"
            )
        update: dict[str, Any] = {"test_time_flips": way.test_time_flips}
        if way.graph:
            update["members"] = (way.graph,)
        return Model(self.spec.model_copy(update=update), self.folder)


def read_model(path: str | Path) -> Model:
    """Open a model and check that its files are the ones that it was written with.

    Args:
        path: a run folder (with model/ in it), a model folder, a model.json, or the name of a model that comes with
            the package.

    Raises:
        ModelError: it is none of these, or a file is missing or is not the one that model.json vouches for.
    """
    spec_path = _find_spec(find_model(path))
    spec = _read_spec(spec_path)
    for name, expected in spec.files.items():
        if not _WEIGHTS.fullmatch(name):
            raise ModelError(
                f"{spec_path} names the file '{name}', which is no .onnx or .safetensors beside it",
                next_step="do not use this model",
            )
        file = spec_path.parent / name
        if not file.is_file():
            raise ModelError(f"{file} is missing", next_step="copy the whole model folder again")
        if digest_file(file) != expected:
            raise ModelError(
                f"{file} is not the file that model.json was written with (its SHA-256 differs)",
                next_step="copy the whole model folder again",
            )
    return Model(spec, spec_path.parent)


def write_spec(folder: Path, spec: ModelSpec) -> Path:
    """Write model.json into `folder`, whole or not at all, and return its path."""
    path = Path(folder) / SPEC_NAME
    write_text(path, json.dumps(spec.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n")
    return path


def _find_spec(path: Path) -> Path:
    try:
        if path.is_dir():
            for candidate in (path / "model" / SPEC_NAME, path / SPEC_NAME):
                if candidate.is_file():
                    return candidate
            if (path / "checkpoints").is_dir():
                raise ModelError(
                    f"run {path} has no model yet: its training did not end",
                    next_step=f"go on with: tumorseg train --output {path} --resume",
                )
            raise ModelError(f"{path} is not a model: there is no {SPEC_NAME} in it", next_step=_NEXT)
    except OSError as error:
        raise ModelError(f"model {path} cannot be read: {error.strerror}", next_step="check the path") from error
    if not path.is_file() or path.suffix != ".json":
        raise ModelError(f"{path} is not a model", next_step=_NEXT)
    return path


def _read_spec(path: Path) -> ModelSpec:
    try:
        if path.stat().st_size > MAX_SPEC_BYTES:
            raise ModelError(f"{path} is too large to be a model.json", next_step=_NEXT)
        values: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}", next_step="check its permissions") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not JSON", next_step="copy the whole model folder again") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} is not a model.json", next_step=_NEXT)
    if isinstance(written := values.get("format"), int) and written > 1:
        raise ModelError(f"{path} is of format {written}, which is newer than 1", next_step="update tumorseg")
    try:
        return ModelSpec.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{path}: key '{key}': {first['msg'].lower()}", next_step=_NEXT) from error
