"""Recipe: every choice of a training run as one frozen, validated, typed configuration."""

import difflib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tumorseg.errors import RecipeError

Normalization = Literal["volume-percentile", "slice-percentile", "imagenet"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Network(_Part):
    """Which network, and where its encoder's first weights come from.

    Attributes:
        name: an entry of `tumorseg.networks.NETWORKS`.
        encoder: an encoder of segmentation_models_pytorch.
        weights: "none", "imagenet", or the path of a weights file for the encoder.
        decoder_channels: channels of the decoder's stages, from the deepest.
        dropout: share of the decoder's last feature maps that is dropped in training.
    """

    name: str = "unet"
    encoder: str = "timm-tf_efficientnet_lite0"
    weights: str = "imagenet"
    decoder_channels: tuple[int, ...] = (256, 128, 64, 32, 16)
    dropout: float = Field(default=0.0, ge=0, lt=1)


class Optimizer(_Part):
    """How weights move. `clip` bounds the norm of the gradient; null leaves it alone."""

    name: Literal["adam", "adamw"] = "adamw"
    lr: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    clip: float | None = Field(default=1.0, gt=0)


class Scheduler(_Part):
    """How the learning rate moves over a stage.

    Attributes:
        name: one-cycle (up and down again, Smith 2018), cosine, plateau (on the validation loss), constant.
        warmup: share of a stage's steps in which the rate rises to its height; 0 starts there.
        patience: plateau: validations without a better loss before the rate falls.
        factor: plateau: what the rate is multiplied with.
    """

    name: Literal["one-cycle", "cosine", "plateau", "constant"] = "one-cycle"
    warmup: float = Field(default=0.1, ge=0, lt=1)
    patience: int = Field(default=3, ge=1)
    factor: float = Field(default=0.1, gt=0, lt=1)


class Stage(_Part):
    """One stage of training; `lr` null keeps the optimizer's."""

    epochs: int = Field(gt=0)
    freeze: tuple[Literal["encoder"], ...] = ()
    lr: float | None = Field(default=None, gt=0)


class Sampling(_Part):
    """Which slices an epoch shows.

    Attributes:
        empty_ratio: slices without tumour per slice with tumour, drawn anew each epoch; null shows all slices.
        subset_statistics: probability that a slice is normalised by the percentiles of a random subset of its
            volume's slices (down to itself alone) instead of all of them, so that a lone slice works too.
    """

    empty_ratio: float | None = Field(default=0.5, ge=0)
    subset_statistics: float = Field(default=0.5, ge=0, le=1)


class Augmentation(_Part):
    """Random changes to whole batches. Each `…_probability` is per slice; 0 switches the change off.

    Attributes:
        flip_horizontal, flip_vertical: probability of a mirror image, left to right and top to bottom.
        quarter_turns: probability of a turn by 90, 180 or 270 degrees.
        affine_probability: of one random affine map, drawn from the four ranges that follow.
        rotation: degrees, each way. scale: smallest and largest factor. shift: share of the side. shear: degrees.
        elastic_probability: of a smooth random displacement of about `elastic_amplitude` pixels with a grid of
            `elastic_spacing` pixels between its control points.
        brightness, contrast, gamma, noise: largest change, each with `intensity_probability`: an added share of
            the full range, a factor 1 ± x, an exponent exp(±x), a standard deviation in shares of the full range.
        drop_pre, drop_post, drop_both: probability that pre-contrast, post-contrast or both are replaced by FLAIR,
            as the LGG set does where they are missing.
        fill: what lies outside the frame after a geometric change: black, or the nearest pixel.
    """

    flip_horizontal: float = Field(default=0.0, ge=0, le=1)
    flip_vertical: float = Field(default=0.0, ge=0, le=1)
    quarter_turns: float = Field(default=0.0, ge=0, le=1)
    affine_probability: float = Field(default=0.0, ge=0, le=1)
    rotation: float = Field(default=0.0, ge=0, le=180)
    scale: tuple[float, float] = (1.0, 1.0)
    shift: float = Field(default=0.0, ge=0, le=1)
    shear: float = Field(default=0.0, ge=0, lt=90)
    elastic_probability: float = Field(default=0.0, ge=0, le=1)
    elastic_amplitude: float = Field(default=4.0, ge=0)
    elastic_spacing: int = Field(default=32, ge=4)
    intensity_probability: float = Field(default=0.0, ge=0, le=1)
    brightness: float = Field(default=0.0, ge=0)
    contrast: float = Field(default=0.0, ge=0, lt=1)
    gamma: float = Field(default=0.0, ge=0)
    noise: float = Field(default=0.0, ge=0)
    drop_pre: float = Field(default=0.0, ge=0, le=1)
    drop_post: float = Field(default=0.0, ge=0, le=1)
    drop_both: float = Field(default=0.0, ge=0, le=1)
    fill: Literal["black", "nearest"] = "black"

    @model_validator(mode="after")
    def _drops_share_one_draw(self) -> "Augmentation":
        if self.drop_pre + self.drop_post + self.drop_both > 1:
            raise ValueError("drop_pre, drop_post and drop_both together exceed 1")
        return self


class SplitShares(_Part):
    """How patients are dealt into parts; training gets the rest. The seed is part of the published protocol."""

    test: float = Field(default=0.15, gt=0, lt=1)
    validation: float = Field(default=0.10, gt=0, lt=1)
    seed: int = 20261121


class Postprocessing(_Part):
    """What happens to a predicted mask; `threshold` "validation" chooses it on the validation patients.

    Attributes:
        threshold: probability above which a pixel is tumour, or "validation".
        min_component_voxels: 3D components (26-connected) smaller than this are removed.
        fill_holes: fill holes that are closed within a slice.
    """

    threshold: float | Literal["validation"] = "validation"
    min_component_voxels: int = Field(default=0, ge=0)
    fill_holes: bool = False


class Recipe(_Part):
    """Every choice of a run. See `tumorseg recipes` for the ones that ship.

    Attributes:
        name, description: what people call it and what it is.
        channels: the sequences that the network sees, in this order.
        classes: names of the mask's classes 1…K.
        normalization: volume-percentile, slice-percentile (0 to the 99.5th percentile become 0 to 1) or imagenet.
        crop: "head" cuts the frame to the box of the head before it is resized.
        image_size: side in pixels of the square grid that the network sees; a frame of this size is not resampled.
        patch_size: side of the random patch of the grid that training sees; null trains on the whole grid.
        network, loss, optimizer, scheduler, stages, sampling, augmentation, split, postprocessing: see their types.
        epochs: passes over the training patients; with `stages` it is the sum of theirs.
        batch_size: slices in one step; auto takes 16, or fewer where the device's memory is small.
        ema: decay per step of the averaged weights that are judged and shipped; null judges the last ones.
        early_stopping: validations without a better one before training ends; null never ends early.
        select_by: what chooses the best checkpoint on the validation patients.
        validate_every: epochs between two validations.
        test_time_flips: mirror images whose predictions are averaged with the plain one.
        precision: auto takes bf16 where the device computes with it.
        seed: of weights, sampling and augmentation.
    """

    name: str
    description: str = ""
    channels: tuple[str, ...] = ("pre", "flair", "post")
    classes: tuple[str, ...] = ("tumour",)
    normalization: Normalization = "volume-percentile"
    crop: Literal["none", "head"] = "none"
    image_size: int = Field(default=256, ge=32, le=2048, multiple_of=32)
    patch_size: int | None = Field(default=None, ge=32, le=2048, multiple_of=32)
    network: Network = Network()
    loss: str = "dice+bce"
    optimizer: Optimizer = Optimizer()
    scheduler: Scheduler = Scheduler()
    stages: tuple[Stage, ...] = ()
    epochs: int = Field(default=30, gt=0)
    batch_size: Literal["auto"] | Annotated[int, Field(gt=0)] = "auto"
    sampling: Sampling = Sampling()
    augmentation: Augmentation = Augmentation()
    split: SplitShares = SplitShares()
    postprocessing: Postprocessing = Postprocessing()
    ema: float | None = Field(default=None, gt=0, lt=1)
    early_stopping: int | None = Field(default=None, gt=0)
    select_by: Literal["dice_patient", "loss"] = "dice_patient"
    validate_every: int = Field(default=1, gt=0)
    test_time_flips: tuple[Literal["horizontal", "vertical"], ...] = ()
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        if self.patch_size is not None and self.patch_size > self.image_size:
            raise ValueError(f"patch_size {self.patch_size} exceeds image_size {self.image_size}")
        return self

    @property
    def schedule(self) -> tuple[Stage, ...]:
        """The stages; without any, one stage of `epochs` that freezes nothing."""
        return self.stages or (Stage(epochs=self.epochs),)

    @property
    def total_epochs(self) -> int:
        """Epochs of all stages together."""
        return sum(stage.epochs for stage in self.schedule)


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that ship, sorted, `default` first."""
    names = sorted(
        entry.name.removesuffix(".yaml")
        for entry in resources.files("tumorseg.recipes").iterdir()
        if entry.name.endswith(".yaml")
    )
    return tuple(sorted(names, key=lambda name: (name != "default", name)))


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe by name or from a YAML file, with `key=value` overrides on top.

    Args:
        source: a name from `recipe_names()` or the path of a YAML file.
        overrides: such as "epochs=3" or "network.encoder=resnet34"; values are read as YAML.

    Raises:
        RecipeError: unknown recipe, key or value; names the key and the nearest valid one.
    """
    values = _resolve(str(source), seen=())
    for override in overrides:
        _apply(values, override)
    return _validate(values, where=str(source))


def dump_recipe(recipe: Recipe) -> str:
    """The whole recipe as YAML, every field written out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _resolve(source: str, seen: tuple[str, ...]) -> dict[str, Any]:
    """The values of a recipe merged over those of the one recipe that it varies."""
    if source in seen:
        raise RecipeError(f"recipe {source}: 'base' leads back to itself", next_step="remove one 'base:' line")
    name, text = _read(source)
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise RecipeError(f"recipe {source}{line}: not valid YAML", next_step="mend its syntax") from error
    if not isinstance(values, dict):
        raise RecipeError(f"recipe {source}: not a mapping of keys to values", next_step="write 'key: value' lines")
    values = {"name": name, **values}
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise RecipeError(f"recipe {source}: key 'base' must name one recipe", next_step="write base: default")
    beside = Path(source).parent / base
    parent = str(beside) if source.endswith((".yaml", ".yml")) and beside.is_file() else base
    return _merge(_resolve(parent, (*seen, source)), values)


def _read(source: str) -> tuple[str, str]:
    """Name and text of a recipe that ships or of a file."""
    if source in recipe_names():
        return source, (resources.files("tumorseg.recipes") / f"{source}.yaml").read_text(encoding="utf-8")
    path = Path(source)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        try:
            return path.stem, path.read_text(encoding="utf-8")
        except OSError as error:
            raise RecipeError(f"recipe file {path}: {error.strerror}", next_step="give the path of a file") from error
        except UnicodeDecodeError as error:
            raise RecipeError(f"recipe file {path}: not text", next_step="give a YAML file") from error
    raise RecipeError(f"no recipe is called '{source}'", next_step=_nearest(source, recipe_names()))


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _apply(values: dict[str, Any], override: str) -> None:
    """Set one `key.subkey=value` in place."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"--set {override}: not of the form key=value", next_step="write e.g. --set epochs=20")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {override}: the value is not valid YAML", next_step="quote it") from error
    if isinstance(value, str):
        value = _number(value)
    *parents, last = key.split(".")
    node = values
    for parent in parents:
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            raise RecipeError(f"recipe key '{key}': '{parent}' has no keys", next_step=f"write --set {parent}=…")
        node = child
    if isinstance(value, dict) and isinstance(node.get(last), dict):
        value = _merge(node[last], value)
    node[last] = value


def _number(text: str) -> str | float:
    """YAML 1.1 reads 1e-3 as text; people mean the number."""
    try:
        return float(text)
    except ValueError:
        return text


def _validate(values: dict[str, Any], where: str) -> Recipe:
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if str(part) not in ("float", "literal['validation']"))
        if first["type"] == "extra_forbidden":
            raise RecipeError(f"recipe {where}: unknown key '{key}'", next_step=_nearest(key, all_keys())) from error
        about = f"key '{key}': " if key else ""
        got = "" if first["type"] == "value_error" else f" (got {_shown(first.get('input'))})"
        message = first["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        raise RecipeError(f"recipe {where}: {about}{message}{got}", next_step="change that value") from error


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _nearest(given: str, valid: Sequence[str]) -> str:
    close = difflib.get_close_matches(given, valid, n=1, cutoff=0.5)
    by_leaf = [key for key in valid if key.rsplit(".", 1)[-1] == given.rsplit(".", 1)[-1]]
    if found := (by_leaf or close):
        return f"did you mean '{found[0]}'?"
    return "valid are: " + ", ".join(key for key in valid if "." not in key)


@cache
def all_keys() -> tuple[str, ...]:
    """Every key of a recipe in dotted form, such as network.encoder."""
    keys: list[str] = []
    for name, info in Recipe.model_fields.items():
        keys.append(name)
        if isinstance(info.annotation, type) and issubclass(info.annotation, _Part):
            keys += [f"{name}.{inner}" for inner in info.annotation.model_fields]
    return tuple(keys)
