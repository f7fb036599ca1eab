"""What the tests share: real scans where they are, a small synthetic data set, a cache of their own."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tumorseg.datasets.phantom import write_phantom

# A slow machine is no failure: how long one example takes is nothing that these tests promise.
settings.register_profile("tumorseg", deadline=None)
settings.load_profile("tumorseg")

# A job in the background of a script ignores Ctrl-C from its birth, and so would every command that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


SHARED = ("cache", "lgg", "figshare", "phantom", "scans")
"""What the folders of fixtures that all modules share begin with."""


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Prepared data of the tests lies in a temporary folder, never in the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUMORSEG_CACHE", str(folder))
        patch.setenv("NO_COLOR", "1")
        yield folder


@pytest.fixture(scope="module", autouse=True)
def disk_given_back(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a module's own fixtures wrote goes with the module, unless a test of it failed: runs take gigabytes."""
    base, failed = tmp_path_factory.getbasetemp(), request.session.testsfailed
    before = set(base.iterdir())
    yield
    if request.session.testsfailed == failed:
        for folder in set(base.iterdir()) - before:
            if folder.is_dir() and not folder.is_symlink() and not folder.name.startswith(SHARED):
                shutil.rmtree(folder, ignore_errors=True)


def restored(name: str, folder: Path, *options: str) -> Path:
    """A published data set, as far as it is here; the test is skipped where it is not."""
    packed = os.environ.get("TUMORSEG_TEST_DATA")
    if not packed:
        pytest.skip("TUMORSEG_TEST_DATA names no folder with real scans")
    restore = Path(packed) / "restore.py"
    if not restore.is_file():
        pytest.fail(f"TUMORSEG_TEST_DATA={packed}, where there is no restore.py")
    subprocess.run([sys.executable, str(restore), name, str(folder), *options], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def lgg_real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder kaggle_3m of the published LGG set, as far as it is here."""
    return restored("lgg", tmp_path_factory.mktemp("lgg")) / "kaggle_3m"


@pytest.fixture(scope="session")
def figshare_real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 400 slices of the published figshare set that are here."""
    return restored("figshare", tmp_path_factory.mktemp("figshare"), "--slices", "400")


@pytest.fixture(scope="session")
def scans_real() -> Path:
    """A folder with real NIfTI and DICOM scans under nifti/ and dicom/; read only."""
    packed = os.environ.get("TUMORSEG_TEST_DATA")
    if not packed or not (Path(packed) / "nifti").is_dir():
        pytest.skip("TUMORSEG_TEST_DATA names no folder with real NIfTI and DICOM scans")
    return Path(packed)


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic data set of eight patients in the published layout; read only."""
    folder = tmp_path_factory.mktemp("phantom")
    write_phantom(folder, patients=8, slices=8, seed=7)
    return folder / "kaggle_3m"
