"""What a paper on this evaluation must say, after CLAIM (Mongan 2020, update Tejani 2024), as far as the run knows it.

The items are paraphrased and shortened, and are no substitute for the published list. Where the run holds the answer it
stands beside the item; the rest is for the author.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tumorseg.evaluation.facts import RunFacts
from tumorseg.evaluation.protocol_box import protocol_box

Status = Literal["from the run", "for the author"]


@dataclass(frozen=True)
class Item:
    """One thing that a reader must be told.

    Attributes:
        topic: such as Data.
        question: what must be said.
        answer: what the run says; "" where the author must.
    """

    topic: str
    question: str
    answer: str = ""

    @property
    def status(self) -> Status:
        """Who answers."""
        return "from the run" if self.answer else "for the author"


def checklist(run: RunFacts, metrics: Mapping[str, Any]) -> list[Item]:
    """All items in the order of a paper.

    Args:
        run: what was judged.
        metrics: the content of metrics.json.
    """
    box = dict(protocol_box(run, metrics))
    known = run.recipe is not None
    told = {label: value for label, value in box.items() if known or label in ("Judged", "Intervals")}
    return [
        Item("Study", "Aim, design (prospective or retrospective) and intended use"),
        Item("Data", "Source of the data, dates, centres, licence", _dataset(run)),
        Item("Data", "Who was included and who was left out, with a flow chart"),
        Item("Data", "Demographic and clinical characteristics of each part"),
        Item("Data", "De-identification, and approval of an ethics board"),
        Item("Data", "How missing data were handled", _missing(metrics)),
        Item("Data", "Pre-processing of the images", _input(run)),
        Item("Reference", "How the reference was drawn, by how many readers of what experience"),
        Item("Reference", "How far readers agree with each other and with themselves"),
        Item("Parts", "How patients were assigned to training, validation and test", told.get("Split", "")),
        Item("Parts", "At which level the parts are disjoint, and how that was checked", told.get("Leakage", "")),
        Item("Parts", "Size of the test set, and why it suffices", _size(metrics)),
        Item("Model", "Architecture, inputs and outputs", _model(run)),
        Item("Model", "Software and versions", _software(run)),
        Item("Model", "First weights of the network", run.recipe.network.weights if run.recipe else ""),
        Item("Training", "Augmentation, loss, optimiser, hyperparameters", _training(run)),
        Item("Training", "How the final model was chosen", told.get("Chosen on validation", "")),
        Item(
            "Evaluation",
            "Metrics and their definitions",
            "in the section Scores, and in metrics.json under their names",
        ),
        Item("Evaluation", "Uncertainty of the metrics", told.get("Intervals", "")),
        Item("Evaluation", "How often the test part was looked at", told.get("Test part read", "")),
        Item("Evaluation", "Robustness or sensitivity analysis"),
        Item("Evaluation", "Performance in groups of patients", _groups(metrics)),
        Item(
            "Evaluation", "Failures, and what they have in common", "in the sections Where it fails and Kinds of error"
        ),
        Item("Evaluation", "Calibration of probabilities", _calibration(metrics)),
        Item("Evaluation", "Test on external data", _external(metrics)),
        Item("Discussion", "Limitations, sources of bias, and what follows for practice"),
        Item("Other", "Where code and model can be had, under which licence"),
        Item("Other", "Funding, and registration of the study"),
    ]


def _dataset(run: RunFacts) -> str:
    digest = str(run.environment.get("store_digest", ""))[:16]
    return f"data set {run.dataset}, digest {digest}; dates and centres: author" if run.dataset and digest else ""


def _missing(metrics: Mapping[str, Any]) -> str:
    protocol = metrics.get("protocol", {})
    if "missing_predictions" in protocol:
        return f"{len(protocol['missing_predictions'])} references without a prediction counted as empty"
    if "missing_patients" in protocol:
        return f"{len(protocol['missing_patients'])} patients of the part were not in the data set"
    return ""


def _input(run: RunFacts) -> str:
    recipe = run.recipe
    if recipe is None:
        return ""
    size = f"{recipe.image_size} × {recipe.image_size} pixels"
    channels = f"{', '.join(recipe.channels)}; " if recipe.channels else ""
    crop = "" if recipe.crop == "none" else f", cropped to the {recipe.crop}"
    return f"{channels}{size}, brightness by {recipe.normalization}{crop}"


def _size(metrics: Mapping[str, Any]) -> str:
    headline = metrics.get("dice_patient", {})
    low, high = headline.get("ci95") or (0.0, 0.0)
    if not headline.get("n") or low != low:
        return ""
    return f"{headline['n']} patients: the 95 % interval of the mean Dice is {high - low:.3f} wide"


def _model(run: RunFacts) -> str:
    recipe = run.recipe
    if recipe is None:
        return ""
    weights = f", {run.model_parameters:,} weights" if run.model_parameters else ""
    return f"{recipe.network.name}, encoder {recipe.network.encoder}{weights}"


def _software(run: RunFacts) -> str:
    versions = run.environment.get("versions", {})
    shown = [f"{name} {versions[name]}" for name in ("tumorseg", "torch", "python") if name in versions]
    return ", ".join(shown)


def _training(run: RunFacts) -> str:
    recipe = run.recipe
    if recipe is None:
        return ""
    return (
        f"recipe {recipe.name}, in full in the section on the run: {recipe.loss}, {recipe.optimizer.name}, "
        f"learning rate {recipe.optimizer.lr:g}, {recipe.total_epochs} epochs"
    )


def _groups(metrics: Mapping[str, Any]) -> str:
    factors = [factor["factor"] for factor in metrics.get("strata", ())]
    return f"exploratory, by {', '.join(factors)}" if factors else ""


def _calibration(metrics: Mapping[str, Any]) -> str:
    return "ECE, Brier score and reliability diagram in the section Calibration" if "calibration" in metrics else ""


def _external(metrics: Mapping[str, Any]) -> str:
    return "this evaluation" if metrics.get("protocol", {}).get("part") == "external" else ""
