"""The table of hostile inputs, from the tests that try them: `python scripts/list_hostile.py [--write]`.

Each file of tests/hostile has a SURFACE, tables of cases (name -> ..., error, words), and GOT for those that are tested
apart. --write puts the table into tests/hostile/README.md; without, it is printed. `--check` fails if they differ.
"""

import argparse
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

ROOM = Path(__file__).resolve().parents[1] / "tests" / "hostile"
README = ROOM / "README.md"
BEGIN, END = "<!-- list_hostile: begin -->\n", "<!-- list_hostile: end -->\n"


def rows() -> Iterator[tuple[str, str, str]]:
    """Surface, input, what it got."""
    for path in sorted(ROOM.glob("test_*.py")):
        module = _loaded(path)
        if not hasattr(module, "SURFACE"):
            continue
        told: dict[str, tuple[str, str]] = {}
        for table in vars(module).values():
            if isinstance(table, dict) and table and all(_is_case(case) for case in table.values()):
                told |= {name: (case[-2].__name__, case[-1]) for name, case in table.items()}
        for name, (error, words) in (told | module.GOT).items():
            yield module.SURFACE, name, words if error == "(none)" else f"{error}: {words}"


def table() -> str:
    """In Markdown, with the number of inputs before it."""
    found = list(rows())
    lines = [f"{len(found)} inputs.\n", "| surface | input | what it got |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(map(_cell, row))} |" for row in found)]) + "\n"


def _is_case(case: object) -> bool:
    """(..., error, words)"""
    return isinstance(case, tuple) and len(case) > 2 and isinstance(case[-2], type) and issubclass(case[-2], Exception)


def _cell(text: str) -> str:
    return text.replace("\\.", ".").replace("|", "\\|").replace("\n", " ")


def _loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"hostile_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args()
    made = table()
    text = README.read_text() if README.is_file() else BEGIN + END
    before, _, rest = text.partition(BEGIN)
    whole = before + BEGIN + made + END + rest.partition(END)[2]
    if asked.check:
        return int(whole != text)
    if asked.write:
        README.write_text(whole)
    else:
        print(made, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
