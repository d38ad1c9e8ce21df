"""`hdt-fm twin forecast NAME cohort=NAME`: people of a simulated cohort, who have no folder."""

from pathlib import Path

import pytest

from hdt_fm.cli.main import EXIT_OK, main
from hdt_fm.cli.twin.person import is_simulated, visits_of_one
from hdt_fm.cli.twin.readings import read
from hdt_fm.schema import registry
from hdt_fm.schema.errors import ConfigError, ReaderError, UnknownNameError
from hdt_fm.schema.preparation import ModalityPreparation
from hdt_fm.schema.series import ForecastTask

TASK = ForecastTask("glucose", "mg/dL", 300.0, 10_800.0, (1800.0,), 1800.0, 2, 86_400.0)
PREPARED = ModalityPreparation(sampling_rate_hz=1 / 300)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three people, two days: the default cohort is simulated in another test."""
    build = registry.build
    monkeypatch.setattr(registry, "build", lambda room, name, args: build(room, name, {**args, "people": 3, "days": 2}))


def test_a_cohort_says_itself_that_it_is_simulated() -> None:
    found = {name: is_simulated({"cohort": name}) for name in registry.names("cohorts")}
    assert [name for name, simulated in found.items() if simulated] == ["synthetic", "virtual_diabetes"]
    assert not is_simulated({"person": "3"})


@pytest.mark.usefixtures("short")
def test_its_name_stands_for_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # A folder of that name is not looked at.
    (tmp_path / "virtual_diabetes").mkdir()
    given = read(Path("virtual_diabetes"), {"cohort": "virtual_diabetes", "person": "1"}, TASK, PREPARED)
    one = registry.build("cohorts", "virtual_diabetes", {}).visits().parts[1]()
    assert given.values.tolist() == one.recordings["glucose"].values[0].tolist()
    assert (given.source, given.clock) == ("virtual_diabetes", "local")
    assert given.notes == ("the person is simulated: nobody has lived these readings",)


@pytest.mark.usefixtures("short")
def test_another_path_or_person_is_refused(tmp_path: Path) -> None:
    asked = {"cohort": "virtual_diabetes", "person": "1"}
    for path in (tmp_path, Path("virtual")):
        with pytest.raises(
            ConfigError, match=r"(?s)nothing is read at a path.*virtual_diabetes cohort=virtual_diabetes"
        ):
            visits_of_one(path, asked, expected="readings")
    with pytest.raises(ReaderError, match="0 to 2"):
        visits_of_one(Path("virtual_diabetes"), {**asked, "person": "3"}, expected="readings")


def test_a_cohort_that_is_read_still_needs_its_folder() -> None:
    for settings in ({"cohort": "azt1d"}, {}):
        with pytest.raises(ReaderError, match="nothing at this path"):
            read(Path("azt1d"), settings, TASK, PREPARED)


def test_help_says_how_and_a_wrong_name_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["twin", "forecast", "--help"]) == EXIT_OK
    assert "virtual_diabetes cohort=virtual_diabetes" in capsys.readouterr().out
    with pytest.raises(UnknownNameError, match="did you mean 'virtual_diabetes'"):
        read(Path("virtual_diabetes"), {"cohort": "virtual_diabete", "person": "1"}, TASK, PREPARED)
