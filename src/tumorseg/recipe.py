"""Recipe: every choice of a training run as one frozen, validated, typed configuration."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Normalization = Literal["volume-percentile", "slice-percentile", "full-range", "imagenet"]
Filter = Literal["median", "clahe", "laplacian", "unsharp", "sobel"]


class Part(BaseModel):
    """A group of keys; unknown ones are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Network(Part):
    """Which network, and where its encoder's first weights come from.

    Attributes:
        name: an entry of `tumorseg.networks.NETWORKS`.
        encoder: an encoder of segmentation_models_pytorch; "none" for a network that is built as a whole.
        weights: "none", "imagenet", or the path of a weights file for the encoder.
        decoder_channels: channels of the decoder's stages, from the deepest; for networks with an encoder.
        features: channels of the network's stages, from the finest; for networks without an encoder. Empty takes
            the network's usual ones.
        norm: what follows a convolution in networks without an encoder.
        upsampling: how such networks grow: by transposed convolutions or by interpolation.
        dropout: share of the decoder's last feature maps that is dropped in training.
    """

    name: str = "unet"
    encoder: str = "timm-tf_efficientnet_lite0"
    weights: str = "imagenet"
    decoder_channels: tuple[int, ...] = (256, 128, 64, 32, 16)
    features: tuple[Annotated[int, Field(gt=0)], ...] = ()
    norm: Literal["none", "batch", "instance"] = "batch"
    upsampling: Literal["transposed", "interpolated"] = "transposed"
    dropout: float = Field(default=0.0, ge=0, lt=1)


class Optimizer(Part):
    """How weights move. `clip` bounds the norm of the gradient; null leaves it alone."""

    name: Literal["adam", "adamw"] = "adamw"
    lr: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    clip: float | None = Field(default=1.0, gt=0)


class Scheduler(Part):
    """How the learning rate moves over a stage.

    Attributes:
        name: one-cycle (up and down again, Smith 2018), cosine, exponential, plateau (on the validation loss),
            constant.
        warmup: share of a stage's steps in which the rate rises to its height; 0 starts there.
        final: cosine, exponential: the rate at the end of a stage as a share of its height.
        patience: plateau: validations without a better loss before the rate falls.
        factor: plateau: what the rate is multiplied with.
    """

    name: Literal["one-cycle", "cosine", "exponential", "plateau", "constant"] = "one-cycle"
    warmup: float = Field(default=0.1, ge=0, lt=1)
    final: float = Field(default=0.0, ge=0, le=1)
    patience: int = Field(default=3, ge=1)
    factor: float = Field(default=0.1, gt=0, lt=1)

    @model_validator(mode="after")
    def _falls_to_something(self) -> "Scheduler":
        if self.name == "exponential" and self.final == 0:
            raise ValueError("an exponential schedule never ends at 0; set scheduler.final, such as 0.1")
        return self


class Stage(Part):
    """One stage of training; `lr` null keeps the optimizer's."""

    epochs: int = Field(gt=0)
    freeze: tuple[Literal["encoder"], ...] = ()
    lr: float | None = Field(default=None, gt=0)


class Sampling(Part):
    """Which slices an epoch shows.

    Attributes:
        empty_ratio: slices without tumour per slice with tumour, drawn anew each epoch; null shows all slices.
        subset_statistics: probability that a slice is normalised by the percentiles of a random subset of its
            volume's slices (down to itself alone) instead of all of them, so that a lone slice works too.
    """

    empty_ratio: float | None = Field(default=0.5, ge=0)
    subset_statistics: float = Field(default=0.5, ge=0, le=1)


class Augmentation(Part):
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
        fade_lesion: probability that a tumour, or a part of it, loses contrast to the tissue around it.
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
    fade_lesion: float = Field(default=0.0, ge=0, le=1)
    fill: Literal["black", "nearest"] = "black"

    @model_validator(mode="after")
    def _drops_share_one_draw(self) -> "Augmentation":
        if self.drop_pre + self.drop_post + self.drop_both > 1:
            raise ValueError("drop_pre, drop_post and drop_both together exceed 1")
        return self


class SplitShares(Part):
    """How patients are dealt into parts; training gets the rest. The seed is part of the published protocol.

    Attributes:
        test, validation: shares.
        seed: of the dealing.
        unit: what is dealt. "slice-with-leakage" puts slices of one patient into several parts, as many published
            scores do; it exists to measure what that gives away, see `tumorseg audit-leakage`.
    """

    test: float = Field(default=0.15, gt=0, lt=1)
    validation: float = Field(default=0.10, gt=0, lt=1)
    seed: int = 20261121
    unit: Literal["patient", "slice-with-leakage"] = "patient"


class Cleaning(Part):
    """What happens to a mask after the threshold, in this order.

    Attributes:
        opening, closing: radius in pixels of a disc that removes what is thinner, or closes gaps that are narrower,
            within a slice; 0 does nothing.
        fill_holes: fill holes that are closed within a slice.
        min_component_voxels: 3D components (26-connected) smaller than this are removed, but not from a lone slice.
        min_component_slices: 3D components that lie in fewer slices than this are removed, but not where nothing would
            be left, nor from a scan of fewer than six slices, which may lie too far apart to say so.
        min_component_share: 3D components of fewer voxels than this share of the largest one's are removed, from the
            same scans: most gliomas are of one piece.
        largest_component: keep only the largest 3D component.
    """

    opening: int = Field(default=0, ge=0, le=32)
    closing: int = Field(default=0, ge=0, le=32)
    fill_holes: bool = False
    min_component_voxels: int = Field(default=0, ge=0)
    min_component_slices: int = Field(default=0, ge=0, le=32)
    min_component_share: float = Field(default=0.0, ge=0, le=1)
    largest_component: bool = False


class Postprocessing(Cleaning):
    """From probabilities to a mask.

    Attributes:
        threshold: probability above which a pixel is tumour; "validation" chooses it on the validation patients, and
            with it the temperature and, where no cleaning but min_component_slices and min_component_share is given,
            fill_holes and min_component_voxels.
    """

    threshold: float | Literal["validation"] = "validation"


class Recipe(Part):
    """Every choice of a run. See `tumorseg recipes` for the ones that ship.

    Attributes:
        name, description: what people call it and what it is.
        channels: the sequences that the network sees, in this order; empty takes the data set's own.
        neighbours: slices on each side that the network sees beside the one it marks (2.5D); at the ends of a scan,
            and where a slice is alone, the slice itself stands for those that are not there.
        classes: one name takes every class of the data set together as tumour; several must be the data set's own,
            in its order, and each is segmented.
        filters: applied to the image before it is normalised, in this order; see `tumorseg.filters`.
        normalization: volume-percentile, slice-percentile (0.5th to 99.5th percentile become 0 to 1), full-range (0
            to 255, or to the scan's largest value, become 0 to 1) or imagenet.
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
        blend: share of a slice's probability that the slices below and above it give, half each; 0 gives it its own.
        precision: auto takes bf16 where the device computes with it.
        seed: of weights, sampling and augmentation.
        ensemble: how many networks are trained, with the seeds seed, seed + 1, …; their probabilities are averaged.
    """

    name: str
    description: str = ""
    channels: tuple[str, ...] = ()
    neighbours: int = Field(default=0, ge=0, le=3)
    classes: tuple[str, ...] = Field(default=("tumour",), min_length=1)
    filters: tuple[Filter, ...] = ()
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
    blend: float = Field(default=0.0, ge=0, lt=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = Field(default=0, ge=0)
    ensemble: int = Field(default=1, ge=1, le=20)

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        if self.patch_size is not None and self.patch_size > self.image_size:
            raise ValueError(f"patch_size {self.patch_size} exceeds image_size {self.image_size}")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes names one class twice")
        if self.neighbours and self.augmentation.fade_lesion:
            raise ValueError("augmentation.fade_lesion knows no tumour of neighbouring slices; set one of the two to 0")
        return self

    @property
    def stack(self) -> int:
        """Slices that the network sees at once: the one it marks, and its neighbours."""
        return 1 + 2 * self.neighbours

    @property
    def logits(self) -> int:
        """Channels that the network puts out: one for tumour alone; several classes have one each and background."""
        return 1 if len(self.classes) == 1 else len(self.classes) + 1

    @property
    def schedule(self) -> tuple[Stage, ...]:
        """The stages; without any, one stage of `epochs` that freezes nothing."""
        return self.stages or (Stage(epochs=self.epochs),)

    @property
    def total_epochs(self) -> int:
        """Epochs of all stages together."""
        return sum(stage.epochs for stage in self.schedule)
