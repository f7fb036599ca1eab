"""The models that come with the package, and what a person means who names one."""

from importlib import resources
from pathlib import Path

from tumorseg.errors import ModelError

SPEC_NAME = "model.json"
DEFAULT_MODEL = "lgg"
"""What segments where no model is named."""


def models_folder() -> Path:
    """Where the models that come with the package lie, one folder each."""
    return Path(str(resources.files("tumorseg"))) / "models"


def model_names() -> tuple[str, ...]:
    """The models that come with the package, by name."""
    folder = models_folder()
    if not folder.is_dir():
        return ()
    return tuple(sorted(entry.name for entry in folder.iterdir() if (entry / SPEC_NAME).is_file()))


def default_model() -> Path:
    """The folder of the model that segments where none is named.

    Raises:
        ModelError: this installation lacks it.
    """
    folder = models_folder() / DEFAULT_MODEL
    if not (folder / SPEC_NAME).is_file():
        raise ModelError(
            f"this installation of tumorseg lacks the model '{DEFAULT_MODEL}'",
            next_step="install tumorseg again, or name a model with --model",
        )
    return folder


def find_model(name_or_path: str | Path) -> Path:
    """Where the model lies that a person names: an installed model's name, a run, a model folder or a model.json.

    A model that lies at the path comes before an installed one of that name, so that a data set in a folder "lgg"
    does not hide the model.

    Raises:
        ModelError: there is neither.
    """
    path = Path(name_or_path)
    named = str(name_or_path) in model_names()
    try:
        holds_one = path.is_file() or any((path / part / SPEC_NAME).is_file() for part in ("", "model"))
        there = path.exists()
    except OSError as error:
        raise ModelError(f"model {path} cannot be read: {error.strerror}", next_step="check the path") from error
    if named and not holds_one:
        return models_folder() / str(name_or_path)
    if not there:
        raise ModelError(
            f"model {path} does not exist",
            next_step=f"give a run folder, its model folder, a model.json, or one of: {', '.join(model_names())}",
        )
    return path
