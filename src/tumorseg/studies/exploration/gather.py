"""Everything an exploration says, gathered from the prepared data in one pass, a scan at a time."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tumorseg.datasets.prepared import Store, StoredScan
from tumorseg.progress import Progress, silent
from tumorseg.studies.exploration.clinical import Clinical, read_clinical_table
from tumorseg.studies.exploration.dealt import Dealt, deal
from tumorseg.studies.exploration.intensity import brightness, head_of, stand_ins
from tumorseg.studies.exploration.planes import PLANES, plane_of
from tumorseg.studies.exploration.rows import IntensityRow, PatientRow, SliceRow
from tumorseg.studies.exploration.samples import Sample, choose_samples
from tumorseg.studies.exploration.whereabouts import HeatMap, Whereabouts

_LEAST_SLICES = 5
"""Of a volume, for its slices to have a place along the axis that is worth a number."""

Spacing = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Exploration:
    """What is in a data set.

    Attributes:
        name, kind, channels, classes, warnings: see `DataSet`.
        frames: slices of each size, channels and type, such as "256 x 256 x 3 uint8".
        patients: sorted by name.
        slices: scan by scan, in their order.
        intensities: scan by scan, sequence by sequence.
        heat_maps: one for each class that occurs, and each plane where planes are told apart.
        dealt: the default recipe's split.
        clinical: the table of the LGG set; None for other layouts.
        samples: slices worth a picture.
    """

    name: str
    kind: str
    channels: tuple[str, ...]
    classes: tuple[str, ...]
    warnings: tuple[str, ...]
    frames: Mapping[str, int]
    patients: tuple[PatientRow, ...]
    slices: tuple[SliceRow, ...]
    intensities: tuple[IntensityRow, ...]
    heat_maps: tuple[HeatMap, ...]
    dealt: Dealt
    clinical: Clinical | None
    samples: tuple[Sample, ...]

    @property
    def scans(self) -> int:
        """How many."""
        return sum(row.scans for row in self.patients)

    @property
    def tumour_slices(self) -> int:
        """Slices that show a tumour of any class."""
        return sum(row.tumour_slices for row in self.patients)

    @property
    def has_volumes(self) -> bool:
        """Whether any scan has several slices."""
        return len(self.slices) > self.scans

    @property
    def has_spacing(self) -> bool:
        """Whether every scan tells its spacing."""
        return all(row.tumour_ml is not None for row in self.patients)

    @property
    def eight_bits(self) -> bool:
        """Whether every image is 8-bit, so that values of different scans share a scale."""
        return all(frame.endswith(" uint8") for frame in self.frames)


def gather(store: Store, folder: Path, *, progress: Progress = silent) -> Exploration:
    """Go through a prepared data set once; no more than one scan is in memory.

    Args:
        store: the prepared data.
        folder: what it was prepared from; the clinical table of the LGG set lies there.
        progress: watches the scans go by.
    """
    spacings = {scan.id: scan.spacing for scan in store.scans}
    channels = store.channels or tuple(f"channel {index + 1}" for index in range(store.stored[0].shape[-1]))
    told = store.kind == "figshare"  # a published set of single slices in three planes, none of them recorded
    whereabouts = Whereabouts(store.classes, PLANES if told else ())
    slices: list[SliceRow] = []
    intensities: list[IntensityRow] = []
    missing: dict[str, set[str]] = defaultdict(set)
    for entry in progress.track(store.stored, what="Exploring scans"):
        rows = slice(entry.first, entry.first + entry.shape[0])
        pixels, masks, box = store.pixels(entry), store.masks(entry), store.box(entry)
        counted = (store.histograms[rows], store.levels(entry))
        head = head_of(pixels, box, *counted)
        found = brightness(pixels, masks, head, *counted)
        for name, one in zip(channels, found, strict=True):
            intensities.append(
                IntensityRow(
                    **asdict(one),
                    scan=entry.id,
                    patient=entry.patient,
                    institution=entry.institution,
                    sequence=name,
                )
            )
        missing[entry.patient].update(stand_ins(pixels, channels))
        sizes = store.tumour_pixels[rows]
        shown = channels.index("flair") if "flair" in channels else 0
        largest = int(sizes.argmax())
        plane = plane_of(pixels[largest, ..., shown]) if told else ""
        whereabouts.add(
            entry.patient, pixels[..., shown], masks, box, largest=largest, white=found[shown].high, plane=plane
        )
        slices += _slice_rows(store, entry, np.count_nonzero(head, axis=(1, 2)).tolist(), spacings[entry.id], plane)
    patients = _patient_rows(store, missing, spacings)
    return Exploration(
        name=store.name,
        kind=store.kind,
        channels=channels,
        classes=store.classes,
        warnings=store.warnings,
        frames=_frames(store),
        patients=patients,
        slices=tuple(slices),
        intensities=tuple(intensities),
        heat_maps=whereabouts.maps(),
        dealt=deal(store, patients),
        clinical=read_clinical_table(folder, [row.patient for row in patients]) if store.kind == "lgg" else None,
        samples=choose_samples(store, patients),
    )


def _slice_rows(
    store: Store, entry: StoredScan, heads: Sequence[int], spacing: Spacing | None, plane: str
) -> list[SliceRow]:
    count, height, width, _ = entry.shape
    rows = []
    for index in range(count):
        row = entry.first + index
        pixels = int(store.tumour_pixels[row])
        rows.append(
            SliceRow(
                scan=entry.id,
                patient=entry.patient,
                institution=entry.institution,
                number=entry.slice_numbers[index],
                position=(index + 0.5) / count if count >= _LEAST_SLICES else float("nan"),
                height=height,
                width=width,
                head_pixels=heads[index],
                tumour_pixels=pixels,
                class_pixels=tuple(store.class_pixels[row].tolist()),
                tumour_mm2=None if spacing is None else pixels * spacing[1] * spacing[2],
                plane=plane,
            )
        )
    return rows


def _patient_rows(
    store: Store, missing: Mapping[str, set[str]], spacings: Mapping[str, Spacing | None]
) -> tuple[PatientRow, ...]:
    owned: dict[str, list[StoredScan]] = defaultdict(list)
    for entry in store.stored:
        owned[entry.patient].append(entry)
    rows = []
    for patient, entries in sorted(owned.items()):
        tables = [slice(entry.first, entry.first + entry.shape[0]) for entry in entries]
        shown = np.concatenate([store.class_pixels[table] for table in tables]) > 0
        by_class = np.count_nonzero(shown, axis=0)
        voxels = [int(store.tumour_pixels[table].sum()) for table in tables]
        sizes = [spacings[entry.id] for entry in entries]
        known = [float(np.prod(size)) for size in sizes if size is not None]
        rows.append(
            PatientRow(
                patient=patient,
                institution=entries[0].institution,
                scans=len(entries),
                slices=len(shown),
                tumour_slices=int(shown.any(axis=1).sum()),
                tumour_voxels=sum(voxels),
                class_slices=tuple(by_class.tolist()),
                main_class=1 + int(by_class.argmax()) if by_class.any() else 0,
                tumour_ml=sum(n * mm3 for n, mm3 in zip(voxels, known, strict=True)) / 1000
                if len(known) == len(entries)
                else None,
                stand_ins=tuple(name for name in store.channels if name in missing[patient]),
            )
        )
    return tuple(rows)


def _frames(store: Store) -> Mapping[str, int]:
    counts: Counter[str] = Counter()
    for entry in store.stored:
        slices, height, width, channels = entry.shape
        counts[f"{width} x {height} x {channels} {entry.dtype}"] += slices
    return dict(counts.most_common())
