"""The benchmark of artefacts: what it mixes is what it says, and what it prints follows from what was found."""

import importlib.util
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture(scope="module")
def bench(repo: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_artefacts", repo / "scripts" / "bench_artefacts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_rates_are_apart_or_close_as_said(bench):
    generator = np.random.default_rng(0)
    for _ in range(50):
        bpm, cadence = bench.draw_rates("apart", generator)
        assert min(abs(60 * cadence * times - bpm) for times in (0.5, 1, 2)) >= 12
        bpm, cadence = bench.draw_rates("close", generator)
        assert abs(60 * cadence - bpm) <= 5


def test_snr_and_error_by_hand(bench):
    pulse = np.sin(np.arange(round(bench.SECONDS * bench.RATE)) * 2 * np.pi * 1.25 / bench.RATE).astype(np.float32)
    noise = np.random.default_rng(0).normal(size=len(pulse)).astype(np.float32)
    inner = slice(round(bench.SETTLED_S * bench.RATE), None)
    noise *= pulse[inner].std() / noise[inner].std()
    assert bench.snr_db(pulse, pulse + 0.1 * noise) == pytest.approx(20, abs=0.1)
    assert bench.bpm_error(pulse, np.full(len(pulse), 78.0)) == pytest.approx(3, abs=0.1)


def test_cancelling_pays_where_the_mixture_is_linear_and_is_nothing_at_rest(bench, monkeypatch):
    kept = {name: bench.CONTENDERS[name] for name in ("off", "rls, gated")}
    monkeypatch.setattr(bench, "CONTENDERS", kept)
    found = {(one["model"], one["metric"]): one["value"] for one in bench.synthetic("linear", "apart", -10, 2)}
    assert found["off", "SNR gain"] == pytest.approx(0, abs=1e-9)
    # The target of the design: 10 dB or more on moving windows.
    assert found["rls, gated", "SNR gain"] > 10
    assert found["rls, gated", "heart-rate error"] < 2 < found["off", "heart-rate error"]
    rest = [one for one in bench.harm(1) if one["what"] == "at rest" and one["metric"] == "samples changed"]
    assert [one["value"] for one in rest] == [0, 0]
    assert all(not isinstance(value, (list, dict)) for one in rest for value in one.values())


def test_shares_of_a_person_by_hand(bench):
    nan = float("nan")
    person = bench.Person(
        moved=np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.9]),
        gain=np.array([0, 1, 1, 0.5, 0, 1]),
        before=np.array([60.0, 60.0, 100.0, 60.0, 60.0, 60.0]),
        after=np.array([60.0, 100.0, 61.0, 62.0, 60.0, 60.0]),
        device=np.array([[62.0, 62.0, 62.0, 62.0, nan, 62.0]]),
        motion=np.zeros(6),
    )
    found = bench.of_person(person, 0, 0.0, 0.5)
    assert found == {
        "windows": 4,
        "right before": 75,
        "right after": 75,
        "difference": 0,
        "rescued": 25,
        "harmed": 25,
        "gate open": 75,
    }


def test_an_interval_is_over_units_and_leaves_out_what_is_none(bench):
    mean, low, high = bench.interval([1.0, 2.0, 3.0, float("nan")])
    assert mean == 2
    assert 1 <= low < 2 < high <= 3
    assert all(np.isnan(bench.interval([float("nan")])))


def first_minutes(visit, minutes):
    """A visit without what came later."""
    kept = {}
    for name, one in visit.recordings.items():
        stop = round(60 * minutes * one.sampling_rate_hz)
        kept[name] = replace(one, values=one.values[:, :stop], observed=one.observed[:stop])
    return replace(visit, recordings=kept)


@pytest.mark.real
def test_one_real_session(bench, monkeypatch):
    if "HDT_FM_REAL_DATA" not in os.environ:
        pytest.skip("set HDT_FM_REAL_DATA")
    visits = bench.StressPredict(
        path=str(Path(os.environ["HDT_FM_REAL_DATA"]) / "stress_predict"), subject_key="public", limit=1
    ).visits()
    monkeypatch.setattr(bench, "CONTENDERS", {name: bench.CONTENDERS[name] for name in ("off", "nlms, gated")})
    person = bench.session(first_minutes(next(iter(visits)), 15))["nlms, gated"]
    still = person.moved < np.quantile(person.moved, 1 / 3)
    agree = np.abs(person.before - person.device) <= bench.RIGHT_BPM
    # At rest the estimator agrees with the device in most windows, and more so when the device's delay is known.
    assert agree[7, still].mean() > 0.6
    assert np.array_equal(person.before[person.gain == 0], person.after[person.gain == 0])


def test_rows_are_written_whole_and_without_nan(bench, tmp_path):
    bench.write(tmp_path / "rows.json", [bench.row("a", "b", "c", (float("nan"), 1.0, 2.0), "dB", 3)])
    assert json.loads((tmp_path / "rows.json").read_text())[0]["value"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["rows.json"]
