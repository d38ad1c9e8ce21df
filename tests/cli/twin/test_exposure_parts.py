"""What an exposure state is made of, by command: parts of the effect and of each dose, and that they add up."""

import csv
import io
import json
import math
import zipfile

import numpy as np
import pytest

from hdt_fm.cli.exposure.law import FORMAT, LAW_NAME
from hdt_fm.cli.main import EXIT_OK, main
from hdt_fm.heads.exposure_dose import ExposureDose

FIRST, DAYS = np.datetime64("2023-03-01", "D"), 480
KINDS = ("pm2_5", "temperature", "noise")
TAUS = (21.0, 3.0, 60.0)
SAME = "same_person=true"


def learned(pairs: bool) -> dict[str, object]:
    """A dose head by its numbers: a hinge, a line, a ramp, and the product of the first two."""
    numbers = 3 + 3 + 3 + pairs
    return {
        "format": 1,
        "exposures": list(KINDS),
        "forms": ["hinge", "line", "ramp"],
        "pairs": [["pm2_5", "temperature"]] * pairs,
        "season": "shared",
        "enough": 0.2,
        "people": 42,
        "noise": 2.0,
        "misfit": 0.4,
        "log_tau": [math.log(one) for one in TAUS],
        "knots": [15.0, 40.0, 70.0],
        "slopes": [-0.2, 0.13, -0.05, *[0.011] * pairs],
        "spread": (1e-4 * np.eye(numbers)).tolist(),
        "held": [False] * numbers,
        "middle": [20.25, 11.5, 50.0],
        "chance": [0.001, 0.2, 0.01],
        "unseen": [9.0, 4.0, 5.0],
    }


def law_in(folder, head: dict[str, object]):
    verdict = {"verdict": "beyond placebo and season", "reliable": True, "people": 42, "days": 90.0}
    verdict |= {"chance": 0.001, "p_in_table": 0.01, "p_days_after": 0.01}
    weak = {**verdict, "verdict": "no reliable effect of its own", "reliable": False}
    units = ("ug/m^3", "celsius", "dB")
    facts = {
        "format": FORMAT,
        "law": head,
        "exposures": [{"kind": kind, "unit": unit, "form": "line"} for kind, unit in zip(KINDS, units, strict=True)],
        "outcome": "rmssd",
        "outcome_unit": "ms",
        "next_day": False,
        "season": "shared",
        "people": 42,
        "days": 3000,
        "misfit": 0.4,
        "wrong_form": False,
        "reliable": True,
        "verdict": "beyond placebo and season: pm2_5",
        "verdicts": {"pm2_5": verdict, "temperature": weak, "noise": verdict},
        "numbers": [],
        "explained": [],
        "notes": [],
    }
    folder.mkdir()
    (folder / LAW_NAME).write_text(json.dumps(facts))
    return folder


def lived() -> np.ndarray:
    """(exposure, day): a year and more, with days that are not known, the newest of one of them among these."""
    rng = np.random.default_rng(7)
    ranges = np.array([[5.0, 60.0], [-12.0, 30.0], [35.0, 80.0]])
    found = rng.uniform(ranges[:, :1], ranges[:, 1:], (len(KINDS), DAYS)).round(3)
    found[rng.random(found.shape) < 0.2] = np.nan
    found[1, -4:], found[[0, 2], -1] = np.nan, [33.0, 61.0]
    return found


def table(path, values: np.ndarray, first: int = 0):
    rows = (
        ",".join([str(FIRST + first + day), *("" if np.isnan(one) else f"{one:.3f}" for one in row)])
        for day, row in enumerate(values.T)
    )
    path.write_text("\n".join([",".join(["date", *KINDS]), *rows]) + "\n")
    return path


@pytest.fixture(params=[True, False], ids=["a pair", "no pair"])
def head(request):
    return learned(request.param)


@pytest.fixture
def told(made, run, tmp_path, head):
    run(
        "update",
        "my",
        table(tmp_path / "air.csv", lived()),
        "exposures=true",
        f"law={law_in(tmp_path / 'l', head)}",
        SAME,
    )
    return run("show", "my")["doses"]


def by_name(parts):
    return {" with ".join(one["of"]): one["value"] for one in parts}


def test_parts_of_the_effect_add_up_and_are_the_heads(told, head):
    law, values = told["law"], lived()
    parts = by_name(law["parts"])
    assert {one["unit"] for one in law["parts"]} == {"ms"}
    assert sum(parts.values()) == pytest.approx(law["effect"]["value"], abs=1e-9)
    assert min(map(abs, parts.values())) > 0.01
    # The head itself, asked of a course in which all others are at their middle dose all along.
    dose_head, middle = ExposureDose.of(head), np.array(head["middle"])

    def alone(*places):
        course = np.repeat(middle[:, None], DAYS, axis=1)
        course[list(places)] = values[list(places)]
        return float(dose_head.effect(course[None])[0].value[0, -1])

    for place, kind in enumerate(KINDS):
        assert parts[kind] == pytest.approx(alone(place), rel=1e-6, abs=1e-7)
    if head["pairs"]:
        together = alone(0, 1) - alone(0) - alone(1)
        assert parts["pm2_5 with temperature"] == pytest.approx(together, rel=1e-6, abs=1e-7)
    assert [one["middle_dose"] for one in law["exposures"]] == head["middle"]


def test_a_dose_is_told_by_the_age_of_days(told):
    values = lived()
    age = np.arange(DAYS)[::-1]
    cuts = {"last_day": age < 1, "six_days_before": (age >= 1) & (age < 7), "older": age >= 7}
    rows = [(one["kind"], dose["time_constant_d"], dose) for one in told["exposures"] for dose in one["doses"]]
    rows += [(one["kind"], tau, one) for one, tau in zip(told["law"]["exposures"], TAUS, strict=True)]
    assert len(rows) == 3 * 6
    for kind, tau, dose in rows:
        if dose["value"] is None:
            # Four days are not known, and of a dose of a day nothing is left.
            assert (kind, dose["parts"]) == ("temperature", None)
            continue
        course = values[KINDS.index(kind)]
        weights = np.where(np.isfinite(course), np.exp(-age / tau), 0.0)
        shares = weights / weights.sum()
        assert [part["days"] for part in dose["parts"]] == list(cuts)
        for part in dose["parts"]:
            inside = cuts[part["days"]]
            assert part["weight"] == pytest.approx(shares[inside].sum(), abs=1e-7)
            assert part["value"] == pytest.approx((shares * np.nan_to_num(course))[inside].sum(), abs=2e-5)
        assert sum(part["weight"] for part in dose["parts"]) == pytest.approx(1.0, abs=1e-9)
        assert sum(part["value"] for part in dose["parts"]) == pytest.approx(dose["value"], abs=1e-9)


def test_parts_are_the_same_however_the_record_is_cut(told, run, tmp_path, head):
    values = lived()
    run("rollback", "my", "to=1")
    for first, last in ((0, 30), (25, 200), (200, 477), (470, DAYS)):
        more = [f"law={tmp_path / 'l'}", SAME] if not first else []
        again = run("update", "my", table(tmp_path / "air.csv", values[:, first:last], first), "exposures=true", *more)
    assert again["doses"]["law"]["parts"] == told["law"]["parts"]
    assert {**again["doses"], "as_of": told["as_of"]} == told


def test_words_say_parts_with_their_unit(told, head, capsys):
    assert main(["twin", "show", "my"]) == EXIT_OK
    lines = capsys.readouterr().out.splitlines()
    (said,) = [line for line in lines if line.startswith("  that is ") and " ms by " in line]
    for name, value in by_name(told["law"]["parts"]).items():
        assert f"{value:+.3g} ms by {name}" in said
    assert "by temperature (not reliable)" in said
    assert ("beyond what each does alone" in said) is bool(head["pairs"])
    (dose,) = [line for line in lines if line.startswith("  pm2_5: dose ")]
    assert "in ug/m^3; middle dose 20.25; fades over" in dose
    assert lines[lines.index(dose) + 1].startswith("    mean of its days, in ug/m^3, and their share: last day 33 (")
    # Four days of it are not known.
    (dose,) = [line for line in lines if line.startswith("  temperature: dose ")]
    assert " share: last day nothing, six days before " in lines[lines.index(dose) + 1]
    assert sum("that fades over" in line and " seen: last day " in line for line in lines) == 13


def test_what_is_not_told_has_no_parts(made, run, tmp_path, capsys):
    """Of one exposure the law was told nothing: its effect is not told, and neither is a part of it."""
    values = lived()
    values[2] = np.nan
    law = law_in(tmp_path / "l", learned(True))
    told = run("update", "my", table(tmp_path / "air.csv", values), "exposures=true", f"law={law}", SAME)["doses"][
        "law"
    ]
    assert (told["effect"], told["parts"]) == (None, None)
    assert {one["kind"]: one["parts"] is None for one in told["exposures"]} == {
        "pm2_5": False,
        "temperature": False,
        "noise": True,
    }
    assert main(["twin", "show", "my"]) == EXIT_OK
    out = capsys.readouterr().out
    assert "its effect is not told" in out
    assert " ms by " not in out


def test_export_has_parts_as_a_table(told, run, head):
    run("export", "my", "--to", "mine.zip")
    with zipfile.ZipFile("mine.zip") as packed:
        rows = list(csv.DictReader(io.StringIO(packed.read("exposure_parts.csv").decode())))
        about = packed.read("README.txt").decode()
        assert json.loads(packed.read("summary.json"))["doses"] == told
    assert "exposure_parts.csv: " in about
    assert "  that is " in about
    effect = {row["part"]: float(row["value"]) for row in rows if row["of"] == "effect on rmssd"}
    assert effect == by_name(told["law"]["parts"])
    of_law = [row for row in rows if row["told_by"] == "law" and row["of"] == "pm2_5"]
    assert sum(float(row["value"]) for row in of_law) == pytest.approx(told["law"]["exposures"][0]["value"], abs=1e-9)
    assert {(row["part"], row["unit"]) for row in of_law} == {
        (part, "ug/m^3") for part in ("last_day", "six_days_before", "older")
    }
