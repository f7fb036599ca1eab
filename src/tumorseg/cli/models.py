"""`tumorseg models`: the models that come with the package."""

from typing import Annotated

import typer

EXAMPLE = "tumorseg models"


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON for programs.")] = False,
) -> None:
    """List the models that come with tumorseg: what they outline, licence, size, scores, and where they lie.

    --model takes these names, a run, a model folder or a model.json.
    """
    from tumorseg.cli.console import emit, emit_json
    from tumorseg.inference.catalogue import DEFAULT_MODEL
    from tumorseg.inference.installed import installed_models

    found = installed_models()
    if as_json:
        emit_json(
            [
                {
                    "name": model.name,
                    "default": model.path.name == DEFAULT_MODEL,
                    "what": model.what,
                    "licence": model.licence,
                    "bytes": model.bytes,
                    "channels": list(model.channels),
                    "classes": list(model.classes),
                    "training_patients": model.training_patients,
                    "scores": list(model.scores),
                    "scores_from": str(model.card) if model.card else None,
                    "path": str(model.path),
                }
                for model in found
            ]
        )
        return
    for model in found:
        default = " (the default)" if model.path.name == DEFAULT_MODEL else ""
        emit(f"{model.name}{default}: {model.what}")
        emit(f"  licence  {model.licence or 'unknown'}")
        emit(f"  size     {model.size}, trained on {model.training_patients} patients")
        for line in model.score_lines:
            emit(f"  scores   {line}")
        emit(f"  card     {model.card or 'none'}")
        emit(f"  path     {model.path}")
