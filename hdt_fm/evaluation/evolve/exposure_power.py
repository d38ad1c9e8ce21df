"""From which size on an effect would be found: outcomes of real people with a known effect put in.

The outcome is each person's own, moved along the days on which it is known, so that whatever tied it to the exposure is
lost and its level, noise and slowness stay; then so many of its standard deviations are added for each standard
deviation of a real dose. At size 0 nothing is added, and what is still found are false alarms.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from hdt_fm.evaluation.evolve.exposure_doses import PLACEBOS, DailyRecords, moved
from hdt_fm.evaluation.evolve.exposure_ridge import DoseRidge, within
from hdt_fm.evaluation.evolve.exposure_rows import Asked, Protocol, asked_rows, calendar_at, doses_at
from hdt_fm.evaluation.evolve.real_exposure import LEVEL, Tried, family_best, standard
from hdt_fm.schema.result import Row

SIZES_SD = (0.0, 0.1, 0.2, 0.3, 0.5)


@dataclass(frozen=True)
class Power:
    """How often an effect of each size was found.

    Attributes:
        alone, in_table: size -> of each repeat, whether it was: by itself, and among all that the table tries.
        people: On whom it rests.
    """

    alone: Mapping[float, np.ndarray]
    in_table: Mapping[float, np.ndarray]
    people: int

    def rows(self, what: str) -> list[Row]:
        """A row a size, with its 95 % interval over repeats."""
        found = []
        for metric, table in (("found by itself", self.alone), ("found in the table", self.in_table)):
            for size, hits in table.items():
                low, high = share_interval(int(hits.sum()), len(hits))
                row = Row(
                    what=what,
                    model=f"effect {size:g} SD",
                    metric=metric,
                    value=float(hits.mean()),
                    low=low,
                    high=high,
                    n=self.people,
                    role="reference",
                    columns={"repeats": len(hits)},
                )
                found.append(row)
        return found


def share_interval(hits: int, repeats: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    share, z2 = hits / repeats, 1.96**2
    middle = share + z2 / (2 * repeats)
    half = 1.96 * np.sqrt(share * (1 - share) / repeats + z2 / (4 * repeats**2))
    low, high = (middle - half) / (1 + z2 / repeats), (middle + half) / (1 + z2 / repeats)
    # At the ends rounding would leave the share itself outside.
    return min(float(low), share), max(float(high), share)


def power(
    records: DailyRecords,
    exposure: str,
    outcome: str,
    tried: Sequence[Tried],
    protocol: Protocol,
    *,
    repeats: int,
    sizes_sd: Sequence[float] = SIZES_SD,
    dose: int = 2,
) -> Power:
    """Put effects of a dose in and ask the protocol, without the days after.

    Args:
        tried: The table of the same records; the best of it by placebo is what must be beaten there.
        dose: Which of the accumulator's doses acts; the default's third is the leaky mean of seven days.
    """
    asked = asked_rows(records, exposure, outcome, protocol)
    outcomes = _with_effects(records, asked, protocol, repeats=repeats, sizes_sd=sizes_sd, dose=dose)
    alone = np.zeros((len(PLACEBOS), outcomes.shape[1]))
    in_table = np.zeros_like(alone)
    for place, kind in enumerate(PLACEBOS):
        (doses,) = doses_at(records, [asked], kind, protocol)
        gains = DoseRidge(calendar_at(records, asked), doses, asked.fold(protocol)).explained(outcomes)
        alone[place], in_table[place] = _p_values(gains, family_best(tried, kind))
    found = [(p.max(axis=0) < LEVEL).reshape(len(sizes_sd), repeats) for p in (alone, in_table)]
    by_itself, among_all = (dict(zip(sizes_sd, table, strict=True)) for table in found)
    return Power(by_itself, among_all, people=asked.people)


def _with_effects(
    records: DailyRecords, asked: Asked, protocol: Protocol, *, repeats: int, sizes_sd: Sequence[float], dose: int
) -> Float64[np.ndarray, "row case"]:
    rng = np.random.default_rng([protocol.seed, len(PLACEBOS)])
    worlds = moved(
        records.outcomes[asked.outcome],
        kind="moved in time",
        group=records.group,
        draws=repeats,
        rng=rng,
    )
    plain = within(worlds[:, asked.person, asked.day + 1].T, asked.person)
    real = protocol.accumulate(records.exposures[asked.exposure])[asked.person, asked.day][:, [dose]]
    acting = within(real, asked.person)
    acting = acting / max(float(acting.std()), 1e-12)
    return np.concatenate([plain + size * plain.std(axis=0) * acting for size in sizes_sd], axis=1)


def _p_values(
    gains: Float64[np.ndarray, "draw case"], best: Float64[np.ndarray, " world"]
) -> tuple[np.ndarray, np.ndarray]:
    """Of each case alone, and against the best of the table in each placebo world."""
    alone = (gains >= gains[0]).mean(axis=0)
    scores = np.array([standard(one)[0] for one in gains.T])
    in_table = (1 + (best[:, None] >= scores).sum(axis=0)) / (1 + len(best))
    return alone, in_table
