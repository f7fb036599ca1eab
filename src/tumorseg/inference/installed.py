"""What is known of a model: its own words, its size, and where its scores come from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tumorseg.inference.catalogue import model_names, models_folder
from tumorseg.inference.model import Model, read_model

CARD = "MODEL_CARD.md"


@dataclass(frozen=True)
class Installed:
    """A model as `tumorseg models` lists it.

    Attributes:
        name: as model.json has it.
        what: one sentence; "" where it has no card.
        licence: of its training data, and so of its use; "" where unknown.
        bytes: of all its files.
        channels, classes: see `ModelSpec`.
        training_patients: how many; 0 where unknown.
        scores: as the card has them, each with part, dataset, patients, dice_patient, ci95, dice_pooled and run.
        card: where the scores are from; None where there is no card.
        path: of its folder.
    """

    name: str
    what: str
    licence: str
    bytes: int
    channels: tuple[str, ...]
    classes: tuple[str, ...]
    training_patients: int
    scores: tuple[Mapping[str, Any], ...]
    card: Path | None
    path: Path

    @property
    def size(self) -> str:
        """Of its files, for people."""
        return f"{self.bytes / 2**20:.1f} MiB"

    @property
    def score_lines(self) -> tuple[str, ...]:
        """The scores, for people."""
        return tuple(_score_line(score) for score in self.scores)


def installed_models() -> tuple[Installed, ...]:
    """The models that come with the package, by name.

    Raises:
        ModelError: one of them is damaged.
    """
    return tuple(describe_model(read_model(models_folder() / name)) for name in model_names())


def describe_model(model: Model) -> Installed:
    """What model.json and the card beside it say."""
    card = model.folder / CARD
    front = _front_matter(card) if card.is_file() else {}
    files = [model.folder / name for name in model.spec.files]
    return Installed(
        name=model.spec.name,
        what=str(front.get("summary", "")),
        licence=model.spec.data_licence,
        bytes=sum(path.stat().st_size for path in files),
        channels=model.spec.channels,
        classes=model.spec.classes,
        training_patients=int(front.get("training_patients", len(model.spec.training_patients))),
        scores=tuple(front.get("scores") or ()),
        card=card if card.is_file() else None,
        path=model.folder,
    )


def _score_line(score: Mapping[str, Any]) -> str:
    low, high = (_decimals(value) for value in score.get("ci95") or (None, None))
    whose = "" if score.get("of_these_weights") else f", of run {score.get('run')}, not of these weights"
    return (
        f"{score.get('dataset')}, {score.get('part')}: Dice by patient {_decimals(score.get('dice_patient'))} "
        f"(95 % interval {low} to {high}, {score.get('patients')} patients){whose}"
    )


def _decimals(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else "undefined"


def _front_matter(card: Path) -> Mapping[str, Any]:
    """The YAML between the first two lines of dashes; nothing where it is not as we write it."""
    parts = card.read_text(encoding="utf-8", errors="replace").split("---\n", 2)
    if len(parts) < 3 or parts[0]:
        return {}
    try:
        front = yaml.safe_load(parts[1])
    except yaml.YAMLError:
        return {}
    return front if isinstance(front, dict) else {}
