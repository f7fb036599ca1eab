"""Equal training time: how many epochs of a recipe fit into so many minutes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tumorseg.recipe import Recipe, Stage

Log = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class EpochCost:
    """What one epoch of one stage takes, in seconds: passing over the training part, and validating."""

    training: float
    validation: float


def probe_of(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe cut down to `epochs` epochs in each stage, each validated, to be timed and thrown away."""
    # A fixed threshold spares the probe the search for one.
    postprocessing = recipe.postprocessing.model_copy(update={"threshold": 0.5})
    return recipe.model_copy(
        update={
            "stages": tuple(stage.model_copy(update={"epochs": epochs}) for stage in recipe.stages),
            "epochs": epochs,
            "ensemble": 1,
            "validate_every": 1,
            "early_stopping": None,
            "postprocessing": postprocessing,
        }
    )


def costs_of(log: Log, stages: int, *, batch_size: int) -> tuple[EpochCost, ...]:
    """What an epoch of each stage takes, by the last epoch of each stage in a probe's log.

    Args:
        log: rows of log.csv; every stage has as many epochs as every other.
        stages: how many there are.
        batch_size: slices in one step.
    """
    epochs = len(log) // stages
    costs = []
    for stage in range(stages):
        last = (stage + 1) * epochs - 1
        steps = log[last]["step"] - (log[last - 1]["step"] if last else 0)
        training = min(steps * batch_size / log[last]["images_per_second"], log[last]["seconds"])
        costs.append(EpochCost(training, log[last]["seconds"] - training))
    return tuple(costs)


def seconds_of(recipe: Recipe, costs: Sequence[EpochCost]) -> float:
    """How long a recipe's training takes by these costs, one for each stage of its schedule, all members together."""
    every = min(recipe.validate_every, recipe.total_epochs)
    return recipe.ensemble * sum(
        stage.epochs * (cost.training + cost.validation / every)
        for stage, cost in zip(recipe.schedule, costs, strict=True)
    )


def fitted(recipe: Recipe, costs: Sequence[EpochCost], seconds: float) -> Recipe:
    """The recipe with the number of epochs whose training takes nearest to `seconds`.

    Stages keep their proportions, as far as whole epochs allow, and have at least one each; nothing else changes.
    """
    total = len(recipe.schedule)
    best = with_epochs(recipe, total)
    while seconds_of(best, costs) < seconds:
        total += 1
        longer = with_epochs(recipe, total)
        if abs(seconds_of(longer, costs) - seconds) > abs(seconds_of(best, costs) - seconds):
            break
        best = longer
    return best


def with_epochs(recipe: Recipe, total: int) -> Recipe:
    """The recipe with `total` epochs, stages in their old proportions (largest remainders), each at least one."""
    if not recipe.stages:
        return recipe.model_copy(update={"epochs": total})
    shares = [stage.epochs / recipe.total_epochs for stage in recipe.stages]
    epochs = [max(1, int(share * total + 1e-9)) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda index: epochs[index] - shares[index] * total)
    for index in by_remainder[: max(0, total - sum(epochs))]:
        epochs[index] += 1
    stages: tuple[Stage, ...] = tuple(
        stage.model_copy(update={"epochs": count}) for stage, count in zip(recipe.stages, epochs, strict=True)
    )
    return recipe.model_copy(update={"stages": stages, "epochs": sum(epochs)})


def same_but_epochs(one: Recipe, other: Recipe) -> bool:
    """Whether two recipes differ in nothing but how many epochs they take."""
    return with_epochs(one, len(one.schedule)) == with_epochs(other, len(other.schedule))
