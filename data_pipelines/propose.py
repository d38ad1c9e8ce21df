"""A survey -> what to make of these recordings: rates, filters and windows, each with its reason."""

from collections.abc import Iterator
from dataclasses import dataclass

from data_pipelines.build_plan import BuildPlan, Reason
from data_pipelines.survey import ModalitySurvey, Survey
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.modalities import modality as look_up_modality
from hdt_fm.schema.preparation import ModalityPreparation, Preparation

DAY_S = 86_400.0


@dataclass(frozen=True)
class _Rule:
    """What a kind of signal needs: no more than `rate_hz`, and this band of it."""

    rate_hz: float
    highpass_hz: float | None
    lowpass_hz: float | None
    why: str


_INERTIAL = _Rule(50, None, 20, "human movement lies below 20 Hz")
_BRAIN = _Rule(100, 0.3, 35, "sleep is scored from 0.3 to 35 Hz")
_RULES = {
    "ppg": _Rule(32, 0.4, 8, "pulses from 24 a minute on, with their shape, lie between 0.4 and 8 Hz"),
    "ecg": _Rule(125, 0.5, 40, "the QRS complex lies below 40 Hz; below 0.5 Hz the baseline wanders"),
    "resp": _Rule(12.5, 0.05, 2, "breaths from 3 a minute on lie between 0.05 and 2 Hz"),
    "abp": _Rule(62.5, None, 20, "the shape of a pressure pulse lies below 20 Hz"),
    "cvp": _Rule(62.5, None, 20, "the shape of a pressure pulse lies below 20 Hz"),
    "emg": _Rule(250, 20, None, "movement of the electrodes lies below 20 Hz"),
    "eeg": _BRAIN,
    "eog": _BRAIN,
    "acc": _INERTIAL,
    "gyro": _INERTIAL,
    "mag": _Rule(25, None, 10, "turning of the body lies below 10 Hz"),
    "eda": _Rule(4, None, 1, "skin conductance responses rise within 1 to 3 s"),
    "temp": _Rule(1, None, None, "skin warms and cools over minutes"),
}
_SLOW = _Rule(1, None, None, "the device gives a number, not a wave")
_RATES_HZ = (250, 200, 128, 125, 100, 64, 62.5, 50, 32, 25, 16, 12.5, 10, 8, 5, 4, 2, 1)
# A rate that so few visits have is an outlier, not what everyone is brought down to.
_RARE = 0.05
_SLOWEST_WINDOWED_HZ = 0.1
_CLEAR = 2 / 3
_FEWEST_WINDOWS = 4
_SHORTER_S = (30.0, 10.0, 5.0, 2.0)


def propose(found: Survey) -> tuple[BuildPlan, tuple[Reason, ...]]:
    """A plan to begin with, and why it is so; a person looks at it and changes what they know better.

    Raises:
        ConfigError: If nothing in the recordings can be cut into windows.
    """
    slow_only = all(_rate(one)[0] < _SLOWEST_WINDOWED_HZ for one in found.modalities)
    window_s, hop_s, why = _window(found, slow_only)
    settings, reasons, left_out = {}, [Reason("window_s", why)], {}
    for one in found.modalities:
        if _rate(one)[0] * window_s < 2:
            period = 1 / _rate(one)[0]
            left_out[one.modality] = f"one value in {period:g} s: too slow for these windows; give it a plan of its own"
            continue
        settings[one.modality], because = _settings(one, window_s)
        reasons += because
    if not settings:
        raise ConfigError(
            "Nothing in these recordings can be cut into windows",
            expected="a modality with at least two values a window",
            got=", ".join(f"{one.modality} at {_rate(one)[0]:g} Hz" for one in found.modalities) or "no modality",
            fix="look at the fingerprint, and write the preparation by hand",
        )
    reader, share = (found.formats[0][0], found.formats[0][1]) if found.formats else ("auto", 0)
    mixed = len(found.formats) > 1
    words = f"{share} of {found.visits} visits" + (": each visit by its own format" if mixed else "")
    plan = BuildPlan(
        reader="auto" if mixed else reader,
        preparation=Preparation(window_s=window_s, hop_s=hop_s, modalities=settings),
        left_out=left_out,
    )
    return plan, (Reason("reader", words), *reasons)


def _rate(one: ModalitySurvey) -> tuple[float, str]:
    """The lowest rate that is no outlier: nothing is sampled up to look finer than it was."""
    usual = [rate for rate, visits in one.sampling_rates_hz if visits >= _RARE * one.visits]
    lowest = min(usual)
    others = len(one.sampling_rates_hz) - 1
    return lowest, f"recorded at {lowest:g} Hz" + (f", in some visits at {others} other rate(s)" if others else "")


def _window(found: Survey, slow_only: bool) -> tuple[float, float, str]:
    kinds = {look_up_modality(one.modality).kind for one in found.modalities}
    if slow_only:
        return DAY_S, DAY_S / 4, "a day: meals, sleep and activity repeat daily"
    if kinds & {"eeg", "eog"}:
        window_s, hop_s, why = 30.0, 30.0, "sleep is scored in stretches of 30 s"
    elif kinds <= {"acc", "gyro", "mag", "device_temp", "light", "pressure"}:
        window_s, hop_s, why = 10.0, 5.0, "a few steps or strokes of a movement"
    elif kinds & {"eda", "temp"}:
        window_s, hop_s, why = 60.0, 30.0, "holds several skin conductance responses"
    else:
        window_s, hop_s, why = 30.0, 15.0, "holds at least three breaths and twenty beats"
    length_s = found.visit_hours * 3600
    if length_s < _FEWEST_WINDOWS * window_s:
        shorter = next((s for s in _SHORTER_S if s < window_s and length_s >= _FEWEST_WINDOWS * s), _SHORTER_S[-1])
        return shorter, shorter / 2, f"visits last {length_s:.0f} s in the median: few windows of {window_s:g} s"
    return window_s, hop_s, why


def _settings(one: ModalitySurvey, window_s: float) -> tuple[ModalityPreparation, list[Reason]]:
    rule = _RULES.get(look_up_modality(one.modality).kind, _SLOW)
    recorded_hz, words = _rate(one)
    rate = _whole(min(recorded_hz, rule.rate_hz), window_s)
    lowpass = rule.lowpass_hz if rule.lowpass_hz is not None and rule.lowpass_hz < 0.47 * rate else None
    highpass = rule.highpass_hz if rule.highpass_hz is not None and rule.highpass_hz < rate / 2 else None
    where = f"modalities.{one.modality}"
    reasons = [Reason(f"{where}.sampling_rate_hz", f"{words}; {rule.why}")]
    if lowpass is None and rule.lowpass_hz is not None:
        reasons.append(Reason(f"{where}.lowpass_hz", f"open: {rate:g} Hz holds nothing above {rate / 2:g} Hz anyway"))
    channels = min(one.channels)
    if len(one.channels) > 1:
        numbers = ", ".join(map(str, one.channels))
        reasons.append(Reason(f"{where}.channels", f"visits have {numbers}; those with another number are left out"))
    inverted, because = _invert(one)
    reasons += [Reason(f"{where}.invert", because)] if because else []
    made = ModalityPreparation(
        sampling_rate_hz=rate, highpass_hz=highpass, lowpass_hz=lowpass, channels=channels, invert=inverted
    )
    return made, reasons


def _whole(rate_hz: float, window_s: float) -> float:
    """The nearest rate below that gives a window a whole number of samples."""
    for rate in _RATES_HZ:
        if rate <= rate_hz * (1 + 1e-6) and abs(window_s * rate - round(window_s * rate)) < 1e-9:
            return float(rate)
    return max(2, int(window_s * rate_hz * (1 + 1e-9))) / window_s


def _invert(one: ModalitySurvey) -> tuple[bool, str]:
    clear = one.inverted + one.upright
    if not clear:
        return False, ""
    if one.inverted >= _CLEAR * clear:
        return True, f"pulses are upside down in {one.inverted} of {one.visits} visits"
    if one.upright >= _CLEAR * clear:
        return False, f"pulses are upright in {one.upright} of {one.visits} visits"
    return False, f"upside down in {one.inverted}, upright in {one.upright} of {one.visits} visits: look first"


def summary(found: Survey) -> Iterator[str]:
    """Words of warning that concern the folder as a whole."""
    for problem, visits in found.refused:
        yield f"{visits} visit(s) refused: {problem}"
    for one in found.modalities:
        if one.with_trouble:
            yield f"{one.modality}: {one.with_trouble} of {one.visits} visits with trouble"
        if len(one.sampling_rates_hz) > 1:
            rates = ", ".join(f"{rate:g} Hz ({visits})" for rate, visits in one.sampling_rates_hz[:4])
            yield f"{one.modality}: rates differ between visits: {rates}"
        if len(one.units) > 1:
            yield f"{one.modality}: units differ between visits: {', '.join(one.units)}"
