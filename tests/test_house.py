"""The house: who may import whom, one door per library, no rooms that should not be."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
FIXED_TOP = {"configs", "hdt_fm", "data_pipelines", "scripts", "tests", "model_cards"}
ROOMS = {
    "schema": set(),
    "signal": {"schema"},
    "data": {"schema"},
    "layers": {"schema", "ops"},
    "encoders": {"schema", "layers"},
    "fusion": {"schema", "layers"},
    "ops": {"schema"},
    "losses": {"schema", "ops"},
    "heads": {"schema", "layers"},
    "metrics": {"schema"},
    "checkpoint": {"schema"},
    "consent": {"schema"},
    "twin": {"schema", "metrics", "signal"},
    "training": {"schema", "metrics", "checkpoint"},
    "explain": {"schema", "checkpoint", "metrics"},
    "evaluation": {"schema", "metrics", "ops", "signal"},
    "audit": {"schema", "evaluation"},
    "report": {"schema"},
    "simulation": {"schema"},
    "data_pipelines": {"schema", "signal", "simulation", "consent"},
}
DOORS = {
    "hydra": ("hdt_fm/cli/",),
    "omegaconf": ("hdt_fm/cli/",),
    "pytorch_lightning": ("hdt_fm/training/", "hdt_fm/data/datamodule.py"),
    "webdataset": ("hdt_fm/data/", "data_pipelines/"),
    "wandb": ("hdt_fm/training/callbacks.py",),
    "captum": ("hdt_fm/explain/",),
    "triton": ("hdt_fm/ops/",),
    "codecarbon": ("hdt_fm/cli/cost_energy.py",),
    "opacus": ("hdt_fm/training/private_account.py",),
    "keyring": ("hdt_fm/schema/keys.py",),
    "pyrage": ("hdt_fm/schema/age.py", "hdt_fm/schema/age_streams.py"),
}
HEAVY = (
    "torch",
    "pytorch_lightning",
    "hydra",
    "webdataset",
    "wandb",
    "captum",
    "pandas",
    "scipy",
    "sklearn",
    "opacus",
    "codecarbon",
)


def sources() -> list[Path]:
    return sorted([*(REPO / "hdt_fm").rglob("*.py"), *(REPO / "data_pipelines").rglob("*.py")])


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room_of(path: Path) -> str:
    parts = path.relative_to(REPO).with_suffix("").parts
    return parts[0] if parts[0] == "data_pipelines" or len(parts) == 1 else parts[1]


def room_of_import(name: str) -> str | None:
    parts = name.split(".")
    if name == "hdt_fm.__version__":  # the package's own number is no room
        return None
    if parts[0] == "data_pipelines":
        return "data_pipelines"
    return parts[1] if parts[0] == "hdt_fm" and len(parts) > 1 else None


def test_arrows_run_one_way() -> None:
    checked, broken = 0, []
    for path in sources():
        room = room_of(path)
        if room in ("cli", "__init__"):
            continue
        for name in imports(path):
            other = room_of_import(name)
            if other is None or other == room:
                continue
            checked += 1
            if other not in ROOMS[room]:
                broken.append(f"{path.relative_to(REPO)} -> {name}")
    assert checked > 50, "the walk over imports found almost nothing; has the layout changed?"
    assert not broken, "\n".join(broken)


def test_each_library_has_one_door() -> None:
    broken = []
    for path in sources():
        place = path.relative_to(REPO).as_posix()
        for name in imports(path):
            library = name.split(".")[0]
            if library in DOORS and not place.startswith(DOORS[library]):
                broken.append(f"{place} -> {name}")
    assert not broken, "\n".join(broken)


def test_the_walk_sees_a_broken_arrow(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("def late():\n    from hdt_fm.training import pretrain\n    import wandb\n")
    assert imports(planted) == {"hdt_fm.training.pretrain", "wandb"}
    assert room_of_import("hdt_fm.training.pretrain") == "training"


def test_rooms_are_the_known_ones_and_none_is_empty() -> None:
    folders = {path.name for path in (REPO / "hdt_fm").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders <= set(ROOMS) | {"cli"}, folders - set(ROOMS)
    for folder in folders:
        assert any(len(path.read_text()) > 200 for path in (REPO / "hdt_fm" / folder).rglob("*.py")), folder
    assert all((REPO / name).is_dir() for name in FIXED_TOP)


@pytest.mark.parametrize("word", ["utils", "common", "misc", "helpers", "legacy", "_v2"])
def test_no_nameless_rooms(word: str) -> None:
    assert not [path for path in sources() if word in path.relative_to(REPO).as_posix()]


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = f"import sys, hdt_fm, hdt_fm.cli.main; print([m for m in {HEAVY!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["data_pipelines.build", "data_pipelines.inspect", "hdt_fm.signal.windows"])
def test_the_offline_side_needs_no_torch(module: str) -> None:
    code = f"import sys, {module}; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_docs_name_no_path_of_a_machine() -> None:
    texts = [p for p in REPO.rglob("*.md") if not any(part.startswith(".") for part in p.relative_to(REPO).parts)]
    assert texts
    for path in texts:
        assert "/home/" not in path.read_text(), path
