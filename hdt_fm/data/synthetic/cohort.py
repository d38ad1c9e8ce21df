"""The simulated cohort: visits made from latent bodies, and the truth behind each."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from hdt_fm.data.synthetic.body import Truth, simulate_body
from hdt_fm.data.synthetic.labels import label_tracks
from hdt_fm.data.synthetic.person import draw_person
from hdt_fm.data.synthetic.plan import EVENTS, draw_plan
from hdt_fm.data.synthetic.processes import Array, draw_missing, stream
from hdt_fm.data.synthetic.sensors import (
    COUPLING_LOWPASS_HZ,
    MOVED,
    RATES_HZ,
    STILL,
    acceleration,
    motion_artefact,
)
from hdt_fm.schema.errors import ConfigError, unknown_name
from hdt_fm.schema.modalities import modality
from hdt_fm.schema.recording import NS_PER_S, Channel, Recording, Visit, recording_arrays
from hdt_fm.schema.subject import SubjectKey

FIRST_DAY_NS = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()) * NS_PER_S
SHORTEST_HOURS = 0.05
AXES: Mapping[str, tuple[str, ...]] = {"acc": ("x", "y", "z")}
BODY_SITES: Mapping[str, str] = {"ecg": "chest", "glucose": "arm"}


class Synthetic:
    """Simulated people with known truth; implements the Cohort protocol.

    Person i depends on (seed, i) alone: more people, fewer modalities or another event left out change
    nothing else. The states and sensors are described in `hdt_fm.data.synthetic`.

    Args:
        subjects: How many people; one visit each.
        hours: Length of each visit.
        seed: Whole number from 0; another seed is another population.
        missing_modality: Chance that a person lacks a modality entirely (two at least are kept).
        gap_rate_per_hour: Mean number of gaps per hour and modality.
        motion: Multiplier of movement, and so of every motion artefact; 0 for a person who sits still.
        modalities: Which sensors are worn.
        without: Kinds of events left out ("stress", "walk", "light", "meal", "insulin") with every random number
            kept: the difference to the full run is the true effect of those events.
        subject_key: Accepted since every cohort has it; simulated people need no secret.

    Raises:
        ConfigError: If a number is out of its range.
        UnknownNameError: If a modality or a kind of event is not known.
    """

    name = "synthetic"
    licence = "CC0-1.0"
    source = "simulated"

    def __init__(
        self,
        *,
        subjects: int = 16,
        hours: float = 1.0,
        seed: int = 0,
        missing_modality: float = 0.15,
        gap_rate_per_hour: float = 1.0,
        motion: float = 1.0,
        modalities: Sequence[str] = tuple(RATES_HZ),
        without: Sequence[str] = (),
        subject_key: str = "public",
    ) -> None:
        _check("subjects", subjects, subjects >= 1, "1 or more")
        _check("hours", hours, hours >= SHORTEST_HOURS, f"at least {SHORTEST_HOURS}")
        _check("seed", seed, seed >= 0, "0 or more")
        _check("missing_modality", missing_modality, 0 <= missing_modality < 1, "from 0 to below 1")
        _check("gap_rate_per_hour", gap_rate_per_hour, gap_rate_per_hour >= 0, "0 or more")
        _check("motion", motion, motion >= 0, "0 or more")
        _check_names("modality of the simulation", modalities, tuple(RATES_HZ))
        _check_names("kind of event", without, EVENTS)
        _check("modalities", len(modalities), len(modalities) >= 1, "one name or more")
        self.subjects, self.hours, self.seed = subjects, float(hours), seed
        self.missing_modality, self.gap_rate_per_hour = float(missing_modality), float(gap_rate_per_hour)
        self.motion, self.modalities, self.without = float(motion), tuple(modalities), tuple(without)

    def visits(self) -> Iterator[Visit]:
        """Simulate one visit per person, in the order of their index."""
        for index in range(self.subjects):
            yield self._visit(index)

    def inputs(self) -> list[Path]:
        """No files: everything follows from the settings."""
        return []

    def truth(self, subject_index: int) -> Truth:
        """The latent states behind visit number `subject_index`.

        Raises:
            ConfigError: If there is no such person.
        """
        _check("subject_index", subject_index, 0 <= subject_index < self.subjects, f"from 0 to {self.subjects - 1}")
        person = draw_person(stream(self.seed, subject_index, "person"))
        duration_s = self.hours * 3600.0
        plan = draw_plan(stream(self.seed, subject_index, "plan"), person, duration_s, without=self.without)
        # Whole seconds, one day apart per person.
        start_s = round(person.start_hour * 3600.0) + 86_400 * (subject_index % 365)
        return simulate_body(
            stream(self.seed, subject_index, "body"),
            person,
            plan,
            duration_s,
            subject=SubjectKey.public().pseudonym(self.name, f"{self.seed}:{subject_index}"),
            start_ns=FIRST_DAY_NS + start_s * NS_PER_S,
        )

    def _visit(self, index: int) -> Visit:
        truth = self.truth(index)
        worn = self._worn(index)
        # Temperature and glucose are the two that movement does not reach.
        moving = np.zeros((3, 0))
        if not worn <= set(STILL):
            moving = acceleration(truth, stream(self.seed, index, "acc"), self.motion)
        gaps = self._gap_streams(index)
        recordings = {}
        for name in self.modalities:
            if name in worn:
                values = moving if name == "acc" else self._sensed(name, truth, index, moving)
                recordings[name] = self._recording(name, truth, values, gaps[name])
        covariates = {"sex": truth.person.sex, "age_band": truth.person.age_band}
        return Visit(truth.subject, recordings, label_tracks(truth), covariates, truth.subject, self.source)

    def _sensed(self, name: str, truth: Truth, index: int, moving: Array) -> Array:
        generator = stream(self.seed, index, name)
        if name in STILL:
            return STILL[name](truth, generator)
        cutoff = COUPLING_LOWPASS_HZ[name]
        artefact = motion_artefact(moving, generator, truth, rate_hz=RATES_HZ[name], lowpass_hz=cutoff)
        return MOVED[name](truth, generator, artefact)

    def _recording(self, name: str, truth: Truth, raw: Array, generator: np.random.Generator) -> Recording:
        rate = RATES_HZ[name]
        missing = draw_missing(generator, raw.shape[1], rate, gaps_per_hour=self.gap_rate_per_hour)
        unit = modality(name).unit
        values, observed = recording_arrays(raw, modality=name, unit=unit, missing=missing)
        return Recording(
            modality=name,
            channels=tuple(Channel(axis, unit) for axis in AXES.get(name, (name,))),
            sampling_rate_hz=rate,
            start_ns=truth.start_ns,
            values=values,
            observed=observed,
            subject=truth.subject,
            device="simulated",
            body_site=BODY_SITES.get(name, "wrist"),
            utc_offset_s=0,
        )

    def _worn(self, index: int) -> set[str]:
        """Modalities that this person has. All six chances are drawn always, so that they do not depend on the list."""
        chances = dict(zip(RATES_HZ, stream(self.seed, index, "presence").uniform(size=len(RATES_HZ)), strict=True))
        surest = sorted(self.modalities, key=lambda name: -chances[name])[:2]
        return {name for name in self.modalities if chances[name] >= self.missing_modality} | set(surest)

    def _gap_streams(self, index: int) -> dict[str, np.random.Generator]:
        return dict(zip(RATES_HZ, stream(self.seed, index, "gaps").spawn(len(RATES_HZ)), strict=True))


def _check(name: str, value: float | int, is_fine: bool, expected: str) -> None:
    if not is_fine:
        raise ConfigError(f"{name} is out of its range", where="cohorts/synthetic", expected=expected, got=str(value))


def _check_names(kind: str, given: Sequence[str], known: tuple[str, ...]) -> None:
    for name in given:
        if name not in known:
            raise unknown_name(kind, name, known, where="cohorts/synthetic")
