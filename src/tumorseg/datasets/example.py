"""The example that `tumorseg demo` segments: one synthetic patient, drawn afresh and always the same."""

from pathlib import Path

from tumorseg.datasets.phantom import write_phantom

SEED, SLICES = 25, 12
"""One head whose lesion is plain to see; tests hold that the model in the box finds it."""


def write_example(folder: Path) -> Path:
    """Write the example as `folder`/kaggle_3m in the layout of the LGG set, with its reference masks.

    Returns:
        The patient's folder.

    Raises:
        OutputError: it is there already, or cannot be written.
    """
    data = write_phantom(folder, patients=1, slices=SLICES, seed=SEED)
    (patient,) = (entry for entry in data.iterdir() if entry.is_dir())
    return patient
