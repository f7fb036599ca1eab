"""A run's model as files for others: graphs or weights, model.json, a card and the licence's notice."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch

from tumorseg.datasets.store import prepare
from tumorseg.errors import ModelError, TumorsegError
from tumorseg.files import atomic_folder, digest_file, refuse_existing, write_text
from tumorseg.inference.installed import CARD
from tumorseg.inference.model import ONNX_NAME, Model, ModelSpec, write_spec
from tumorseg.inference.predictor import Predictor
from tumorseg.inference.run_folder import read_environment
from tumorseg.inference.torch_runtime import TorchRuntime
from tumorseg.networks.state_file import read_state
from tumorseg.progress import Progress, silent
from tumorseg.recipe_file import dump_recipe
from tumorseg.scan import Scan
from tumorseg.training.card import model_card
from tumorseg.training.cited import evaluations_of, read_evaluation
from tumorseg.training.contract import network_contract, raw_contract, write_contract
from tumorseg.training.data_licences import LICENCE_NAME, licence_notice
from tumorseg.training.export import write_safetensors
from tumorseg.training.fast_way import with_fast_way
from tumorseg.training.half import halve_weights
from tumorseg.training.joined import join_members
from tumorseg.training.package import fitted
from tumorseg.training.parity import (
    Parity,
    Way,
    enough,
    measure_parity,
    phantom_scans,
    raw_graph_way,
    refuse_disparity,
)
from tumorseg.training.raw_graph import write_raw_graph
from tumorseg.training.rehearsals import rehearsals_of
from tumorseg.training.trained_run import WEIGHTS_NAME, TrainedRun, open_run

logger = logging.getLogger(__name__)

To = Literal["onnx", "safetensors"]
Weights = Literal["float16", "float32"]

RAW_NAME = "raw-slices.onnx"

EVERY = 6
"""Of training scans, on which a fast way is measured where all patients trained."""


def export_run(
    run: Path,
    to: To,
    output: Path,
    *,
    data: Path | None = None,
    evaluations: Sequence[Path] = (),
    name: str = "",
    weights: Weights = "float16",
    raw: bool = True,
    fast: bool = False,
    refit: bool = False,
    progress: Progress = silent,
) -> tuple[Parity, ...]:
    """Write a run's model into a new folder, and measure that it computes what was trained; else write nothing.

    `onnx` gives model.onnx, the plain network that `Predictor` computes, or all networks of an ensemble in one graph,
    and raw-slices.onnx, which takes a raw slice and the scan's constants; both carry their contract as metadata.
    `safetensors` gives weights.safetensors in float32, or those of each member, and recipe.yaml, to go on training
    from. Beside either lie model.json, MODEL_CARD.md and, where the data's licence is known, LICENSE.

    Args:
        run: a folder that `tumorseg train` wrote.
        to: what kind of files.
        output: a folder that is new or empty.
        data: the data set whose slices the masks are compared on; None takes that of the training, and synthetic
            heads where it is gone.
        evaluations: folders whose scores the card cites; none takes all of the run's on patients that were not trained
            on.
        name: of the model; "" keeps the run's.
        weights: how the graphs store them; they compute in float32 either way.
        raw: write the graph for raw slices.
        fast: measure a fast way to compute it, and ship that too where it loses next to nothing.
        refit: choose anew what validation chooses, and learn anew what training scans look like, from the run's data;
            for runs that an older version packaged. The weights stay as they are.
        progress: watches the comparison.

    Returns:
        What was compared with what, and how they differ.

    Raises:
        ModelError: `run` has no whole model, or the export does not compute what was trained.
        DataError: `data` cannot be read.
        OutputError: `output` is not empty or cannot be written.
    """
    refuse_existing(output)
    if fast and to != "onnx":
        raise ModelError("a fast way is one of ONNX graphs", next_step="leave out --fast, or export --to onnx")
    opened = open_run(Path(run))
    cited = tuple(map(read_evaluation, evaluations)) or evaluations_of(opened.folder)
    if not cited:
        logger.warning("%s has not been judged: the card will say so; judge it: tumorseg evaluate %s", run, run)
    judged_as = opened.model.spec
    if refit:
        opened = _refitted(opened, data, progress)
    with atomic_folder(output) as folder, TemporaryDirectory(prefix="tumorseg-export-") as place:
        model = opened.model
        if to == "onnx" and model.spec.members:
            model = join_members(model, Path(place))
        spec = model.spec.model_copy(update={"name": name} if name else {})
        if to == "onnx":
            source = model.graphs[0]
            spec, graph = _write_graphs(folder, source, spec, weights=weights, raw=raw)
            scans, where = _scans(opened, data, progress)
            parity = _compare(opened, Model(spec, folder), graph, scans, weights, progress)
            for each in parity:
                logger.info("%s", each)
            refuse_disparity(parity)
            if fast:
                spec = _measured_fast(opened, Model(spec, folder), source, data, progress)
        else:
            spec = _write_weights(folder, opened, spec)
            parity, where = (), "value by value,"
        write_spec(folder, spec)
        lines = [str(each) for each in parity] or ["The weights are those of the run, bit for bit."]
        card = model_card(
            spec,
            opened.recipe,
            read_environment(opened.folder),
            judged_as=judged_as,
            patients=_patients(opened),
            evaluations=cited,
            parity=lines,
            parity_on=where,
        )
        write_text(folder / CARD, card)
        if notice := licence_notice(spec.data_licence):
            write_text(folder / LICENCE_NAME, notice)
    return parity


def _write_graphs(
    folder: Path, source: Path, spec: ModelSpec, *, weights: Weights, raw: bool
) -> tuple[ModelSpec, Path | None]:
    """The graphs; gives the spec that vouches for them, and the graph for raw slices."""
    target = folder / ONNX_NAME
    if weights == "float16":
        halve_weights(source, target)
    else:
        shutil.copyfile(source, target)
    write_contract(target, {**network_contract(spec), "weights": weights})
    graph = None
    if raw:
        graph = folder / RAW_NAME
        write_raw_graph(graph, target, spec)
        write_contract(graph, {**raw_contract(spec), "weights": weights})
    names = [ONNX_NAME, RAW_NAME] if raw else [ONNX_NAME]
    return spec.model_copy(update={"files": {each: digest_file(folder / each) for each in names}}), graph


def _refitted(run: TrainedRun, data: Path | None, progress: Progress) -> TrainedRun:
    """The run with a spec that is fitted anew, for which its own data is needed."""
    store = prepare(data if data is not None else Path(read_environment(run.folder).get("data", "unknown")))
    if not (len(store.rows(run.split, "train")) and len(store.rows(run.split, "val"))):
        raise ModelError(
            f"{store.name} has no patients of the run's training and validation",
            next_step="give the run's own data with --data, or leave out --refit",
        )
    spec = fitted(run.model, run.recipe, store, run.split, progress=progress)
    return replace(run, model=Model(spec, run.model.folder))


def _measured_fast(run: TrainedRun, shipped: Model, source: Path, data: Path | None, progress: Progress) -> ModelSpec:
    """The spec with a fast way, for which the run's own patients are needed."""
    store = prepare(data if data is not None else Path(read_environment(run.folder).get("data", "unknown")))
    parts = [set(run.split.patients(part)) if run.split.unit == "patient" else set() for part in ("train", "val")]
    training, validation = ([scan for scan in store.scans if scan.patient in part] for part in parts)
    if not training or bool(validation) != bool(parts[1]):
        raise ModelError(
            f"{store.name} has no patients of the run's training and validation",
            next_step="give the run's own data with --data, or leave out --fast",
        )
    return with_fast_way(
        shipped,
        source,
        training,
        validation or training[::EVERY],
        trained_on=not validation,
        rehearsals=() if validation else rehearsals_of(run.folder, store.scans),
        progress=progress,
    )


def _write_weights(folder: Path, run: TrainedRun, spec: ModelSpec) -> ModelSpec:
    """The weights in float32, read back and compared; gives the spec that vouches for them."""
    names = [f"member-{n}.safetensors" for n in range(len(run.networks))] if spec.members else [WEIGHTS_NAME]
    for index, name in enumerate(names):
        state = run.member(index).state_dict()
        write_safetensors(folder / name, state)
        written = read_state(folder / name)
        if set(written) != set(state) or not all(torch.equal(written[key], state[key]) for key in state):
            raise ModelError(f"{name} does not hold the weights that were written", next_step="try another disk")
    write_text(folder / "recipe.yaml", dump_recipe(run.recipe))
    return spec.model_copy(update={"members": (), "files": {name: digest_file(folder / name) for name in names}})


def _scans(run: TrainedRun, data: Path | None, progress: Progress) -> tuple[list[Scan], str]:
    """The scans to compare on, and what they are: the run's validation patients where its data is there."""
    spec, environment = run.model.spec, read_environment(run.folder)
    try:
        store = prepare(data if data is not None else Path(environment.get("data", "unknown")), progress=progress)
    except (TumorsegError, OSError) as error:
        if data is not None:
            raise
        logger.warning("the data of the training cannot be read (%s); compared on synthetic heads", error)
        scans = phantom_scans(spec.channels)
        return scans, f"on {sum(len(scan.pixels) for scan in scans)} synthetic slices (the data was not at hand)"
    validation = set(run.split.patients("val")) if run.split.unit == "patient" else set()
    known = [scan for scan in store.scans if scan.patient in validation]
    chosen = enough(known or store.scans)
    count = sum(len(scan.pixels) for scan in chosen)
    of = "of validation patients " if known else ""
    return chosen, f"on {count} slices {of}of {store.name}"


def _compare(
    run: TrainedRun, shipped: Model, raw: Path | None, scans: list[Scan], weights: Weights, progress: Progress
) -> tuple[Parity, ...]:
    """The network in torch with its graph; where that is another than the run's, with the run's; and the raw graph."""
    graph = f"the graph ({weights} weights)"
    ways: dict[str, Way] = {
        "torch": Predictor(shipped, runtime=TorchRuntime(run.network())).probabilities,
        graph: Predictor(shipped).probabilities,
    }
    pairs = [("torch", graph)]
    if weights == "float16" or run.model.spec.members:
        own = "float32 weights, member by member" if run.model.spec.members else "float32 weights"
        ways[own] = Predictor(run.model).probabilities
        pairs.append((own, graph))
    if raw is not None:
        ways["the graph for raw slices"] = raw_graph_way(raw, shipped.spec)
        pairs.append((graph, "the graph for raw slices"))
    return measure_parity(ways, pairs, scans, shipped.spec, progress=progress)


def _patients(run: TrainedRun) -> dict[str, int]:
    """Patients in each part; of a split by slice, whose parts share patients, none."""
    if run.split.unit != "patient":
        return {}
    return {part: len(run.split.patients(part)) for part in ("train", "val", "test")}
