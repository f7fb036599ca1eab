"""A study in an archive, segmented: pulled, outlined, and the outline stored beside it as DICOM-SEG."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tumorseg.dicomweb.archive import Archive, Limits, StudySeries
from tumorseg.dicomweb.attributes import is_uid
from tumorseg.dicomweb.choice import choose_series
from tumorseg.dicomweb.stored import Derivation, StoredSegmentation, find_stored
from tumorseg.errors import DataError
from tumorseg.files import atomic_folder, refuse_existing
from tumorseg.formats.dicom_file import read_dataset
from tumorseg.formats.dicom_seg import write_segmentation
from tumorseg.inference.inputs import InputScan, find_inputs
from tumorseg.inference.loading import load
from tumorseg.inference.measure import measure_slices
from tumorseg.inference.model import ModelSpec
from tumorseg.inference.predictor import Predictor
from tumorseg.inference.sequence_choice import NO_CHOICE, SequenceChoice, parse_choice
from tumorseg.inference.summary import Outcome, Result, summary_rows
from tumorseg.progress import Progress, silent
from tumorseg.scan import Segmentation

MASK_NAME = "mask.dcm"


@dataclass(frozen=True)
class StudyAnswer:
    """What became of a study.

    Attributes:
        study: its StudyInstanceUID.
        sources: the series that were looked at, by the names of their sequences.
        segmentation: the DICOM-SEG, in the archive or not.
        stored: whether it was stored there now.
        kept: whether it was there already.
        measurements: named numbers about the mask, such as tumour_ml; None where nothing was computed.
        warnings: one line each, for the person who reads the mask.
    """

    study: str
    sources: Mapping[str, str]
    segmentation: StoredSegmentation
    stored: bool = False
    kept: bool = False
    measurements: Mapping[str, float] | None = None
    warnings: tuple[str, ...] = ()


def list_series(archive: Archive, study: str) -> tuple[StudySeries, ...]:
    """The series of a study.

    Raises:
        DataError: `study` is no UID.
        ServerError: there is no such study, or the server does not say.
    """
    if not is_uid(study):
        raise DataError(f"--study {study} is no DICOM UID", next_step="give the StudyInstanceUID, such as 1.2.840.1")
    return archive.series(study)


def segment_study(
    archive: Archive,
    predictor: Predictor,
    study: str,
    *,
    series: str | None = None,
    channels: Sequence[str] = (),
    output: Path | None = None,
    store: bool = True,
    again: bool = False,
    limits: Limits | None = None,
    progress: Progress = silent,
) -> StudyAnswer:
    """Pull the MR series of a study, segment them as one scan, and store the mask in the study as DICOM-SEG.

    The images lie in a private temporary folder and are gone when this returns. Where the archive has the mask of the
    same model, the same series and the same images already, nothing is stored, nor, without `output`, computed.

    Args:
        archive: where the study is.
        predictor: of the model.
        study: its StudyInstanceUID.
        series, channels: which series is which sequence; see `choose_series`.
        output: a new or empty folder that takes the mask and its summary as well; it has the mask drawn in any case.
        store: whether the mask goes back into the archive.
        again: store it even if it is there already.
        limits: what is taken from the archive at most.
        progress: told of files and scans.

    Raises:
        DataError: the study has no series that fit, or they cannot be segmented.
        ServerError: the archive cannot be reached, or does not do its part.
        OutputError: the folder is in use, or cannot be written.
    """
    if output is not None:
        refuse_existing(output)
    found = list_series(archive, study)
    chosen = choose_series(found, predictor.spec.channels, series=series, channels=channels)
    grid = next(iter(chosen.values()))
    sources = {name: one.uid for name, one in chosen.items()}
    derivation = Derivation.of(predictor.spec, chosen)
    there = find_stored(archive, study, found, grid, derivation) if store and not again else None
    if there is not None and output is None:
        return StudyAnswer(study, sources, there, kept=True)
    with tempfile.TemporaryDirectory(prefix="tumorseg-") as name:
        folder, mask = Path(name), Path(name) / MASK_NAME
        entry, choice = _pull(archive, study, chosen, folder, by_name=bool(channels), limits=limits, progress=progress)
        segmentation = _segment(entry, choice, predictor, folder)
        write_segmentation(
            mask,
            segmentation.mask,
            entry.sequences[0][1] if entry.sequences else entry.sources,
            classes=predictor.spec.classes,
            algorithm=derivation.algorithm,
            version=derivation.version,
        )
        answer = StudyAnswer(
            study,
            sources,
            there or _uids_of(mask),
            stored=store and there is None,
            kept=there is not None,
            measurements=dict(segmentation.measurements),
            warnings=segmentation.warnings,
        )
        if output is not None:
            _write_output(output, mask, segmentation, answer, predictor.spec)
        if answer.stored:
            archive.store(study, mask)
    return answer


def _pull(
    archive: Archive,
    study: str,
    chosen: Mapping[str, StudySeries],
    folder: Path,
    *,
    by_name: bool,
    limits: Limits | None,
    progress: Progress,
) -> tuple[InputScan, SequenceChoice]:
    """Pull each series into a folder named after its sequence, and find the one scan that they are."""
    for name, series in chosen.items():
        (folder / name).mkdir()
        archive.retrieve(study, series, folder / name, limits=limits or Limits(), progress=progress)
    choice = parse_choice([f"{name}={folder / name}" for name in chosen]) if by_name else NO_CHOICE
    listing = find_inputs([] if by_name else [folder / name for name in chosen], choice=choice)
    if len(listing.scans) != 1:
        raise DataError(f"the series are {len(listing.scans)} scans", next_step="name others")
    return listing.scans[0], choice


def _segment(entry: InputScan, choice: SequenceChoice, predictor: Predictor, folder: Path) -> Segmentation:
    """The scan's segmentation, with what there was to say about its files."""

    def named(text: str) -> str:
        return text.replace(f"{folder}/", "")

    loaded = load(entry, choice=choice, wanted=predictor.spec.channels, named=named)
    if loaded.scan is None:
        raise DataError(loaded.failures[0].reason)
    try:
        segmentation = predictor.segment(loaded.scan)
    except DataError as error:
        raise DataError(named(error.what), next_step=error.next_step) from error
    return replace(segmentation, warnings=(*loaded.warnings, *segmentation.warnings))


def _write_output(output: Path, mask: Path, segmentation: Segmentation, answer: StudyAnswer, spec: ModelSpec) -> None:
    """A copy of the mask, and the summary that `segment` writes beside masks."""
    result = Result(
        id=answer.study,
        status="segmented",
        sources=tuple(Path(name) / series for name, series in answer.sources.items()),
        masks=(Path(MASK_NAME),),
        slices=measure_slices(segmentation.mask, spacing=segmentation.scan.spacing),
        measurements=segmentation.measurements,
        warnings=segmentation.warnings,
    )
    outcome = Outcome()
    outcome.count(result)
    with atomic_folder(output) as temporary, summary_rows() as rows:
        rows.add(result)
        shutil.copyfile(mask, temporary / MASK_NAME)
        rows.write(temporary, outcome, spec)


def _uids_of(mask: Path) -> StoredSegmentation:
    dataset = read_dataset(mask, pixels=False)
    return StoredSegmentation(str(dataset.SeriesInstanceUID), str(dataset.SOPInstanceUID))
