"""Nobody is judged on a patient that was trained on."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorseg.datasets.dealing import make_split, split_slices_with_leakage
from tumorseg.datasets.lgg import read_lgg
from tumorseg.datasets.split import PARTS, Candidate, Split, read_split, slice_key, split_patients, write_split
from tumorseg.datasets.store import prepare
from tumorseg.errors import DataError
from tumorseg.recipe import SplitShares

candidates = st.lists(
    st.builds(
        Candidate,
        patient=st.text("ABCDEFGH0123456789_", min_size=1, max_size=12),
        institution=st.sampled_from(["CS", "DU", "EZ", "FG", "HT", ""]),
        tumour_voxels=st.integers(0, 90_000),
        main_class=st.integers(0, 3),
    ),
    min_size=6,
    max_size=60,
    unique_by=lambda candidate: candidate.patient,
)


@settings(deadline=None, max_examples=60)
@given(candidates, st.integers(0, 2**31), st.sampled_from([None, 2, 3, 5]), st.data())
def test_a_patient_never_crosses_parts(
    patients: list[Candidate], seed: int, folds: int | None, data: st.DataObject
) -> None:
    fold = None if folds is None else data.draw(st.integers(0, folds - 1))
    split = split_patients(patients, SplitShares(seed=seed), fold=fold, folds=folds)
    dealt = [patient for part in PARTS for patient in split.patients(part)]
    assert sorted(dealt) == sorted(candidate.patient for candidate in patients)
    assert all(split.patients(part) for part in PARTS)


@settings(deadline=None, max_examples=30)
@given(candidates, st.integers(0, 1000), st.sampled_from([2, 3, 5]))
def test_the_folds_judge_every_patient_once(patients: list[Candidate], seed: int, folds: int) -> None:
    judged: Counter[str] = Counter()
    for fold in range(folds):
        judged.update(split_patients(patients, SplitShares(seed=seed), fold=fold, folds=folds).patients("test"))
    assert judged == Counter(candidate.patient for candidate in patients)


@settings(deadline=None, max_examples=30)
@given(candidates, st.randoms())
def test_the_order_in_which_patients_come_changes_nothing(patients: list[Candidate], random: object) -> None:
    shuffled = sorted(patients, key=lambda candidate: hash((candidate.patient, str(random))))
    assert split_patients(patients, SplitShares()).parts == split_patients(shuffled, SplitShares()).parts


def test_institutions_are_shared_out() -> None:
    patients = [Candidate(f"{site}{n}", site, n * 100) for site in ("CS", "DU", "FG", "HT") for n in range(20)]
    split = split_patients(patients, SplitShares())
    counts = Counter(patient[:2] for patient in split.patients("test"))
    assert set(counts) == {"CS", "DU", "FG", "HT"} and max(counts.values()) - min(counts.values()) <= 1


def test_classes_are_shared_out_better_than_by_chance() -> None:
    patients = [Candidate(f"{n}", "", n * 31 % 97, main_class=n % 3 + 1) for n in range(90)]
    main = {candidate.patient: candidate.main_class for candidate in patients}
    unknown = [replace(candidate, main_class=0) for candidate in patients]

    def spread(dealt: list[Candidate], seed: int) -> int:
        test = split_patients(dealt, SplitShares(seed=seed)).patients("test")
        counts = [sum(main[patient] == value for patient in test) for value in (1, 2, 3)]
        return max(counts) - min(counts)

    seeds = range(12)
    assert sum(spread(patients, seed) for seed in seeds) < 0.75 * sum(spread(unknown, seed) for seed in seeds)


def test_a_split_is_read_as_it_was_written(tmp_path: Path) -> None:
    split = Split({"a": "train", "b": "val", "c": "test"})
    write_split(tmp_path / "split.csv", split)
    assert read_split(tmp_path / "split.csv").parts == split.parts


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("patient,part\na,train\na,test\n", "twice"),
        ("patient,part\na,teach\n", "line 2"),
        ("who,part\na,test\n", "line 2"),
    ],
)
def test_a_damaged_split_is_named(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(DataError, match=named):
        read_split(tmp_path / "split.csv")


@pytest.mark.parametrize(("fold", "folds"), [(0, None), (None, 5), (5, 5), (-1, 5), (0, 1)])
def test_folds_that_are_not_there_are_an_error(fold: int | None, folds: int | None) -> None:
    patients = [Candidate(str(n), "", n) for n in range(20)]
    with pytest.raises(DataError, match="fold"):
        split_patients(patients, SplitShares(), fold=fold, folds=folds)


def test_the_default_split_of_the_real_patients_is_the_committed_one(lgg_real: Path) -> None:
    """Redrawing it after a look at its scores would make every published figure worthless."""
    patients = [
        Candidate(scan.patient, scan.institution, int(scan.reference.sum()))
        for scan in read_lgg(lgg_real)
        if scan.reference is not None
    ]
    split = split_patients(patients, SplitShares())
    assert [len(split.patients(part)) for part in PARTS] == [65, 10, 13]
    assert split.patients("test") == DEFAULT_TEST_PATIENTS


DEFAULT_TEST_PATIENTS = (
    "TCGA_CS_6186",
    "TCGA_DU_5852",
    "TCGA_DU_6400",
    "TCGA_DU_6407",
    "TCGA_DU_7018",
    "TCGA_DU_8163",
    "TCGA_DU_8166",
    "TCGA_EZ_7264",
    "TCGA_FG_6689",
    "TCGA_HT_7882",
    "TCGA_HT_8105",
    "TCGA_HT_8106",
    "TCGA_HT_A616",
)


def test_a_split_of_slices_is_read_as_it_was_written(tmp_path: Path) -> None:
    split = Split({slice_key("a", 1): "train", slice_key("a", 2): "test"}, "slice-with-leakage")
    write_split(tmp_path / "split.csv", split)
    assert (tmp_path / "split.csv").read_text().splitlines() == ["slice,part", "a#1,train", "a#2,test"]
    assert read_split(tmp_path / "split.csv") == split
    with pytest.raises(ValueError, match="slices"):
        split.patients("train")


@settings(deadline=None, max_examples=50)
@given(st.integers(3, 400), st.integers(0, 2**31), st.floats(0.01, 0.45), st.floats(0.01, 0.45))
def test_every_slice_is_dealt_once_in_the_shares_asked_for(
    slices: int, seed: int, test: float, validation: float
) -> None:
    keys = [slice_key("scan", number) for number in range(slices)]
    shares = SplitShares(seed=seed, test=test, validation=validation, unit="slice-with-leakage")
    split = split_slices_with_leakage(keys, shares)
    assert sorted(key for part in PARTS for key in split.keys(part)) == sorted(keys)
    assert all(split.keys(part) for part in PARTS)
    assert abs(len(split.keys("test")) - test * slices) <= 1
    assert abs(len(split.keys("val")) - validation * slices) <= 1
    assert split_slices_with_leakage(keys[::-1], shares) == split


def test_the_deal_of_a_data_set_is_that_of_its_patients(phantom: Path) -> None:
    store = prepare(phantom)
    assert make_split(store, SplitShares()) == split_patients(store.candidates, SplitShares())
    folded = make_split(store, SplitShares(), fold=1, folds=3)
    assert folded == split_patients(store.candidates, SplitShares(), fold=1, folds=3)


def test_a_split_by_slice_leaks_and_folds_of_slices_are_refused(phantom: Path) -> None:
    store = prepare(phantom)
    shares = SplitShares(unit="slice-with-leakage")
    split = make_split(store, shares)
    train, test = (set(store.patients_of(store.rows(split, part))) for part in ("train", "test"))
    assert train & test
    with pytest.raises(DataError, match="slice-with-leakage"):
        make_split(store, shares, fold=0, folds=5)


@pytest.mark.parametrize("unit", ["patient", "slice-with-leakage"])
def test_the_parts_share_out_every_slice_and_scans_hold_their_part_alone(phantom: Path, unit: str) -> None:
    store = prepare(phantom)
    split = make_split(store, SplitShares.model_validate({"unit": unit}))
    rows = {part: store.rows(split, part) for part in PARTS}
    assert sorted(row for part in PARTS for row in rows[part].tolist()) == list(range(len(store.scan_index)))
    if unit == "patient":
        owners = [set(store.patients_of(rows[part])) for part in PARTS]
        assert not (owners[0] & owners[1] or owners[0] & owners[2] or owners[1] & owners[2])
    whole = {scan.id: scan for scan in store.scans}
    for part in PARTS:
        scans = store.scans_of(split, part)
        assert sum(len(scan.slice_numbers) for scan in scans) == len(rows[part])
        for scan in scans:
            numbers = whole[scan.id].slice_numbers
            places = [numbers.index(number) for number in scan.slice_numbers]
            assert (scan.pixels == whole[scan.id].pixels[places]).all()
            assert scan.reference is not None and whole[scan.id].reference is not None
            assert (scan.reference == whole[scan.id].reference[places]).all()
            assert [path.stem.rpartition("_")[2] for path in scan.sources] == list(map(str, scan.slice_numbers))
