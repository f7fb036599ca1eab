"""What a graph takes and gives, in its own metadata, so that it can be used without this package."""

from collections.abc import Mapping
from pathlib import Path

import onnx

from tumorseg import __version__
from tumorseg.files import atomic_write
from tumorseg.inference.model import ModelSpec
from tumorseg.preprocess import BRIGHTEST, HIGH_PERCENTILE, IMAGENET_MEAN, IMAGENET_STD, LOW_PERCENTILE


def write_contract(path: Path, contract: Mapping[str, str]) -> None:
    """Replace the metadata of a graph, whole or not at all."""
    model = onnx.load(str(path))
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, dict(contract))
    model.producer_name, model.producer_version = "tumorseg", __version__
    with atomic_write(path) as temporary:
        onnx.save(model, str(temporary))


def network_contract(spec: ModelSpec) -> dict[str, str]:
    """Of the plain network: normalised images to logits."""
    return {
        "input": (
            f"image, float32 (slices, {spec.stack * len(spec.channels)}, height, width), normalised; height and width "
            f"are {spec.image_size}, slices are free{_stack_text(spec)}"
        ),
        "output": f"logits, float32 (slices, {spec.logits}, height, width)",
        "normalization": normalization_text(spec),
        "grid": grid_text(spec),
        "probability": _probability_text(spec),
        **_shared(spec),
    }


def raw_contract(spec: ModelSpec) -> dict[str, str]:
    """Of the graph for raw slices."""
    axes = "" if len(spec.classes) == 1 else ", classes"
    flips = ", ".join(spec.test_time_flips)
    consecutive = (
        f"; consecutive slices of one scan in order, so that each finds its {spec.neighbours} neighbours on each side "
        "(at an end, and alone, a slice stands for those that are not there)"
        if spec.neighbours
        else ""
    )
    return {
        "input": (
            f"slices, float32 (slices, {spec.image_size}, {spec.image_size}, channels): stored values, on the grid, "
            f"not normalised{consecutive}"
        ),
        "constants": (
            "black and white, float32 (slices or 1, channels): what normalisation sends to 0 and 1, "
            f"{constants_text(spec)}"
        ),
        "output": f"probability, float32 (slices, {spec.image_size}, {spec.image_size}{axes}), 0 to 1",
        "normalization": f"inside the graph: {normalization_text(spec)}",
        "grid": grid_text(spec),
        "test_time_flips": f"inside the graph, averaged with the plain image: {flips}" if flips else "none",
        **_shared(spec),
    }


def neighbours_text(spec: ModelSpec) -> str:
    """What the network sees beside a slice; "" where nothing."""
    if not spec.neighbours:
        return ""
    each = "the slice" if spec.neighbours == 1 else f"the {spec.neighbours} slices"
    return (
        f"{each} below and above are seen with every slice; at the ends of a scan, and where a slice is given alone, "
        "the slice itself stands for those that are not there"
    )


def blend_text(spec: ModelSpec) -> str:
    """What the probabilities of a scan's slices lend each other before the threshold; "" where nothing."""
    if not spec.blend:
        return ""
    return (
        f"{1 - spec.blend:g} of a slice's probability is its own, {spec.blend / 2:g} that of each slice beside it (its "
        "own at an end, and where it is alone)"
    )


def _stack_text(spec: ModelSpec) -> str:
    if not spec.neighbours:
        return ""
    order = ", ".join(f"{step:+d}" for n in range(1, spec.neighbours + 1) for step in (-n, n))
    return f"; channels are those of the slice, then those of the slices at {order}"


def normalization_text(spec: ModelSpec) -> str:
    """How values become the network's, as a formula."""
    match spec.normalization:
        case "volume-percentile" | "slice-percentile":
            return (
                f"clip((value - black) / (white - black), 0, {BRIGHTEST}); where white is not above black, divided by 1"
            )
        case "imagenet":
            mean, deviation = list(IMAGENET_MEAN), list(IMAGENET_STD)
            return f"((value - black) / (white - black) - mean) / deviation, mean {mean}, deviation {deviation}"
        case "full-range":
            return "(value - black) / (white - black)"


def constants_text(spec: ModelSpec) -> str:
    """Where black and white come from."""
    if spec.normalization in ("imagenet", "full-range"):
        return "0 and 255 for 8 bits, else 0 and the largest value of the scan"
    over = "the whole scan" if spec.normalization == "volume-percentile" else "each slice"
    return f"the {LOW_PERCENTILE}th and {HIGH_PERCENTILE}th percentile of each channel over {over} (inverted_cdf)"


def grid_text(spec: ModelSpec) -> str:
    """How a frame comes onto the network's grid."""
    cut = "cut to the head, " if spec.crop == "head" else ""
    return (
        f"{cut}resized so that the longer side is {spec.image_size} (linear; by area where it shrinks), and padded "
        f"with 0 on both sides to {spec.image_size} x {spec.image_size}; frames of that size are taken as they are"
    )


def _probability_text(spec: ModelSpec) -> str:
    by = f" / {spec.temperature:g}" if spec.temperature != 1 else ""
    if len(spec.classes) == 1:
        return f"sigmoid(logits{by})"
    return f"softmax(logits{by}) over the second axis; its first entry is background"


def _shared(spec: ModelSpec) -> dict[str, str]:
    cleaning = spec.postprocessing.model_dump(exclude_defaults=True)
    return {
        "name": spec.name,
        "channels": ", ".join(spec.channels),
        "classes": ", ".join(spec.classes),
        "blend": blend_text(spec) or "none",
        "threshold": f"{spec.threshold:g}: tumour where the probability is above it",
        "postprocessing": ", ".join(f"{key} {value}" for key, value in cleaning.items()) or "none",
        "data_licence": spec.data_licence or "unknown",
        "use": "research only, not a medical device",
    }
