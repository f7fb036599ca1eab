"""The house rules: who may import whom, and what stays unloaded."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tumorseg

PACKAGE = Path(tumorseg.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

FLOORS = {
    "scan": 1,
    "recipe": 1,
    "recipe_file": 1,
    "recipes": 1,
    "errors": 1,
    "files": 1,
    "address": 1,
    "answer": 1,
    "download": 1,
    "remote": 1,
    "progress": 1,
    "client": 2,
    "formats": 2,
    "filters": 1,
    "preprocess": 2,
    "grid": 2,
    "disturbances": 2,
    "postprocess": 2,
    "outlines": 2,
    "portrait": 2,
    "likeness": 3,
    "metrics": 2,
    "datasets": 3,
    "networks": 4,
    "losses": 4,
    "inference": 5,
    "dicomweb": 6,
    "training": 6,
    "evaluation": 6,
    "studies": 7,
    "api": 8,
    "web": 8,
    "cli": 9,  # starts the web room, which knows nothing of it
}

TORCH = {"torch", "torchvision", "lightning", "segmentation_models_pytorch", "timm", "monai"}
TORCH_ROOMS = {"networks", "losses", "training"}
TORCH_FILES = {Path("inference/torch_runtime.py")}
HEAVY = ("torch", "lightning", "scipy", "matplotlib")


def room_of(module: Path) -> str:
    """The first name below `tumorseg`: a folder, or a module on the ground of the package."""
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(module: Path) -> Iterator[tuple[str, bool]]:
    """Every absolute name that a module imports anywhere, and whether it is for the type checker alone."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import hides its room"
            source = node.module or ""
            names = [f"{source}.{alias.name}" if source == "tumorseg" else source for alias in node.names]
        else:
            continue
        for name in names:
            yield name, id(node) in for_types


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_from_floors_below(module: Path) -> None:
    room = room_of(module)
    if room in ("__init__", "__main__"):
        return
    assert room in FLOORS, f"room {room} is on no floor of the architecture"
    for name, _ in imports(module):
        if not name.startswith("tumorseg."):
            continue
        other = name.split(".")[1]
        if other not in FLOORS:
            assert other.startswith("__"), f"{module} imports {name}, a room on no floor"
            continue
        allowed = other == room or FLOORS[other] < FLOORS[room] or FLOORS[room] == FLOORS[other] == 1
        assert allowed, f"{module} imports {name} from floor {FLOORS[other]}"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_torch_is_imported_only_where_networks_train_and_run(module: Path) -> None:
    if room_of(module) in TORCH_ROOMS or module.relative_to(PACKAGE) in TORCH_FILES:
        return
    found = sorted({name.split(".")[0] for name, for_types in imports(module) if not for_types} & TORCH)
    assert not found, f"{module} imports {found}"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_prints(module: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    printing = [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    assert not printing, f"{module} prints in lines {printing}"


def loaded_by(code: str) -> set[str]:
    """The heavy packages in `sys.modules` after a fresh interpreter has run `code`."""
    check = f"import sys\n{code}\nsys.stderr.write('LOADED ' + ' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    return set(done.stderr.rpartition("LOADED ")[2].split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_by("import tumorseg") == set()


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["segment", "--help"], ["recipes"]])
def test_help_and_recipes_load_nothing_heavy(arguments: list[str]) -> None:
    assert loaded_by(f"from tumorseg.cli.app import run\nrun({arguments!r})") == set()


def test_reading_and_judging_load_no_torch() -> None:
    code = (
        "import tumorseg.datasets.store, tumorseg.datasets.split, tumorseg.inference.predictor, "
        "tumorseg.evaluation.evaluate, tumorseg.evaluation.report"
    )
    assert not {"torch", "lightning"} & loaded_by(code)


def test_every_public_name_can_be_imported() -> None:
    for name in tumorseg.__all__:
        if name != "train":  # needs the extra [train]
            assert getattr(tumorseg, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = tumorseg.nothing  # type: ignore[attr-defined]
