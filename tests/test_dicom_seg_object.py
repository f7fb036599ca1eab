"""What a DICOM-SEG says, element by element as highdicom says it, and what `dciodvfy` makes of it."""

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRBigEndian

from dicom_files import write_enhanced, write_series
from dicom_seg_peer import errors_of, theirs_of
from tumorseg.formats.dicom import read_stack, read_volume
from tumorseg.formats.dicom_seg import read_mask_geometry, read_segmentation, write_segmentation
from tumorseg.formats.dicom_seg_object import packed

VOLUME = np.arange(5 * 7 * 9, dtype=np.int16).reshape(5, 7, 9)
ORDER = [3, 0, 4, 1, 2]
CHOSEN = {
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "DimensionOrganizationUID",
    "InstanceCreationDate",
    "InstanceCreationTime",
    "ContentDate",
    "ContentTime",
}
"""New in every object, wherever they stand but in a reference."""

CASES = {
    "one slice": (1, ("tumour",), {0: 1}),
    "one of five slices": (5, ("tumour",), {2: 1}),
    "all slices": (5, ("tumour",), dict.fromkeys(range(5), 1)),
    "no tumour": (5, ("tumour",), {}),
    "two classes": (5, ("core", "oedema"), {1: 1, 2: 2, 4: 1}),
    "a class that is nowhere": (5, ("core", "oedema", "necrosis"), {1: 1, 2: 3}),
    "no tumour of two classes": (5, ("core", "oedema"), {}),
}


def mask_of(slices: int, marked: dict[int, int]) -> np.ndarray:
    mask = np.zeros((slices, *VOLUME.shape[1:]), np.uint8)
    for index, number in marked.items():
        mask[index, 1 + index : 6, 2:8] = number
    return mask


def elements(dataset: Dataset, ahead: str = "") -> dict[str, object]:
    """Every element by its path, but for those that are chosen anew."""
    found: dict[str, object] = {}
    for element in dataset:
        name = f"{ahead}{element.keyword}"
        if element.VR == "SQ":
            found[name] = len(element.value)
            for index, item in enumerate(element.value):
                found |= elements(item, f"{name}[{index}].")
        elif element.keyword not in CHOSEN or "Referenced" in ahead:
            found[name] = element.value
    return found


def without_own_mark(theirs: Dataset) -> Dataset:
    """highdicom names itself as the last of those that contributed, and pads with another byte."""
    assert theirs.ContributingEquipmentSequence[-1].ManufacturerModelName == "highdicom"
    theirs.ContributingEquipmentSequence = theirs.ContributingEquipmentSequence[:-1]
    bits = int(theirs.NumberOfFrames) * int(theirs.Rows) * int(theirs.Columns)
    theirs.PixelData = theirs.PixelData[: -(-bits // 8)].ljust(len(theirs.PixelData), b"\0")
    return theirs


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("many_frames", [False, True])
def test_every_element_is_what_highdicom_writes(case: str, many_frames: bool, tmp_path: Path) -> None:
    slices, classes, marked = CASES[case]
    if many_frames:
        order = list(range(slices)) if len(classes) == 1 else [place for place in ORDER if place < slices]
        paths = [write_enhanced(tmp_path / "x.dcm", VOLUME[:slices], order)]
    else:
        paths = write_series(tmp_path / "in", VOLUME[:slices], spacing=(0.5, 0.75), ManufacturerModelName="Scanner")
    mask, path = mask_of(slices, marked), tmp_path / "ours.dcm"
    write_segmentation(path, mask, paths, classes=classes, algorithm="box", version="1.0")
    stack, _ = read_stack(paths)
    stored = np.ascontiguousarray(stack.orientation.stored(mask))
    if many_frames:
        stored = stored[np.argsort([frame.index for frame in stack.frames])]
    ordered = paths if many_frames else [frame.path for frame in stack.frames]
    ours = pydicom.dcmread(path)
    theirs = pydicom.dcmread(
        theirs_of(ordered, stored, classes, tmp_path / "theirs.dcm", software=ours.SoftwareVersions)
    )
    own, other = elements(ours), elements(without_own_mark(theirs))
    assert own == other
    assert [each.VR for each in ours] == [each.VR for each in theirs]
    assert np.array_equal(read_segmentation(path, paths), mask)
    assert errors_of(path) == []


@pytest.mark.parametrize("many_frames", [False, True])
def test_highdicom_reads_the_mask_of_frames_that_end_within_a_byte(many_frames: bool, tmp_path: Path) -> None:
    if many_frames:
        paths = [write_enhanced(tmp_path / "x.dcm", VOLUME, ORDER)]
    else:
        paths = write_series(tmp_path / "in", VOLUME)
    mask = np.random.default_rng(0).integers(0, 3, VOLUME.shape).astype(np.uint8)
    write_segmentation(tmp_path / "m.dcm", mask, paths, classes=("core", "oedema"))
    stack, _ = read_stack(paths)
    found = highdicom.seg.segread(tmp_path / "m.dcm")
    if many_frames:
        numbers = [frame.index + 1 for frame in stack.frames]
        read = found.get_pixels_by_source_frame(stack.frames[0].instance, numbers, combine_segments=True)
    else:
        read = found.get_pixels_by_source_instance([frame.instance for frame in stack.frames], combine_segments=True)
    assert np.array_equal(read, stack.orientation.stored(mask))
    assert np.array_equal(read_segmentation(tmp_path / "m.dcm", paths), mask)


def test_bits_are_packed_across_frames_from_the_lowest() -> None:
    first, second = np.zeros((1, 3), np.bool_), np.ones((2, 3), np.bool_)
    first[0, 0] = True
    assert packed([first, second]) == bytes([0b11111001, 0b00000001])
    assert packed([first]) == bytes([1, 0])


def test_a_lone_slice_is_as_thick_as_its_source(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in", VOLUME[:1])
    source = pydicom.dcmread(paths[0])
    source.SliceThickness = 5.0
    source.save_as(paths[0])
    write_segmentation(tmp_path / "m.dcm", mask_of(1, {0: 1}), paths)
    expected = read_volume(paths).geometry
    assert expected is not None
    assert np.allclose(read_mask_geometry(tmp_path / "m.dcm").affine, expected.affine)


def test_slices_without_a_thickness_get_their_distance(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in", VOLUME)
    for path in paths:
        source = pydicom.dcmread(path)
        del source.SliceThickness
        source.save_as(path)
    write_segmentation(tmp_path / "m.dcm", mask_of(5, {1: 1}), paths)
    shared = pydicom.dcmread(tmp_path / "m.dcm").SharedFunctionalGroupsSequence[0]
    assert shared.PixelMeasuresSequence[0].SliceThickness == 3
    assert errors_of(tmp_path / "m.dcm") == []


def test_a_distance_that_the_slices_contradict_is_not_repeated(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in", VOLUME, SpacingBetweenSlices=2.0)
    write_segmentation(tmp_path / "m.dcm", mask_of(5, {1: 1, 3: 1}), paths)
    shared = pydicom.dcmread(tmp_path / "m.dcm").SharedFunctionalGroupsSequence[0]
    assert shared.PixelMeasuresSequence[0].SpacingBetweenSlices == 3


def test_names_beyond_ascii_are_written_so_that_they_can_be_read(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in", VOLUME)
    write_segmentation(tmp_path / "m.dcm", mask_of(5, {1: 1}), paths, classes=("Ödem",))
    assert pydicom.dcmread(tmp_path / "m.dcm").SegmentSequence[0].SegmentLabel == "Ödem"


def test_the_patient_of_a_source_in_another_encoding_is_copied_whole(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in", VOLUME, SpecificCharacterSet="ISO_IR 100", PatientName="Müller^J")
    for path in paths:
        source = pydicom.dcmread(path)
        code, photo = Dataset(), Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "99X", "Schädel"
        source.ProcedureCodeSequence, source.PregnancyStatus = [code], 4
        photo.ReferencedFrameNumber, photo.TypeOfInstances = 3, "DICOM"
        photo.Rows = 258  # two bytes of which the order matters
        source.ReferencedPatientPhotoSequence = [photo]
        source.PixelData = np.frombuffer(source.PixelData, "<i2").byteswap().tobytes()
        source.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        pydicom.dcmwrite(path, source, implicit_vr=False, little_endian=False)
    write_segmentation(tmp_path / "m.dcm", mask_of(5, {1: 1}), paths)
    written = pydicom.dcmread(tmp_path / "m.dcm")
    assert (str(written.PatientName), written.PregnancyStatus) == ("Müller^J", 4)
    assert written.ProcedureCodeSequence[0].CodeMeaning == "Schädel"
    assert written.ReferencedPatientPhotoSequence[0].Rows == 258
