"""Made-up people for controls of the audits: with a signature that an audit must find, or with none."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hdt_fm.schema.preparation import ModalityPreparation, Preparation
from hdt_fm.schema.recording import NS_PER_S, Channel, Recording, Visit
from hdt_fm.schema.subject import SubjectKey

RATES = {"ppg": 16.0, "acc": 16.0}
CHANNELS = {"ppg": 1, "acc": 3}
PREPARATION = Preparation(
    window_s=4,
    hop_s=4,
    modalities={
        name: ModalityPreparation(sampling_rate_hz=rate, channels=CHANNELS[name]) for name, rate in RATES.items()
    },
)
START_NS = 1_600_000_000 * NS_PER_S
BETWEEN_VISITS_S = 86_400


class SignatureCohort:
    """People of one law: noise and a rhythm that all have, whose rate wanders from window to window.

    With `signature`, each person has a second rhythm of an own rate in every modality, the same on every visit: what
    tells people apart and nothing else. Without, no window says whose it is.

    Args:
        signature: Amplitude of the own rhythm, in units of the noise.
        visits: Of each person, a day apart.
        seconds: Of each visit.
    """

    name, licence, source = "signatures", "CC0-1.0", "simulated"

    def __init__(self, people: int, *, signature: float, visits: int = 2, seconds: int = 80, seed: int = 0) -> None:
        self.people, self.signature, self.each, self.seconds, self.seed = people, signature, visits, seconds, seed

    def inputs(self) -> list[Path]:
        """No files."""
        return []

    def visits(self) -> Iterator[Visit]:
        """Visit after visit of person after person."""
        key = SubjectKey.public()
        for person in range(self.people):
            subject = key.pseudonym(self.name, f"{self.seed}-{person}")
            for visit in range(self.each):
                start_ns = START_NS + visit * BETWEEN_VISITS_S * NS_PER_S
                yield Visit(subject, {name: self._recording(name, person, visit, subject, start_ns) for name in RATES})

    def _recording(self, name: str, person: int, visit: int, subject: str, start_ns: int) -> Recording:
        rate, channels = RATES[name], CHANNELS[name]
        # Of a person's visit both modalities hear the same wandering rhythm; their noise is their own.
        shared = np.random.default_rng([self.seed, person, visit])
        own = np.random.default_rng([self.seed, person, visit, len(name), channels])
        samples = int(self.seconds * rate)
        time_s = np.arange(samples) / rate
        wandering = np.interp(
            time_s, np.arange(0, self.seconds + 4, 4), shared.uniform(1.0, 2.0, self.seconds // 4 + 1)
        )
        rhythm = np.sin(2 * np.pi * np.cumsum(wandering) / rate)
        rate_hz = 3.0 + 4.0 * np.random.default_rng([self.seed, person]).uniform()
        signature = self.signature * np.sin(2 * np.pi * rate_hz * time_s)
        values = (rhythm + signature + own.normal(size=(channels, samples))).astype(np.float32)
        axes = tuple(Channel(f"axis{axis}", "au") for axis in range(channels))
        observed = np.ones(samples, dtype=np.bool_)
        return Recording(name, axes, rate, start_ns, values, observed, subject, "made", "wrist")
