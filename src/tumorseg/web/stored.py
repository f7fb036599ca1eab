"""What is kept of a segmented scan: its numbers, and arrays that are read without anybody's decoder."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tumorseg.scan import Caution, Geometry, Mask, Scan

RECORD = "record.json"
IMAGE, PROBABILITY, REFERENCE = "image.u8", "probability.u8", "reference.u8"
FINE, MASK, EDIT = "probability.npy", "mask.npy", "edit.npy"
VOLUMES = {"image": IMAGE, "probability": PROBABILITY, "reference": REFERENCE, "mask": MASK, "edit": EDIT}


@dataclass(frozen=True)
class StoredScan:
    """One segmented scan of a job.

    Attributes:
        folder: with the files above in it.
        record: what `write_record` kept.
    """

    folder: Path
    record: Mapping[str, Any]

    @classmethod
    def open(cls, folder: Path) -> "StoredScan":
        """Read the record."""
        return cls(folder, json.loads((folder / RECORD).read_text(encoding="utf-8")))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slices, height, width)."""
        slices, height, width = self.record["shape"]
        return slices, height, width

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the mask's values 1…K."""
        return tuple(self.record["classes"])

    @property
    def cautions(self) -> "tuple[Caution, ...]":
        """What to know before its mask is used."""
        from tumorseg.scan import Caution

        return tuple(Caution(**warning) for warning in self.record["warnings"])

    @property
    def sources(self) -> tuple[Path, ...]:
        """Its image files."""
        return tuple(Path(path) for path in self.record["sources"])

    @property
    def geometry(self) -> "Geometry | None":
        """Where its voxels lie."""
        from tumorseg.scan import Geometry

        affine = self.record["affine"]
        if affine is None:
            return None
        import numpy as np

        return Geometry(np.array(affine, np.float64), self.record["frame_of_reference"])

    @property
    def spacing(self) -> tuple[float, float, float] | None:
        """Millimetres between slices, rows and columns."""
        found = self.record["spacing"]
        return None if found is None else (found[0], found[1], found[2])

    def mask(self, *, threshold: float | None = None, edited: bool = False) -> "Mask":
        """The model's mask, the one of another threshold, or the one that a person corrected, where there is one."""
        import numpy as np

        if edited and (self.folder / EDIT).is_file():
            corrected: Mask = np.load(self.folder / EDIT)
            return corrected
        if threshold is None or threshold == self.record["threshold"]:
            mask: Mask = np.load(self.folder / MASK)
            return mask
        from tumorseg.postprocess import postprocess
        from tumorseg.recipe import Cleaning

        probability = np.load(self.folder / FINE, mmap_mode="r")
        cleaning = Cleaning.model_validate(self.record["postprocessing"])
        return postprocess(probability, threshold=threshold, cleaning=cleaning)

    def shown(self) -> Any:
        """The scan as the page shows it, (slices, height, width, channels) uint8."""
        import numpy as np

        return np.memmap(self.folder / IMAGE, np.uint8, "r", shape=(*self.shape, len(self.record["channels"])))

    def reference(self) -> "Mask | None":
        """(slices, height, width) uint8; None where none was given."""
        import numpy as np

        path = self.folder / REFERENCE
        return np.memmap(path, np.uint8, "r", shape=self.shape) if path.is_file() else None

    def scan(self) -> "Scan":
        """The scan, with pixels as they are shown; its files are where they were."""
        from tumorseg.scan import Scan

        return Scan(
            id=self.record["id"],
            patient=self.record["id"],
            channels=tuple(self.record["channels"]),
            read_pixels=self.shown,
            slice_numbers=tuple(self.record["slice_numbers"]),
            sources=self.sources,
            spacing=self.spacing,
            geometry=self.geometry,
        )


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Keep the record of a scan."""
    with replaced(folder / RECORD) as file:
        file.write(json.dumps(finite(record)).encode())


def write_raw(path: Path, array: Any) -> None:
    """Write an array's bytes in C order; slice by slice, so that it need not be in memory."""
    import numpy as np

    with replaced(path) as file:
        for part in array:
            file.write(np.ascontiguousarray(part).tobytes())


def write_array(path: Path, array: Any) -> None:
    """Write an array as .npy."""
    import numpy as np

    with replaced(path) as file:
        np.save(file, array, allow_pickle=False)


@contextmanager
def replaced(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name when it is whole.

    Nothing of a session outlives a power cut, so that the flush of `atomic_write` would only cost time.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with open(partial, "wb") as file:
            yield file
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def finite(value: Any) -> Any:
    """A value for JSON: numbers without a value become null."""
    if isinstance(value, Mapping):
        return {str(key): finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
