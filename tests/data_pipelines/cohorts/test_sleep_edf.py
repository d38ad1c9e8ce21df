"""Sleep-EDF: nights as they were scored, cut to the sleep and its edges; two nights are one person's."""

from datetime import UTC, datetime

import edfio
import numpy as np
import pytest

from data_pipelines.cohorts.sleep_edf import CLASSES, SleepEdf
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S
from hdt_fm.schema.subject import SubjectKey

START_NS = int(datetime(1989, 4, 24, 16, 13, tzinfo=UTC).timestamp()) * NS_PER_S


def visits_of(folder, **arguments):
    return SleepEdf(path=str(folder), subject_key="public", **arguments).visits()


def seconds(track):
    """(class, begin, end) from the start of the cassette."""
    times = zip(track.start_ns.tolist(), track.end_ns.tolist(), strict=True)
    found = [((a - START_NS) / NS_PER_S, (b - START_NS) / NS_PER_S) for a, b in times]
    return [(track.classes[int(value)], *span) for value, span in zip(track.values, found, strict=True)]


def test_sleep_and_half_an_hour_on_either_side(public, tmp_path):
    public.sleep_edf(tmp_path)
    (visit,) = visits_of(tmp_path)
    assert list(visit.recordings) == ["eeg", "eog"]
    eeg, eog = visit.recordings["eeg"], visit.recordings["eog"]
    assert (eeg.sampling_rate_hz, [channel.name for channel in eeg.channels]) == (100, ["EEG Fpz-Cz", "EEG Pz-Oz"])
    # Asleep from 2400 to 3600 s.
    for recording in (eeg, eog):
        assert (recording.start_ns - START_NS, recording.end_ns - START_NS) == (600 * NS_PER_S, 5400 * NS_PER_S)
        assert recording.observed.all()
    # The 20th to 179th half minute, in uV, within a step of the file.
    assert eeg.values[0].reshape(-1, 3000).mean(axis=1) == pytest.approx(np.arange(20, 180) - 100, abs=0.01)
    assert eeg.values[0].reshape(-1, 3000).std(axis=1).max() < 0.01
    assert eog.values[0, 50] == pytest.approx(80 * np.sin(2 * np.pi * 0.5 * 600.5), abs=0.01)


@pytest.mark.parametrize(
    ("edge_s", "begin", "end"), [(0.0, 2400, 3600), (300.0, 2100, 3900), (36_000.0, 0, 6000), (None, 0, 6000)]
)
def test_other_edges(public, tmp_path, edge_s, begin, end):
    public.sleep_edf(tmp_path)
    (visit,) = visits_of(tmp_path, wake_edge_s=edge_s)
    eeg = visit.recordings["eeg"]
    assert (eeg.start_ns - START_NS, eeg.end_ns - START_NS) == (begin * NS_PER_S, end * NS_PER_S)


def test_stages_have_words_and_deep_sleep_is_one(public, tmp_path):
    public.sleep_edf(tmp_path)
    track = next(visits_of(tmp_path)).labels["stage"]
    assert track.classes == CLASSES
    assert seconds(track) == [
        ("wake", 0, 2400),
        ("n1", 2400, 2520),
        ("n2", 2520, 3000),
        ("n3", 3000, 3120),
        ("n3", 3120, 3210),
        ("rem", 3240, 3600),
        ("wake", 3600, 5700),
    ]


def test_two_nights_are_of_one_person(public, tmp_path):
    # 39 years in the first night and 40 in the second, as a birthday may lie between.
    public.sleep_edf(tmp_path, person=5, night=1, years=39)
    public.sleep_edf(tmp_path, person=5, night=2, years=40)
    public.sleep_edf(tmp_path, person=82, night=1)
    first, second, other = visits_of(tmp_path / "sleep-cassette")
    key = SubjectKey.public()
    assert [visit.subject for visit in (first, second, other)] == [
        key.pseudonym("sleep_edf", person) for person in ("05", "05", "82")
    ]
    assert first.covariates == second.covariates == {"sex": "F", "age_band": "30-39"}
    assert second.recordings["eeg"].start_ns - first.recordings["eeg"].start_ns == 86_400 * NS_PER_S
    assert len(SleepEdf(path=str(tmp_path)).inputs()) == 6
    assert len(visits_of(tmp_path, limit=2)) == 2


def test_one_derivation(public, tmp_path):
    public.sleep_edf(tmp_path)
    (visit,) = visits_of(tmp_path, derivations=["Pz-Oz"])
    assert [channel.name for channel in visit.recordings["eeg"].channels] == ["EEG Pz-Oz"]
    with pytest.raises(ReaderError, match=r"lacks a signal(.|\n)*EEG Cz-Oz(.|\n)*EEG Fpz-Cz, EEG Pz-Oz"):
        next(visits_of(tmp_path, derivations=["Cz-Oz"]))


NIGHT = (0, 2400, "Sleep stage W"), (2400, 600, "Sleep stage 2")


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ((NIGHT[0],), "does not fit its recording(.|\n)*no sleep"),
        ((*NIGHT, (6000, 600, "Sleep stage R")), "does not fit its recording(.|\n)*after its end"),
        ((*NIGHT, (3000, 30, "Sleep stage 9")), "does not hold the stages(.|\n)*1 of 3"),
        ((*NIGHT, (3000, None, "Sleep stage R")), "does not hold the stages(.|\n)*1 of 3"),
        (((0, 30, "Lights off"),), "does not hold the stages(.|\n)*0 of 0"),
    ],
)
def test_hypnograms_that_do_not_fit_are_said_and_stop_nobody_else(public, tmp_path, stages, message):
    public.sleep_edf(tmp_path, 77, stages=stages)
    public.sleep_edf(tmp_path, 78)
    visits = visits_of(tmp_path)
    with pytest.raises(ReaderError, match=message) as caught:
        next(visits)
    assert "77" not in str(caught.value)
    assert "what to do" in str(caught.value)
    assert next(visits).recordings


def test_files_that_are_missing_cut_off_or_of_another_night(public, tmp_path):
    psgs = [public.sleep_edf(tmp_path, person) for person in range(6)]
    hypnograms = [path.with_name(path.name.replace("0-PSG", "C-Hypnogram")) for path in psgs]
    hypnograms[0].unlink()
    hypnograms[1].with_name(hypnograms[1].name.replace("C-", "D-")).write_bytes(hypnograms[1].read_bytes())
    hypnograms[2].write_bytes(hypnograms[2].read_bytes()[:-40])
    psgs[3].write_bytes(psgs[3].read_bytes()[:-5000])
    late = edfio.read_edf(hypnograms[4])
    late.starttime = late.starttime.replace(minute=14)
    late.write(hypnograms[4])
    visits = visits_of(tmp_path)
    for message in ("one hypnogram(.|\n)*got: 0", "one hypnogram(.|\n)*got: 2", "comply", "comply", "different times"):
        with pytest.raises(ReaderError, match=message) as caught:
            next(visits)
        assert "SC40" not in str(caught.value)
    assert next(visits).recordings


def test_a_folder_of_other_things(tmp_path):
    with pytest.raises(ReaderError, match=r"holds no night(.|\n)*SC4ssNxx-PSG\.edf"):
        visits_of(tmp_path)
