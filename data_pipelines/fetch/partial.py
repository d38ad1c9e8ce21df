"""What has come so far of a download, and of which version of the file it is."""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK = 1 << 20


@dataclass
class Part:
    """What has come so far: the file, and whose it is (`.json` beside it)."""

    path: Path
    hash: Any = field(default_factory=hashlib.sha256)
    size: int = 0
    validator: str = ""

    def __post_init__(self) -> None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            self.validator = str(json.loads(self._note.read_text())["validator"])
        if not self.validator or not self.path.is_file():
            return self.restart()
        with self.path.open("rb") as handle:
            while block := handle.read(BLOCK):
                self.add(block)
        return None

    @property
    def _note(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def restart(self) -> None:
        """Forget what came: it may be of another version of the file."""
        self._note.unlink(missing_ok=True)
        self.path.write_bytes(b"")
        self.hash, self.size, self.validator = hashlib.sha256(), 0, ""

    def of(self, validator: str) -> None:
        """Note which version this is, so that only the same one is gone on with."""
        if validator != self.validator:
            self.validator = validator
            self._note.write_text(json.dumps({"validator": validator}))

    def add(self, block: bytes) -> None:
        self.hash.update(block)
        self.size += len(block)

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def become(self, target: Path) -> str:
        os.replace(self.path, target)
        self._note.unlink(missing_ok=True)
        return str(self.hash.hexdigest())
