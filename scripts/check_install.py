"""A published folder in a clean environment: the wheel of this checkout, what pip brings along, and nothing else.

python scripts/check_install.py [FOLDER ...] [--quick] [--json FILE]

Builds the wheel, makes a virtual environment, installs the wheel and what it asks for (from pip's index, by
constraints.txt), and there, outside of this checkout, loads each folder strictly, makes its stored embedding again and
runs `hdt-fm publish verify`. Without FOLDER the models that come with hdt_fm. Exit status 1 if one is 1e-6 or more
away or does not verify.

--quick  no new environment: the unpacked wheel beside the libraries that are here. Shows that the wheel holds all that
         hdt_fm needs of itself, not that it asks for all libraries.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
MOST = 1e-6
# Run by the other environment's Python, which knows nothing of this file.
ASK = """
import json, sys
from pathlib import Path
import torch
import hdt_fm
from hdt_fm.checkpoint.reproduce import differences
from hdt_fm.schema.manifest import PROBE_NAME
from hdt_fm.schema.published import find_model
folder = Path(find_model(sys.argv[1]))
model = hdt_fm.load(folder)
gaps = differences(model, folder / PROBE_NAME)
print(json.dumps({"from": hdt_fm.__file__, "torch": torch.__version__, "gaps": gaps}))
"""


def main() -> int:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="hdt_fm_install_") as made:
        place = Path(made)
        wheel = _wheel(place)
        before = time.monotonic()
        python, environment = _unpacked(place, wheel) if options.quick else _installed(place, wheel)
        took = time.monotonic() - before
        rows = [row for folder in options.folders for row in _rows(folder, python, environment, place)]
    how = "unpacked beside the libraries here" if options.quick else "installed into a new environment"
    print(f"{wheel.name}, {how} ({took:.0f} s)\n")
    print("| folder | answer | largest difference | verify |\n| --- | --- | --- | --- |")
    for row in rows:
        print(f"| {row['what']} | {row['metric']} | {row['value']:.1e} | {row['verify']} |")
    good = all(row["value"] < MOST and row["verify"] == "passes" for row in rows)
    print(f"\n{'all' if good else 'NOT all'} below {MOST:g} and verified")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if good else 1


def _wheel(place: Path) -> Path:
    _run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(place), str(REPO)], cwd=place)
    return next(place.glob("*.whl"))


def _unpacked(place: Path, wheel: Path) -> tuple[str, dict[str, str]]:
    with zipfile.ZipFile(wheel) as file:
        file.extractall(place / "unpacked")
    return sys.executable, _environment() | {"PYTHONPATH": str(place / "unpacked")}


def _installed(place: Path, wheel: Path) -> tuple[str, dict[str, str]]:
    venv.create(place / "new", with_pip=True)
    python = str(place / "new" / "bin" / "python")
    asked = ["-m", "pip", "install", "-q", "--no-compile", "-c", str(REPO / "constraints.txt"), str(wheel)]
    _run([python, *asked], cwd=place)
    return python, _environment()


def _environment() -> dict[str, str]:
    """Without what would show the other Python this checkout."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


def _rows(folder: str, python: str, environment: dict[str, str], place: Path) -> list[dict[str, object]]:
    told = json.loads(_run([python, "-c", ASK, folder], cwd=place, env=environment).splitlines()[-1])
    if not Path(told["from"]).is_relative_to(place):
        raise SystemExit(f"hdt_fm came from {told['from']}, not from the wheel")
    command = [python, "-m", "hdt_fm.cli.main", "publish", "verify", folder]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    verified = "passes" if done.returncode == 0 else f"fails: {done.stdout.strip()}"
    named = {"what": Path(folder).name, "model": "wheel", "n": 1, "unit": "", "low": None, "high": None}
    return [
        {**named, "metric": name, "value": gap, "verify": verified, "torch": told["torch"]}
        for name, gap in told["gaps"].items()
    ]


def _run(command: list[str], **settings: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **settings)  # type: ignore[call-overload]
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:4])} ... failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return str(done.stdout)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="published folders; those that come with hdt_fm")
    parser.add_argument("--quick", action="store_true", help="the unpacked wheel, beside the libraries that are here")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a flat list")
    options = parser.parse_args()
    ours = [str(path.parent) for path in (REPO / "model_cards").glob("*/config.json")]
    options.folders = [str(Path(one).resolve()) for one in options.folders] or ours
    return options


if __name__ == "__main__":
    sys.exit(main())
