"""The model card: what a model was trained on, how well it does, how it fails, and what its licence asks."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tumorseg.inference.model import ModelSpec
from tumorseg.recipe import Recipe
from tumorseg.training.cited import Evaluation, row_of, seen_failures
from tumorseg.training.contract import blend_text, constants_text, grid_text, neighbours_text, normalization_text
from tumorseg.training.data_licences import terms_of
from tumorseg.training.package import LGG_LICENCE

_IN_WORDS = {"pre": "pre-contrast", "flair": "FLAIR", "post": "post-contrast"}


def model_card(
    spec: ModelSpec,
    recipe: Recipe,
    environment: Mapping[str, Any],
    *,
    judged_as: ModelSpec,
    patients: Mapping[str, int],
    evaluations: Sequence[Evaluation],
    parity: Sequence[str],
    parity_on: str,
) -> str:
    """The card as Markdown, with what programs read of it in front.

    Args:
        spec: of the model that ships.
        recipe, environment: of its run.
        judged_as: the run's own spec, which evaluations know the model by.
        patients: in each part of the split.
        evaluations: that the scores are taken from.
        parity: what was measured at the export, a sentence each.
        parity_on: on which slices, such as "on 160 slices of kaggle_3m".
    """
    template = Environment(
        loader=PackageLoader("tumorseg.training", ""),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    ).get_template("card.md.j2")
    terms = terms_of(spec.data_licence)
    return template.render(
        name=spec.name,
        summary=_summary(spec, len(judged_as.members)),
        licence=spec.data_licence or "unknown",
        data_name=terms.name,
        data=terms.data,
        licence_text=terms.text,
        training_patients=patients.get("train", len(spec.training_patients)),
        validation_patients=patients.get("val", 0),
        channels=", ".join(_IN_WORDS.get(channel, channel) for channel in spec.channels),
        normalization=f"{normalization_text(spec)}; black and white are {constants_text(spec)}",
        grid=grid_text(spec),
        neighbours=neighbours_text(spec),
        answer=_answer(spec),
        network=_network(recipe, environment),
        recipe=recipe,
        environment=_environment(environment),
        scores=[row_of(each, judged_as) for each in evaluations],
        failures=[*seen_failures(evaluations, judged_as), *_known_limits(spec, recipe)],
        parity=parity,
        parity_on=parity_on,
    )


def _summary(spec: ModelSpec, networks: int) -> str:
    what = ", ".join(spec.classes) if len(spec.classes) > 1 else "brain tumours"
    if spec.data_licence == LGG_LICENCE:
        what = "lower-grade glioma"
    sequences = ", ".join(_IN_WORDS.get(channel, channel) for channel in spec.channels)
    together = f", {networks} networks together" if networks > 1 else ""
    return f"Outlines {what} on MRI ({sequences}){together}"


def _answer(spec: ModelSpec) -> str:
    cleaning = ", ".join(
        f"{key} {value}" for key, value in spec.postprocessing.model_dump(exclude_defaults=True).items()
    )
    flips = f"; averaged with {' and '.join(spec.test_time_flips)} mirror images" if spec.test_time_flips else ""
    blended = f"; {blend_text(spec)}" if spec.blend else ""
    cooled = f"; temperature {spec.temperature:g}" if spec.temperature != 1 else ""
    after = f"; {cleaning or 'no'} postprocessing"
    return f"probability of tumour, tumour above {spec.threshold:g}{flips}{cooled}{blended}{after}"


def _network(recipe: Recipe, environment: Mapping[str, Any]) -> str:
    parameters = environment.get("parameters")
    size = f", {parameters / 1e6:.1f} million parameters" if isinstance(parameters, int | float) else ""
    encoder = f" with encoder {recipe.network.encoder}" if recipe.network.encoder != "none" else ""
    return f"{recipe.network.name}{encoder}{size}"


def _environment(environment: Mapping[str, Any]) -> str:
    seconds = environment.get("training_seconds")
    took = f"{seconds / 60:.0f} minutes on " if isinstance(seconds, int | float) else ""
    version = environment.get("versions", {}).get("tumorseg", "unknown")
    return f"{took}{environment.get('device', 'a device that is not known')}, tumorseg {version}"


def _known_limits(spec: ModelSpec, recipe: Recipe) -> Iterable[str]:
    """What follows from the data and the recipe."""
    if spec.data_licence == LGG_LICENCE:
        yield (
            "Trained on lower-grade glioma before treatment, adults, from five institutions. Children, "
            "metastases, meningioma, stroke, inflammation, and brains after surgery or radiation were never seen: "
            "what is bright on FLAIR may be marked though it is no tumour."
        )
        yield "Marks the whole FLAIR abnormality; oedema, enhancing and necrotic parts are not told apart."
    if "post" in spec.channels and (recipe.augmentation.drop_post or recipe.augmentation.drop_both):
        yield "A missing pre- or post-contrast image is replaced by FLAIR, as in training; it is less sure then."
    if share := spec.postprocessing.min_component_share:
        yield (
            f"Of several regions in a scan of six slices or more, those smaller than {100 * share:g} % of the largest "
            "one are left out, since most are mistakes: a small second focus may be among them."
        )
    if spec.neighbours:
        yield "Sees a slice with those beside it: one given alone, or without its neighbours, is marked less well."
    yield "Axial slices of whole heads. Other planes, turned images and other body parts are out of its reach."
    yield "Probabilities are estimates of the network, not chances of disease."
