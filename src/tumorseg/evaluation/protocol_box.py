"""How the scores came about, as the rows that a reviewer asks for; what is not known is said to be."""

from collections.abc import Iterator, Mapping
from typing import Any

from tumorseg.errors import few
from tumorseg.evaluation.facts import RunFacts

UNKNOWN = "not known: masks were judged as they lay in a folder"
_NAMES = {"train": "training", "val": "validation", "test": "test", "external": "all of another data set"}


def protocol_box(run: RunFacts, metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Label and value of each row, in reading order.

    Args:
        run: what was judged.
        metrics: the content of metrics.json.
    """
    protocol = metrics.get("protocol", {})
    stored = run.recipe is None
    return list(_of_masks(protocol, metrics) if stored else _of_run(run, protocol, metrics))


def _of_run(run: RunFacts, protocol: Mapping[str, Any], metrics: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Judged", _judged(metrics, _NAMES.get(protocol.get("part", run.part), run.part))
    yield "Split", _split(run, protocol)
    yield "Leakage", _leakage(run, protocol)
    yield "Chosen on validation", _chosen(protocol)
    yield "Test part read", _readings(run)
    yield "Intervals", _intervals(protocol)


def _of_masks(protocol: Mapping[str, Any], metrics: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Judged", _judged(metrics, "")
    yield "Paired", protocol.get("pairing") or UNKNOWN
    missing, extra = protocol.get("missing_predictions", ()), protocol.get("extra_predictions", ())
    yield "Without a prediction", f"{len(missing)}, counted as empty: {few(missing, 4)}" if missing else "none"
    yield "Without a reference", f"{len(extra)}, not judged: {few(extra, 4)}" if extra else "none"
    yield "Split", UNKNOWN
    yield "Leakage", UNKNOWN
    yield "Chosen on validation", UNKNOWN
    yield "Test part read", UNKNOWN
    yield "Intervals", _intervals(protocol)


def _judged(metrics: Mapping[str, Any], part: str) -> str:
    counted = f"{metrics.get('patients', 0):,} patients, {metrics.get('slices', 0):,} slices"
    return f"{counted}, part: {part}" if part else counted


def _split(run: RunFacts, protocol: Mapping[str, Any]) -> str:
    unit = "by slice, which leaks" if protocol.get("split_unit") == "slice-with-leakage" else "by patient"
    counts = ", ".join(f"{_NAMES.get(part, part)} {count}" for part, count in run.split_counts.items())
    seed = f", seed {run.recipe.split.seed}" if run.recipe is not None else ""
    return f"{unit}{seed}" + (f"; {counts}" if counts else "")


def _leakage(run: RunFacts, protocol: Mapping[str, Any]) -> str:
    if protocol.get("split_unit") == "slice-with-leakage":
        return "certain: slices of the judged patients were trained on"
    if run.part == "train":
        return "certain: these are the patients of the training"
    if "trained_on" not in protocol:
        return "not checked"
    if trained := protocol["trained_on"]:
        return f"{len(trained)} scans are pixel for pixel training scans: {few(trained, 4)}"
    return (
        "none found: no scan is, by the digest of its pixels and mask, one of the training's. "
        "A copy that was changed would not be seen"
    )


def _chosen(protocol: Mapping[str, Any]) -> str:
    model = protocol.get("model", {})
    chosen = ["the checkpoint"]
    if "threshold" in model:
        chosen.append(f"the threshold ({model['threshold']:g})")
    if "temperature" in model:
        chosen.append(f"the temperature ({model['temperature']:.3g})")
    if model.get("postprocessing"):
        chosen.append("the cleaning of the mask")
    return ", ".join(chosen) + "; nothing on the test part"


def _readings(run: RunFacts) -> str:
    if run.part != "test":
        return "not by this evaluation"
    if run.readings is None:
        return "not counted"
    return f"{run.readings} time{'' if run.readings == 1 else 's'} under this run, this one included"


def _intervals(protocol: Mapping[str, Any]) -> str:
    bootstrap = protocol.get("bootstrap", {})
    if not bootstrap:
        return "none"
    return (
        f"{bootstrap['level'] * 100:.0f} %, percentile bootstrap over patients, {bootstrap['resamples']:,} resamples, "
        f"seed {bootstrap['seed']}"
    )
