"""What was trained on what, as rows of a table."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from tumorseg.evaluation.facts import RunFacts
from tumorseg.recipe import Recipe

_PARTS = {"train": "training", "val": "validation", "test": "test"}


def summary(run: RunFacts, judged: int, *, unseen: bool) -> str:
    """One sentence: which network, trained, chosen and judged on how many patients of what.

    Args:
        run: the run that was judged.
        judged: patients.
        unseen: whether training and choosing saw none of them.
    """
    if run.recipe is None:
        return (
            f"Stored masks ({run.name}), judged on {_patients(judged)} of {run.dataset}. What made them is not known."
        )
    network = run.recipe.network
    size = f", {run.model_parameters / 1e6:.1f} M weights" if run.model_parameters else ""
    counts = run.split_counts
    trained_on = run.environment.get("dataset") or run.dataset
    text = f"Recipe {run.recipe.name} ({network.name}, {network.encoder}{size})"
    if counts.get("train"):
        text += f", trained on {_patients(counts['train'])}" + (f" of {trained_on}" if trained_on else "")
    if counts.get("val"):
        text += f", chosen on {counts['val']} others"
    where = f" of {run.dataset}" if run.dataset and run.dataset != trained_on else ""
    text += f", judged on {_patients(judged)}{where}"
    if unseen:
        text += " that neither training nor choosing saw"
    return text + "."


def facts(run: RunFacts) -> list[tuple[str, str]]:
    """Label and value of everything that is known about a run, in reading order."""
    return [(label, value) for label, value in (*_data(run), *_training(run), *_machine(run)) if value]


def command(run: RunFacts) -> str:
    """The command that trained the run, as one would type it; "" where unknown."""
    recorded = run.environment.get("command", "")
    return run.command or (shlex.join(map(str, recorded)) if isinstance(recorded, list | tuple) else str(recorded))


def versions(run: RunFacts) -> list[tuple[str, str]]:
    """Packages and their versions, sorted."""
    recorded = run.environment.get("versions", {})
    return sorted((str(name), str(version)) for name, version in recorded.items()) if recorded else []


def duration(seconds: float) -> str:
    """Seconds in words, such as 1 h 32 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _data(run: RunFacts) -> Iterator[tuple[str, str]]:
    yield "Data set judged", run.dataset
    yield "Data set trained on", _text(run.environment, "dataset")
    yield "Its digest", _text(run.environment, "store_digest")[:16]
    yield "Patients", ", ".join(f"{_PARTS.get(part, part)} {count}" for part, count in run.split_counts.items())
    yield "Part judged", _PARTS.get(run.part, run.part)
    yield "Readings of the test part", "" if run.readings is None else f"{run.readings}, this one included"
    yield "Seed of the split", "" if run.recipe is None else str(run.recipe.split.seed)


def _training(run: RunFacts) -> Iterator[tuple[str, str]]:
    recipe = run.recipe
    if recipe is None:
        return
    network, optimizer = recipe.network, recipe.optimizer
    yield "Recipe", recipe.name
    yield "Network", f"{network.name}, encoder {network.encoder}, first weights: {network.weights}"
    yield "Weights", f"{run.model_parameters:,}" if run.model_parameters else ""
    yield "Sequences", ", ".join(recipe.channels)
    crop = "" if recipe.crop == "none" else f", cropped to the {recipe.crop}"
    yield "Input", f"{recipe.image_size} × {recipe.image_size} pixels{crop}, {recipe.normalization}"
    yield "Loss", recipe.loss
    yield "Optimizer", f"{optimizer.name}, learning rate {optimizer.lr:g}, {recipe.scheduler.name}"
    yield "Epochs", _epochs(run, recipe)
    yield "Slices in a step", str(_text(run.environment, "batch_size") or recipe.batch_size)
    yield "Averaged weights", "" if recipe.ema is None else f"decay {recipe.ema:g}"
    yield "Flips at test time", ", ".join(recipe.test_time_flips)
    yield "Blended with neighbouring slices", f"{recipe.blend:g}" if recipe.blend else ""
    yield "Seed of the training", _text(run.environment, "seed") or str(recipe.seed)


def _machine(run: RunFacts) -> Iterator[tuple[str, str]]:
    seconds = run.environment.get("training_seconds")
    yield "Training time", duration(float(seconds)) if isinstance(seconds, int | float) else ""
    yield "Started", _text(run.environment, "started")
    yield "Finished", _text(run.environment, "finished")
    yield "Device", _text(run.environment, "device")
    yield "Precision", _text(run.environment, "precision")
    yield "Machine", _text(run.environment, "machine")
    yield "Commit", _text(run.environment, "commit")


def _epochs(run: RunFacts, recipe: Recipe) -> str:
    planned = recipe.total_epochs
    return f"{len(run.log)} of {planned}" if run.log and len(run.log) != planned else str(planned)


def _text(environment: Mapping[str, Any], key: str) -> str:
    """A recorded value on one line; mappings as "key value, …"."""
    value = environment.get(key)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return "" if value is None else str(value)


def _patients(count: int) -> str:
    return f"{count} patient" if count == 1 else f"{count} patients"
