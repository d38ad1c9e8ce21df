"""From what was found to a plan, its file, and back."""

import re
from dataclasses import replace

import numpy as np
import pytest
import yaml

from data_pipelines.build_plan import BuildPlan, plan_text, read_plan, write_plan
from data_pipelines.propose import propose, summary
from data_pipelines.survey import ModalitySurvey, Survey, survey
from hdt_fm.schema.errors import ConfigError, ReaderError
from hdt_fm.schema.recording import Channel, Recording, Visit


def seen(modality, *rates, visits=10, channels=(1,), inverted=0, upright=0):
    return ModalitySurvey(
        modality=modality,
        visits=visits,
        devices=("d",),
        units=("u",),
        channels=channels,
        sampling_rates_hz=rates,
        hours=10.0,
        observed_share=1.0,
        gaps_per_hour=0.0,
        flat_share=0.0,
        clipped_share=0.0,
        repeated_share=0.0,
        off_nominal_ppm=None,
        motion_share=None,
        contact_share=None,
        worn_hours=None,
        typical=None,
        inverted=inverted,
        upright=upright,
        with_trouble=0,
    )


def found(*modalities, hours=1.0):
    return Survey(
        formats=(("empatica_e4", 10),),
        people=10,
        visits=10,
        refused=(),
        clocks=(),
        visit_hours=hours,
        modalities=modalities,
        labels=(),
    )


def test_rates_and_bands_are_those_that_the_signal_needs_and_has():
    plan, _ = propose(found(seen("ppg", (64.0, 10)), seen("eda", (4.0, 10)), seen("acc", (32.0, 10), channels=(3,))))
    ppg, eda, acc = (plan.preparation.modalities[name] for name in ("ppg", "eda", "acc"))
    assert plan.preparation.window_s == 60
    assert (ppg.sampling_rate_hz, ppg.highpass_hz, ppg.lowpass_hz) == (32, 0.4, 8)
    assert (eda.sampling_rate_hz, eda.lowpass_hz) == (4, 1)
    assert (acc.sampling_rate_hz, acc.lowpass_hz, acc.channels) == (32, None, 3)


@pytest.mark.parametrize(
    ("modalities", "hours", "window_s"),
    [
        ((("acc", 100.0), ("gyro", 100.0)), 1.0, 10),
        ((("eeg", 100.0), ("emg", 100.0)), 8.0, 30),
        ((("ecg", 250.0), ("resp", 25.0)), 1.0, 30),
        ((("glucose", 1 / 300), ("steps", 1 / 60)), 300.0, 86_400),
        ((("acc", 102.45),), 11 / 3600, 2),
    ],
)
def test_windows_fit_the_kind_and_the_length(modalities, hours, window_s):
    plan, _ = propose(found(*(seen(name, (rate, 10)) for name, rate in modalities), hours=hours))
    assert plan.preparation.window_s == window_s
    assert set(plan.preparation.modalities) == {name for name, _ in modalities}
    for name, rate in modalities:
        assert plan.preparation.modalities[name].sampling_rate_hz <= rate * (1 + 1e-6)


def test_nobody_is_sampled_up_unless_their_rate_is_rare():
    assert propose(found(seen("eda", (4.0, 8), (2.0, 2))))[0].preparation.modalities["eda"].sampling_rate_hz == 2
    rare = seen("eda", (4.0, 99), (1.0, 1), visits=100)
    assert propose(found(rare))[0].preparation.modalities["eda"].sampling_rate_hz == 4


def test_what_is_too_slow_for_the_windows_is_left_out_with_the_reason():
    plan, _ = propose(found(seen("ppg", (64.0, 10)), seen("glucose", (1 / 300, 10))))
    assert set(plan.preparation.modalities) == {"ppg"}
    assert "300 s" in plan.left_out["glucose"]
    with pytest.raises(ConfigError, match="Nothing in these recordings"):
        propose(found())


@pytest.mark.parametrize(
    ("inverted", "upright", "invert", "words"),
    [(9, 1, True, "upside down in 9 of 10"), (1, 9, False, "upright in 9"), (5, 5, False, "look first")],
)
def test_pulses_are_turned_only_on_a_clear_vote(inverted, upright, invert, words):
    plan, reasons = propose(found(seen("ppg", (64.0, 10), inverted=inverted, upright=upright)))
    assert plan.preparation.modalities["ppg"].invert is invert
    assert any(words in reason.why for reason in reasons if reason.key == "modalities.ppg.invert")


def test_the_file_says_why_and_comes_back_as_it_was(tmp_path):
    plan, reasons = propose(found(seen("ppg", (64.0, 9), (32.0, 1), upright=10), seen("glucose", (1 / 300, 10))))
    path = tmp_path / "plan.yaml"
    write_plan(plan, path, reasons)
    text = path.read_text()
    assert read_plan(path) == plan
    assert read_plan(path).digest == plan.digest
    for reason in reasons:
        key = reason.key.split(".")[-1]
        assert re.search(rf"^ *{key}: \S+ +# {re.escape(reason.why)}$", text, re.MULTILINE), reason
    assert not list(tmp_path.glob("*.tmp"))


def test_the_digest_follows_values_not_comments(tmp_path):
    plan, reasons = propose(found(seen("ppg", (64.0, 10)), seen("glucose", (1 / 300, 10))))
    bare = tmp_path / "bare.yaml"
    write_plan(plan, bare)
    assert read_plan(bare).digest == plan.digest
    edited = tmp_path / "edited.yaml"
    edited.write_text(plan_text(plan, reasons).replace("lowpass_hz: 8.0", "lowpass_hz: 7.0"))
    assert read_plan(edited).digest != plan.digest
    assert plan.model_copy(update={"left_out": {}}).digest == plan.digest


def test_an_edited_plan_is_never_replaced(tmp_path):
    plan, _ = propose(found(seen("ppg", (64.0, 10))))
    path = tmp_path / "plan.yaml"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="a plan already"):
        write_plan(plan, path)
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("preparation: [", "cannot be read"),
        ("- 1", "no mapping"),
        ("reader: x", "preparation"),
        ("version: 1\npreparation: {window_s: -1, hop_s: 1, modalities: {ppg: {sampling_rate_hz: 4}}}", "window_s"),
        ("version: 9\npreparation: {window_s: 1, hop_s: 1, modalities: {ppg: {sampling_rate_hz: 4}}}", "version"),
        ("typo: 1\npreparation: {window_s: 1, hop_s: 1, modalities: {ppg: {sampling_rate_hz: 4}}}", "typo"),
        ("!!python/object/apply:os.system [echo]", "cannot be read"),
        ("a: " + "x" * (1 << 20), "no mapping"),
    ],
)
def test_a_plan_that_cannot_be_speaks(tmp_path, text, words):
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_plan(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_plan(tmp_path / "none.yaml")


def test_yaml_of_a_plan_is_plain(tmp_path):
    tree = yaml.safe_load(plan_text(*propose(found(seen("acc", (32.0, 10))))))
    assert BuildPlan(**tree).preparation.modalities["acc"].sampling_rate_hz == 32


def visit(subject, seed, *, rate=64.0, seconds=120, device="belt"):
    generator = np.random.default_rng(seed)
    size = int(rate * seconds)
    return Visit(
        subject=subject,
        recordings={
            "ecg": Recording(
                modality="ecg",
                channels=(Channel("i", "mV"),),
                sampling_rate_hz=rate,
                start_ns=1,
                values=generator.normal(size=(1, size)).astype(np.float32),
                observed=np.ones(size, dtype=bool),
                subject=subject,
                device=device,
                body_site="chest",
            )
        },
        source="made",
    )


class Some:
    """An iterator that goes on after an error, as a cohort's does."""

    def __init__(self, *given):
        self.given = list(given)

    def __iter__(self):
        return self

    def __next__(self):
        if not self.given:
            raise StopIteration
        one = self.given.pop(0)
        if isinstance(one, Exception):
            raise one
        return one


A, B = "s" + "a" * 32, "s" + "b" * 32


def test_a_survey_counts_people_rates_and_what_was_refused():
    broken = ReaderError("The file is broken", where="P07 is here")
    many = survey(Some(visit(A, 1), broken, visit(A, 2, rate=32.0), visit(B, 3, device="patch")), total=4)
    assert (many.people, many.visits, many.formats) == (2, 3, (("made", 3),))
    assert many.refused == (("The file is broken", 1),)
    (ecg,) = many.modalities
    assert ecg.sampling_rates_hz == ((64.0, 2), (32.0, 1))
    assert ecg.devices == ("belt", "patch")
    assert ecg.hours == pytest.approx(0.1)
    words = " ".join(summary(many))
    assert "1 visit(s) refused" in words
    assert "rates differ" in words
    assert "P07" not in words + str(many.to_dict())


def test_a_survey_of_nothing_but_errors_is_that_error():
    with pytest.raises(ReaderError, match="broken"):
        survey(Some(ReaderError("The file is broken")))


def test_trouble_is_counted_by_visit():
    doubled = visit(A, 1)
    recording = doubled.recordings["ecg"]
    values = np.tile(recording.values, 2)
    twice = replace(recording, values=values, observed=np.ones(values.shape[1], dtype=bool))
    many = survey(Some(Visit(subject=A, recordings={"ecg": twice}, source="made"), visit(B, 2)))
    assert many.modalities[0].with_trouble == 1
    assert many.modalities[0].repeated_share == pytest.approx(0.5)
