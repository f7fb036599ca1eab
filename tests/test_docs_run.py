"""The commands of each page, run in their order as printed, where the data sets they name lie.

Trainings run the recipe that the command names, shrunk to a small grid and one epoch; verbs that train many times, and
those that need a network, are only parsed (`test_docs.py`), since their own tests run them.
"""

import re
import shlex
import shutil
import zipfile
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

import tumorseg.training.fit as fit
from matlab_files import write_set
from small_recipe import shrunk
from tumorseg.cli.app import run
from tumorseg.cli.arguments import expand
from tumorseg.datasets.phantom import write_phantom
from tumorseg.recipe import Recipe
from tumorseg.recipe_file import load_recipe

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"```(sh|bash|console|yaml)\n(.*?)```", re.DOTALL)

ELSEWHERE = re.compile(r"tumorseg (demo|compare|crossval|robustness|audit-leakage|export|data fetch|serve|dicomweb)\b")
"""What its own tests run: it trains or predicts many times, needs a network, or a model worth exporting; what serves,
and asks servers, is run by `test_docs_serve.py`."""

NOT_HERE = ("dicom-folder", "study", "other-data", "new-scans", "their-masks")
"""What a reader brings, and the room's own tests make."""

PATIENT = "TCGA_CS_4941_19960909"


def steps(page: Path) -> list[str]:
    """The page's commands, and `yaml:…` for a recipe file that it shows, in their order."""
    found = []
    for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "yaml":
            found += [f"yaml:{text}"] if text.startswith("base:") else []
            continue
        lines = text.replace("\\\n", " ").splitlines()
        parts = [part.strip().removeprefix("$ ") for line in lines for part in line.split("&&")]
        found += [part for part in parts if part.startswith("tumorseg ") and not ELSEWHERE.match(part)]
    return found


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every data set and run that a page may name, each as small as it can be."""
    folder = tmp_path_factory.mktemp("places")
    write_phantom(folder / "drawn", patients=6, slices=5, seed=3)
    drawn = folder / "drawn" / "kaggle_3m"
    first = next(path for path in sorted(drawn.iterdir()) if "_CS_" in path.name)
    for file in first.iterdir():
        file.rename(file.with_name(file.name.replace(first.name, PATIENT)))
    first.rename(drawn / PATIENT)
    shutil.copytree(drawn, folder / "kaggle_3m")
    shutil.copytree(drawn, folder / "lgg" / "kaggle_3m")
    for mask in drawn.glob("*/*_mask.tif"):  # what some other tool has drawn
        (folder / "masks" / mask.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(mask, folder / "masks" / mask.parent.name)
    shutil.rmtree(folder / "drawn")
    write_set(folder / "figshare")
    with zipfile.ZipFile(folder / "brainTumorDataPublic_1-766.zip", "w") as archive:
        for file in sorted((folder / "figshare").glob("*.mat")):
            archive.write(file, file.name)
    own_images(folder / "my-images")
    run_folder = fit.train(
        shrunk(load_recipe("default")), folder / "kaggle_3m", folder / "runs" / "first", device="cpu"
    )
    shutil.copytree(run_folder, folder / "runs" / "second")
    volumes(folder)
    return folder


def volumes(folder: Path) -> None:
    """Volumes in NIfTI as pages name them: one with three sequences, and cases of one file a sequence."""
    random = np.random.default_rng(1)
    affine = np.diag([-0.9, -0.9, 5, 1])
    write = partial(nibabel_write, affine=affine)
    write(folder / "scan.nii.gz", random.integers(0, 900, (64, 64, 6, 3)).astype(np.int16))
    one = random.integers(0, 900, (64, 64, 6)).astype(np.int16)
    for name in ("flair", "t1c", "cases/a_flair", "cases/a_t1ce", "cases/b_flair", "cases/b_t1ce"):
        write(folder / f"{name}.nii.gz", one)


def nibabel_write(path: Path, pixels: np.ndarray, *, affine: np.ndarray) -> None:
    import nibabel

    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(pixels, affine), path)


def own_images(folder: Path) -> None:
    """Pairs of PNGs of several patients, and the table that names them."""
    random = np.random.default_rng(0)
    lines = ["image,mask,patient"]
    for index in range(12):
        mask = np.zeros((48, 48), np.uint8)
        mask[10:20, 12:30] = 255
        folder.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / f"p{index}.png"), np.maximum(random.integers(0, 90, (48, 48), np.uint8), mask // 2))
        cv2.imwrite(str(folder / f"p{index}_mask.png"), mask)
        lines.append(f"p{index}.png,p{index}_mask.png,P{index // 2}")
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_run_as_printed(
    page: Path, places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = fit.train

    def train_small(recipe: Recipe, *arguments: object, **options: object) -> Path:
        return trained(shrunk(recipe), *arguments, **options)

    todo = steps(page)
    if not todo:
        return
    here = tmp_path / "here"
    shutil.copytree(places, here)
    monkeypatch.chdir(here)
    monkeypatch.setattr(fit, "train", train_small)
    done: set[str] = set()
    for step in todo:
        if step.startswith("yaml:"):
            Path("mine.yaml").write_text(step.removeprefix("yaml:"))
            continue
        words = shlex.split(step, comments=True)[1:]
        if step in done or "--resume" in words or any(word.split("=")[-1].split("/")[0] in NOT_HERE for word in words):
            continue  # to resume is tested where runs are killed
        done.add(step)
        if "--output" in words and (output := Path(words[words.index("--output") + 1])).exists():
            shutil.rmtree(output)  # several pages write to runs/first; each time into nothing
        code = run(expand(words))
        assert code == 0, f"{step}: {capsys.readouterr().err}"
