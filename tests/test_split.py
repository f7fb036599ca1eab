"""Nobody is judged on a patient that was trained on."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorseg.datasets.lgg import read_lgg
from tumorseg.datasets.split import PARTS, Candidate, Split, read_split, split_patients, write_split
from tumorseg.errors import DataError
from tumorseg.recipe import SplitShares

candidates = st.lists(
    st.builds(
        Candidate,
        patient=st.text("ABCDEFGH0123456789_", min_size=1, max_size=12),
        institution=st.sampled_from(["CS", "DU", "EZ", "FG", "HT", ""]),
        tumour_voxels=st.integers(0, 90_000),
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
