"""What a verb spends: exact by a made-up tracker, once by the real one; no end of a verb loses what it spent."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from hdt_fm.cli import cost, cost_energy, run
from hdt_fm.cli.compose import compose_config
from hdt_fm.cli.cost import SWITCHED_OFF, Meter
from hdt_fm.cli.cost_energy import NOT_INSTALLED, EnergyMeter, Received
from hdt_fm.cli.cost_sessions import NAME, NOT_KEPT, UNREADABLE, Session, counting, read_sessions
from hdt_fm.cli.publish import _records
from hdt_fm.cli.run import write_text
from hdt_fm.cli.settings import CostSettings
from hdt_fm.report.facts import digest_of
from hdt_fm.schema.cost import Cost
from hdt_fm.schema.errors import ConfigError, PublishError
from hdt_fm.schema.result import RunRecord

KWH_AN_HOUR = 60.0


class MadeUp:
    """A machine of 60 kW: 40 of processor, 20 of memory; 0.1 kg of carbon for each kWh."""

    def __init__(self, received: Received, country: str | None, pue: float) -> None:
        self.received, self.pue, self.begun, self.stopped = received, pue, 0.0, False
        self._conf = {"hardware": ["RAM()", "CPU(Intel Rapl)"]}

    def start(self) -> None:
        self.begun = time.monotonic()

    def flush(self) -> None:
        hours = (time.monotonic() - self.begun) / 3600
        kwh = KWH_AN_HOUR * hours * self.pue
        told = {"duration": hours * 3600, "energy_consumed": kwh, "emissions": kwh / 10, "gpu_energy": 0.0}
        told |= {"cpu_energy": kwh * 2 / 3, "ram_energy": kwh / 3, "gpu_count": 0, "codecarbon_version": "0"}
        self.received.out(SimpleNamespace(**told), None)

    def stop(self) -> None:
        self.flush()
        self.stopped = True


def settings(**changes: Any) -> CostSettings:
    return CostSettings(**{"energy": "auto", "after_s": 0.0, "pue": 1.0, **changes})


def metered(folder: Path, config: str = "a", **changes: Any) -> Meter:
    return Meter(settings(**changes), folder, config=config, write=write_text, make=MadeUp, saved_every_s=0.02)


def test_energy_carbon_and_money_are_what_was_metered_by_the_prices_told(tmp_path: Path) -> None:
    told = {"country": "SWE", "pue": 1.5, "price_per_kwh": 2.0, "price_per_device_hour": 3.0, "currency": "EUR"}
    with metered(tmp_path, energy="always", **told) as meter:
        time.sleep(0.1)
        found = meter.close(finished=True, resumed=False)
    assert found.kwh == pytest.approx(KWH_AN_HOUR * found.metered_hours * 1.5, rel=0.01)
    assert 0.1 / 3600 <= found.metered_hours + 1e-6 <= found.hours + 2e-6
    assert found.kg_co2e == pytest.approx(found.kwh / 10, abs=1e-8)
    assert found.parts == pytest.approx({"cpu": found.kwh * 2 / 3, "gpu": 0.0, "memory": found.kwh / 3}, abs=1e-8)
    assert found.money == pytest.approx(2 * found.kwh + 3 * found.hours, abs=1e-5)
    assert (found.country, found.currency, found.sessions, found.reason) == ("SWE", "EUR", 1, "")
    assert found.how == "codecarbon 0 of this process: processor by counters of the whole package, memory estimated"


def test_without_a_country_no_carbon_is_told_and_without_energy_no_money(tmp_path: Path) -> None:
    with metered(tmp_path, energy="always") as meter:
        found = meter.close(finished=True, resumed=False)
    assert (found.kg_co2e, found.country, found.money) == (None, None, None)
    with metered(tmp_path, energy="never", price_per_kwh=1.0, currency="EUR") as meter:
        found = meter.close(finished=True, resumed=False)
    assert (found.kwh, found.money, found.reason) == (None, None, SWITCHED_OFF)


def test_a_short_verb_does_not_start_the_meter_and_says_so(tmp_path: Path) -> None:
    with metered(tmp_path, after_s=20.0) as meter:
        found = meter.close(finished=True, resumed=False)
    assert (found.kwh, found.metered_hours) == (None, 0.0)
    assert "cost.after_s, 20 s" in found.reason
    assert found.hours > 0
    assert found.cpu_hours is not None


def test_a_meter_that_is_still_starting_is_not_waited_for() -> None:
    trackers = []

    class Slow(MadeUp):
        def start(self) -> None:
            trackers.append(self)
            while not waited:
                time.sleep(0.001)
            super().start()

    import threading

    waited: list[bool] = []
    meter = EnergyMeter(None, 1.0, Slow)
    thread = threading.Thread(target=meter.start)
    thread.start()
    assert meter.read() is None
    assert meter.stop() is None
    waited.append(True)
    thread.join()
    assert trackers[0].stopped, "what starts after the end is ended by itself"


def test_a_meter_that_stumbles_does_not_stop_the_verb(tmp_path: Path) -> None:
    class Broken(MadeUp):
        def start(self) -> None:
            raise RuntimeError("no such counter")

    with Meter(settings(energy="always"), tmp_path, config="a", write=write_text, make=Broken) as meter:
        found = meter.close(finished=True, resumed=False)
    assert (found.kwh, found.reason) == (None, "codecarbon gave no number on this machine (RuntimeError)")


def ended(*, after_s: float, by: BaseException) -> None:
    """A verb that does not come to its record."""
    time.sleep(after_s)
    raise by


def session(config: str, finished: bool, hours: float) -> Session:
    return Session(config=config, finished=finished, cost=Cost(hours=hours))


def test_which_sessions_count() -> None:
    earlier = [session("a", False, 1), session("a", True, 2), session("b", False, 4), session("a", False, 8)]
    hours = lambda config, resumed: sum(one.cost.hours for one in counting(earlier, config, resumed=resumed))
    assert hours("a", True) == 15, "who goes on from a checkpoint owes all that led to it"
    assert hours("a", False) == 8, "what came to nothing by the same settings"
    assert hours("b", False) == 0
    assert sum(one.cost.hours for one in counting(earlier[:2], "a", resumed=False)) == 0, "that one has its own record"


def test_interrupted_and_resumed_sessions_add_up(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), metered(tmp_path):
        ended(after_s=0.05, by=KeyboardInterrupt())
    (first,), missing = read_sessions(tmp_path)
    assert (first.finished, missing) == (False, "")
    with metered(tmp_path) as meter:
        stopped = meter.close(finished=False, resumed=True)
    with metered(tmp_path, config="more steps") as meter:
        whole = meter.close(finished=True, resumed=True)
    assert (stopped.sessions, whole.sessions) == (2, 3)
    assert whole.hours > stopped.hours > first.cost.hours > 0.05 / 3600
    assert sum(one.cost.hours for one in read_sessions(tmp_path)[0]) == pytest.approx(whole.hours)
    with metered(tmp_path) as meter:
        anew = meter.close(finished=True, resumed=False)
    assert anew.sessions == 1
    assert len(read_sessions(tmp_path)[0]) == 1


def test_a_checkpoint_whose_cost_was_not_kept_and_a_spoilt_file_are_said(tmp_path: Path) -> None:
    with metered(tmp_path) as meter:
        assert meter.close(finished=True, resumed=True).missing == NOT_KEPT
    (tmp_path / NAME).write_text('{"version": 1, "sess')
    with metered(tmp_path) as meter:
        assert meter.close(finished=True, resumed=True).missing == UNREADABLE
    assert len(read_sessions(tmp_path)[0]) == 1


def test_of_several_processes_the_first_counts_and_devices_are_paid_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    with metered(tmp_path, price_per_device_hour=2.0, currency="EUR", energy="always") as meter:
        found = meter.close(finished=True, resumed=False)
    assert found.device_hours == pytest.approx(4 * found.hours, abs=1e-5)
    assert found.money == pytest.approx(8 * found.hours, abs=1e-5)
    assert "3 further processes" in found.missing
    monkeypatch.setenv("RANK", "1")
    with metered(tmp_path / "other", energy="always") as meter:
        assert meter.close(finished=True, resumed=False).kwh is None
    assert not (tmp_path / "other").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no signals of this kind")
def test_what_is_killed_outright_loses_what_was_spent_since_the_last_time(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from hdt_fm.cli.cost import Meter;"
        "from hdt_fm.cli.run import write_text; from hdt_fm.cli.settings import CostSettings\n"
        "told = CostSettings(energy='never', after_s=0.0, pue=1.0)\n"
        "with Meter(told, Path(sys.argv[1]), config='a', write=write_text, saved_every_s=0.05):\n"
        "    print('running', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "running\n"
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not (read_sessions(tmp_path)[0] or ())[:1]:
            time.sleep(0.02)
        running.send_signal(signal.SIGKILL)
    (left,), missing = read_sessions(tmp_path)
    assert (left.finished, missing) == (False, "")
    assert left.cost.hours > 0
    with metered(tmp_path) as meter:
        assert meter.close(finished=True, resumed=False).sessions == 2


def test_a_disk_that_is_full_stops_no_verb_and_hides_no_error(tmp_path: Path) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    meter = Meter(settings(), tmp_path, config="a", write=full, make=MadeUp, saved_every_s=0.005)
    with pytest.raises(ValueError, match="the verb's own"), meter:
        ended(after_s=0.05, by=ValueError("the verb's own"))


def test_without_codecarbon_the_record_says_so_and_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "installed", lambda: False)
    with Meter(settings(), tmp_path, config="a", write=write_text) as meter:
        found = meter.close(finished=True, resumed=False)
    assert (found.kwh, found.reason) == (None, NOT_INSTALLED)
    with pytest.raises(ConfigError, match=r"hdt-fm\[energy\]"):
        Meter(settings(energy="always"), tmp_path, config="a", write=write_text)


def test_a_country_of_which_nothing_is_known_and_a_price_without_a_currency(tmp_path: Path) -> None:
    pytest.importorskip("codecarbon", reason="codecarbon (extra energy) is not installed")
    with pytest.raises(ConfigError, match="electricity"):
        Meter(settings(country="XQZ"), tmp_path, config="a", write=write_text)
    for wrong in ({"price_per_kwh": 0.3}, {"country": "Sweden"}, {"pue": 0.9}, {"energy": "sometimes"}):
        with pytest.raises(ValidationError):
            settings(**wrong)


def test_codecarbon_itself_offline_leaves_a_number_and_no_trace(tmp_path: Path) -> None:
    """One real run, in a process of its own: no network, no file, no line of a log, no name of the machine."""
    pytest.importorskip("codecarbon", reason="codecarbon (extra energy) is not installed")
    (tmp_path / "work").mkdir()
    code = (
        "import socket, sys, time; from pathlib import Path\n"
        "def refused(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = refused; socket.create_connection = refused\n"
        "from hdt_fm.cli.cost import Meter; from hdt_fm.cli.run import write_text\n"
        "from hdt_fm.cli.settings import CostSettings\n"
        "told = CostSettings(energy='always', after_s=0.0, country='SWE', pue=1.0)\n"
        "with Meter(told, Path(sys.argv[1]), config='a', write=write_text, saved_every_s=0.5) as meter:\n"
        "    end = time.monotonic() + 1.5\n"
        "    while time.monotonic() < end: sum(range(1000))\n"
        "    print(meter.close(finished=True, resumed=False).model_dump_json())\n"
    )
    # What codecarbon's own settings could ask for in an environment is overruled.
    asked = {"CODECARBON_OUTPUT_METHODS": "csv,api", "CODECARBON_SAVE_TO_FILE": "true", "CODECARBON_LOG_LEVEL": "debug"}
    asked |= {"CODECARBON_EMISSIONS_ENDPOINT": "https://example.org", "CODECARBON_CO2_SIGNAL_API_TOKEN": "x"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=tmp_path / "work",
        env={**os.environ, **asked, "TMPDIR": str(tmp_path / "work"), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    found = Cost.model_validate_json(done.stdout)
    assert found.kwh is not None
    assert 0 < found.kwh < 0.001, "a second and a half of one machine"
    assert found.kg_co2e is not None
    assert 0 < found.kg_co2e < found.kwh, "Swedish electricity has far less than a kilogram in a kWh"
    assert found.kwh == pytest.approx(sum(found.parts.values()), abs=3e-9)
    assert found.metered_hours == pytest.approx(1.5 / 3600, rel=0.5)
    assert done.stderr == ""
    assert list((tmp_path / "work").iterdir()) == []
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [NAME]
    kept = (tmp_path / NAME).read_text() + done.stdout
    assert socket.gethostname() not in kept
    assert os.uname().release not in kept
    assert str(Path.home()) not in kept


def test_a_verb_leaves_its_cost_and_the_digest_of_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def called(ending: dict[str, Any] | BaseException, seed: int = 0) -> RunRecord:
        def verb(one: run.Run) -> RunRecord:
            if isinstance(ending, BaseException):
                raise ending
            return one.finish(outputs={}, summary=ending)

        monkeypatch.setattr(run, "import_module", lambda name: SimpleNamespace(run=verb))
        config = compose_config("pretrain", [f"root={tmp_path}", f"seed={seed}", "cost.energy=never"])
        return run.call("pretrain", config)

    stopped = called({"stopped by": "SIGTERM", "resumed from step": None})
    whole = called({"stopped by": None, "resumed from step": 5})
    assert stopped.cost is not None
    assert whole.cost is not None
    assert (stopped.cost.sessions, whole.cost.sessions) == (1, 2)
    folder = tmp_path / "pretrain"
    assert whole.provenance["config_file"] == digest_of(folder / "config.yaml")
    assert RunRecord.model_validate_json((folder / "result.json").read_bytes()).cost == whole.cost
    assert [one.verb for one in _records(tmp_path)] == ["pretrain"]
    # Started again with other settings and killed before it could say anything.
    with pytest.raises(KeyboardInterrupt):
        called(KeyboardInterrupt(), seed=1)
    with pytest.raises(PublishError, match="started again"):
        _records(tmp_path)
    (folder / "config.yaml").unlink()
    assert len(_records(tmp_path)) == 1, "records whose settings are gone pass, as those of before do"
    old = json.loads((folder / "result.json").read_text())
    del old["provenance"]["config_file"], old["cost"]
    (folder / "result.json").write_text(json.dumps(old))
    (folder / "config.yaml").write_text("seed: 9\n")
    assert _records(tmp_path)[0].cost is None


@pytest.mark.parametrize(
    ("hardware", "gpus", "words"),
    [
        (["RAM()", "CPU(Cpu Load)"], 0, "processor estimated from load, memory estimated"),
        (["CPU(Intel Rapl)"], 0, "processor by counters of the whole package, memory estimated"),
        (["CPU(Cpu Load)"], 2, "processor estimated from load, memory estimated, GPU by its counter"),
        (None, 0, "processor estimated from load, memory estimated"),
    ],
)
def test_it_is_said_what_measured(hardware: list[str] | None, gpus: int, words: str) -> None:
    tracker = MadeUp(Received(), None, 1.0)
    tracker._conf = {} if hardware is None else {"hardware": hardware}
    total = SimpleNamespace(gpu_count=gpus, codecarbon_version="3")
    assert cost_energy.how(tracker, total) == f"codecarbon 3 of this process: {words}"


def test_the_table_of_countries_is_codecarbons() -> None:
    pytest.importorskip("codecarbon", reason="codecarbon (extra energy) is not installed")
    assert {"SWE", "FRA", "USA"} <= cost_energy.countries()
