"""One model out of several runs, such as the folds of a cross-validation; it knows whom its members have seen."""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tumorseg.datasets.prepared import Store
from tumorseg.datasets.split import Part, Split, read_split, write_split
from tumorseg.errors import ModelError, few
from tumorseg.evaluation.unseen import MEMBERS
from tumorseg.files import atomic_folder, digest_file, write_json, write_text
from tumorseg.inference.model import Model, ModelSpec, read_model, write_spec
from tumorseg.inference.run_folder import read_environment
from tumorseg.recipe_file import dump_recipe, load_recipe
from tumorseg.training.usual import learn_usual

_CHOSEN = {"threshold", "temperature", "postprocessing"}
"""What each member's own validation patients chose."""

_OWN = {"name", "members", "training_patients", "data_licence", "files", "usual", "fast"} | _CHOSEN
"""What members of one ensemble may differ in."""


def ensemble_of(runs: Sequence[Path], folder: Path, store: Store) -> Path:
    """Make `folder` a run whose model averages the probabilities of several runs.

    Threshold and temperature are the medians of the members', the cleaning what most of them have: each was chosen on
    that member's own validation patients, and no patient is unseen by all, so that none could choose for the average.
    What scans usually look like is learned anew, from all patients who trained a member. Whoever trained or chose any
    member counts as seen, by name and by digest; `evaluate` refuses to judge the ensemble on them.

    Args:
        runs: whole runs of one recipe on one data set, split by patient.
        folder: gets recipe.yaml, split.csv, environment.json and model/; what it holds else stays.
        store: the data set that they were trained on.

    Returns:
        The model folder.

    Raises:
        ModelError: the runs are not of one recipe and data set, or one of them is not whole.
    """
    if not runs:
        raise ModelError("an ensemble needs members", next_step="name at least one run")
    models = [read_model(run) for run in runs]
    environments = [read_environment(run) for run in runs]
    splits = [read_split(run / "split.csv") for run in runs]
    _refuse_strangers(runs, models, environments, splits, store)
    split = _joined(splits)
    spec = _spec(folder.resolve().name, models, split, store)
    _write_model(folder / "model", spec, models)
    write_text(folder / "recipe.yaml", dump_recipe(load_recipe(runs[0] / "recipe.yaml")))
    write_split(folder / "split.csv", split)
    write_json(folder / "environment.json", _environment(environments, [run.name for run in runs]))
    return folder / "model"


def _refuse_strangers(
    runs: Sequence[Path],
    models: Sequence[Model],
    environments: Sequence[Mapping[str, Any]],
    splits: Sequence[Split],
    store: Store,
) -> None:
    first = models[0].spec.model_dump(exclude=_OWN)
    for run, model, environment, split in zip(runs, models, environments, splits, strict=True):
        own = model.spec.model_dump(exclude=_OWN)
        if different := [key for key in first if own[key] != first[key]]:
            raise ModelError(
                f"{runs[0]} and {run} differ in {few(different)} and cannot answer together",
                next_step="take runs of one recipe",
            )
        if environment.get("store_digest") != store.digest:
            raise ModelError(
                f"{run} was trained on other data than {store.name}", next_step="take runs of one data set"
            )
        if split.unit != "patient":
            raise ModelError(
                f"{run} was split by slice, so nobody is unseen", next_step="take runs that were split by patient"
            )


def _joined(splits: Sequence[Split]) -> Split:
    """Who trained any member trains; who chose any, of the others, chooses; tested is who is tested by all."""
    parts: dict[str, Part] = {}
    for split in splits:
        for patient, part in split.parts.items():
            parts[patient] = min(parts.get(patient, part), part, key=("train", "val", "test").index)
    return Split(parts)


def _spec(name: str, models: Sequence[Model], split: Split, store: Store) -> ModelSpec:
    graphs = [graph for model in models for graph in model.graphs]
    names = tuple(f"member-{index}.onnx" for index in range(len(graphs)))
    seen = {entry.digest for entry in store.stored if split.parts.get(entry.patient) in ("train", "val")}
    licences = dict.fromkeys(model.spec.data_licence for model in models if model.spec.data_licence)
    return models[0].spec.model_copy(
        update={
            "name": name,
            "members": names,
            "threshold": float(median(model.spec.threshold for model in models)),
            "temperature": float(median(model.spec.temperature for model in models)),
            "postprocessing": Counter(model.spec.postprocessing for model in models).most_common(1)[0][0],
            "usual": learn_usual(store.scans_of(split, "train"), models[0].spec.channels),
            "fast": None,
            "training_patients": tuple(sorted(seen)),
            "data_licence": "; ".join(licences),
            "files": {name: digest_file(graph) for name, graph in zip(names, graphs, strict=True)},
        }
    )


def _write_model(folder: Path, spec: ModelSpec, models: Sequence[Model]) -> None:
    """Write the folder, or leave it where it holds the same model."""
    if folder.exists():
        try:
            if read_model(folder).spec == spec:
                return
        except ModelError:
            pass  # a damaged one is written again
        shutil.rmtree(folder)
    graphs = [graph for model in models for graph in model.graphs]
    with atomic_folder(folder) as filled:
        for name, graph in zip(spec.members, graphs, strict=True):
            shutil.copyfile(graph, filled / name)
        write_spec(filled, spec)


def _environment(environments: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """What the members recorded of themselves, times and weights added up."""
    total = {key: sum(each.get(key) or 0 for each in environments) for key in ("training_seconds", "parameters")}
    ends = [each["finished"] for each in environments if each.get("finished")]
    return {**environments[0], **total, **({"finished": max(ends)} if ends else {}), MEMBERS: list(names)}
