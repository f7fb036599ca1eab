"""DICOM-SEG: valid, on the voxels of its source, and read back as it was written."""

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from dicom_files import mr_dataset, save, write_enhanced, write_series
from dicom_seg_peer import errors_of, theirs_of
from tumorseg.errors import FormatError, ShapeMismatch
from tumorseg.formats.dicom import read_stack, read_volume
from tumorseg.formats.dicom_seg import (
    read_labels,
    read_mask_geometry,
    read_segmentation,
    write_mask,
    write_segmentation,
)

VOLUME = np.arange(5 * 16 * 24, dtype=np.int16).reshape(5, 16, 24)
CORONAL_FROM_BELOW = (-1.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def mask_of(shape: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[1, 2:5, 3:9] = 1
    mask[2, 4, 7] = 2
    return mask


def test_a_segmentation_comes_back_on_the_voxels_it_was_drawn_on(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in", VOLUME, orientation=CORONAL_FROM_BELOW, spacing=(0.5, 0.75))
    mask = mask_of(read_volume(paths).pixels.shape[:3])
    path = tmp_path / "x_mask.dcm"
    write_segmentation(path, mask, paths, classes=("core", "oedema"), algorithm="box", version="1.0")
    assert np.array_equal(read_segmentation(path, sorted(paths)), mask)
    assert np.array_equal(read_labels(path), mask[1:3])
    assert errors_of(path) == []


def test_each_marked_voxel_lies_where_the_source_has_it(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in", VOLUME, orientation=CORONAL_FROM_BELOW)
    volume = read_volume(paths)
    mask = np.zeros(volume.pixels.shape[:3], np.uint8)
    mask[3, 10, 20] = 1
    write_mask(tmp_path / "m.dcm", mask, paths)
    written = pydicom.dcmread(tmp_path / "m.dcm")
    (frame,) = written.PerFrameFunctionalGroupsSequence
    shared = written.SharedFunctionalGroupsSequence[0]
    orientation = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    rows, columns = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    ((row, column),) = np.argwhere(written.pixel_array)
    position = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
    world = position + column * columns * orientation[:3] + row * rows * orientation[3:]
    assert volume.geometry is not None
    assert np.allclose(world * [-1, -1, 1], (volume.geometry.affine @ [3, 10, 20, 1])[:3], atol=1e-3)


def test_it_refers_to_its_sources_in_their_study_and_space(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in", VOLUME)
    write_mask(tmp_path / "m.dcm", np.minimum(mask_of(VOLUME.shape), 1), paths)
    written, source = pydicom.dcmread(tmp_path / "m.dcm"), pydicom.dcmread(paths[0])
    assert written.StudyInstanceUID == source.StudyInstanceUID
    assert written.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert written.SeriesInstanceUID != source.SeriesInstanceUID
    assert written.PatientID == source.PatientID and written.Manufacturer == "tumorseg"
    (segment,) = written.SegmentSequence
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "108369006"
    assert segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    referred = {
        item.ReferencedSOPInstanceUID for item in written.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    }
    assert referred == {pydicom.dcmread(path).SOPInstanceUID for path in paths}


def test_a_mask_without_tumour_is_valid_too(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in", VOLUME)
    write_mask(tmp_path / "m.dcm", np.zeros(VOLUME.shape, np.uint8), paths)
    assert np.array_equal(read_segmentation(tmp_path / "m.dcm", paths), np.zeros(VOLUME.shape))
    assert read_labels(tmp_path / "m.dcm").shape == VOLUME.shape
    assert errors_of(tmp_path / "m.dcm") == []


def test_of_one_file_of_many_frames_each_frame_keeps_its_mask(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "x.dcm", VOLUME, [3, 0, 4, 1, 2])
    mask = mask_of(VOLUME.shape)
    write_segmentation(tmp_path / "m.dcm", mask, [path], classes=("core", "oedema"))
    assert np.array_equal(read_segmentation(tmp_path / "m.dcm", [path]), mask)


def test_attributes_that_are_missing_or_invalid_in_the_source_do_no_harm(tmp_path: Path) -> None:
    paths = write_series(
        tmp_path / "in", VOLUME, PatientAge="42", PatientBirthDate=None, StudyID=None, FrameOfReferenceUID=None
    )
    write_mask(tmp_path / "m.dcm", np.minimum(mask_of(VOLUME.shape), 1), paths)
    assert errors_of(tmp_path / "m.dcm") == []
    assert "PatientAge" not in pydicom.dcmread(tmp_path / "m.dcm")


def test_what_cannot_be_a_segmentation_is_refused(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in", VOLUME)
    other = write_series(tmp_path / "other", VOLUME, seed="b")
    mask = np.minimum(mask_of(VOLUME.shape), 1)
    with pytest.raises(ShapeMismatch, match=r"\(1, 2, 3\)"):
        write_mask(tmp_path / "m.dcm", np.zeros((1, 2, 3), np.uint8), paths)
    with pytest.raises(ShapeMismatch, match="1 classes"):
        write_segmentation(tmp_path / "m.dcm", mask * 2, paths)
    lone = save(mr_dataset(VOLUME[0]), tmp_path / "lone.dcm")
    with pytest.raises(FormatError, match="does not say where"):
        write_mask(tmp_path / "m.dcm", mask[:1], [lone])
    assert not (tmp_path / "m.dcm").exists()
    write_mask(tmp_path / "m.dcm", mask, paths)
    with pytest.raises(ShapeMismatch, match="not drawn on the series"):
        read_segmentation(tmp_path / "m.dcm", other)
    with pytest.raises(FormatError, match="no DICOM-SEG"):
        read_segmentation(paths[0], paths)


def test_a_real_series_gets_a_valid_segmentation(scans_real: Path, tmp_path: Path) -> None:
    paths = sorted((scans_real / "dicom" / "T1w").iterdir())
    mask = np.zeros((20, 384, 274), np.uint8)
    mask[4:9, 100:150, 90:120] = 1
    write_mask(tmp_path / "m.dcm", mask, paths)
    assert np.array_equal(read_segmentation(tmp_path / "m.dcm", paths), mask)
    assert errors_of(tmp_path / "m.dcm") == []


def test_an_independent_implementation_reads_the_same_mask(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in", VOLUME, orientation=CORONAL_FROM_BELOW, spacing=(0.5, 0.75))
    stack, _ = read_stack(paths)
    mask = mask_of(stack.shape)
    write_segmentation(tmp_path / "m.dcm", mask, paths, classes=("core", "oedema"))
    read = highdicom.seg.segread(tmp_path / "m.dcm")
    instances = [frame.instance for frame in stack.frames]
    found = read.get_pixels_by_source_instance(instances, combine_segments=True, assert_missing_frames_are_empty=True)
    assert np.array_equal(found, stack.orientation.stored(mask))
    theirs, own, source = read.get_volume_geometry(), read_mask_geometry(tmp_path / "m.dcm"), stack.geometry
    assert theirs is not None and source is not None
    # The file holds the slices 1 and 2 alone.
    assert np.allclose(own.affine @ [0, 4, 7, 1], source.affine @ [1, 4, 7, 1], atol=1e-3)
    assert np.isclose(abs(np.linalg.det(own.affine)), abs(np.linalg.det(theirs.affine)), rtol=1e-4)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
def test_what_others_write_is_read(kind: str, tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in", VOLUME)
    stack, _ = read_stack(paths)
    mask = mask_of(VOLUME.shape)
    stored = np.ascontiguousarray(stack.orientation.stored(mask))
    if kind == "FRACTIONAL":
        stored = np.stack([stored == 1, stored == 2], axis=-1).astype(np.float32)
    path = theirs_of(
        [frame.path for frame in stack.frames], stored, ("core", "oedema"), tmp_path / "theirs.dcm", kind=kind
    )
    assert np.array_equal(read_segmentation(path, paths), mask)
    marked = np.flatnonzero(mask.any(axis=(1, 2)))
    assert np.array_equal(read_labels(path)[: len(marked)], mask[marked[0] : marked[-1] + 1])


def test_without_named_images_it_is_laid_where_it_lies(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in", VOLUME)
    mask = np.minimum(mask_of(VOLUME.shape), 1)
    write_mask(tmp_path / "m.dcm", mask, paths)
    dataset = pydicom.dcmread(tmp_path / "m.dcm")
    for group in dataset.PerFrameFunctionalGroupsSequence:
        del group.DerivationImageSequence
    dataset.save_as(tmp_path / "bare.dcm")
    assert np.array_equal(read_segmentation(tmp_path / "bare.dcm", paths), mask)


def test_segments_that_overlap_and_fractions_are_no_mask(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in", VOLUME)
    ordered = [frame.path for frame in read_stack(paths)[0].frames]
    both = np.zeros((*VOLUME.shape, 2), np.uint8)
    both[1, 2:5, 3:9] = 1
    with pytest.raises(FormatError, match="overlap"):
        read_segmentation(theirs_of(ordered, both, ("core", "oedema"), tmp_path / "o.dcm"), paths)
    halves = np.zeros((*VOLUME.shape, 2), np.float32)
    halves[1, 2, 3, 0] = 0.4
    with pytest.raises(FormatError, match="fractions"):
        read_segmentation(theirs_of(ordered, halves, ("core", "oedema"), tmp_path / "f.dcm", kind="FRACTIONAL"), paths)


def test_slices_worlds_apart_are_no_volume(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in", VOLUME)
    write_mask(tmp_path / "m.dcm", np.minimum(mask_of(VOLUME.shape), 1), paths)
    dataset = pydicom.dcmread(tmp_path / "m.dcm")
    x, y, _ = dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient
    dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient = [x, y, 1e9]
    dataset.save_as(tmp_path / "far.dcm")
    with pytest.raises(FormatError, match="uneven distances"):
        read_labels(tmp_path / "far.dcm")
