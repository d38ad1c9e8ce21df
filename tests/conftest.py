"""Fixtures that more than one room needs."""

import os
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repo() -> Path:
    """Root of the checkout."""
    return REPO


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings; a test that asks for it is skipped where there is none."""
    folder = Path(os.environ.get("HDT_FM_REAL_DATA", REPO.parent / "shared" / "data"))
    if not (folder / "MANIFEST.sha256").is_file():
        pytest.skip("no real recordings: set HDT_FM_REAL_DATA to a folder with stress_predict and bidmc")
    return folder.resolve()
