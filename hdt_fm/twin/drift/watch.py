"""One person's days -> at most one open proposal. It only ever tells; who answers it decides what happens.

    watch = DriftWatch(modalities=("insulin", "meal"))
    proposal = watch.day(sums.close(), {"insulin": 4, "meal": 3})   # every day; None while all is as usual
    proposal = watch.wears("a digest")                              # what the record says of the device
    watch.answered()                                                # done or declined: the usual is learned anew
    kept = watch.state(); watch.restore(kept)                       # plain numbers

While a proposal is open no other is made. Four weeks are learned from before the first.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hdt_fm.schema.errors import ConfigError
from hdt_fm.twin.drift.cause import (
    DEVICE,
    DIRECTIONS,
    JOINED,
    LOST,
    LOST_SHARE,
    UNCLEAR,
    Direction,
    Own,
    Proposal,
)
from hdt_fm.twin.drift.detectors import Cusum
from hdt_fm.twin.drift.silence import Silence
from hdt_fm.twin.drift.usual import Usual

# A file of version 1 knew no amounts of doses and meals: they are unknown on its days.
VERSION, READ = 2, (1, 2)
# Groups of devices that somebody said are one, the newest of them, and so many of each.
ALIKE_KEPT = 16
# Days whose streams are remembered to say what changed since an onset; an older onset is told as this old.
REMEMBERED = 28
# A change that was just found looks larger than it is: its size is drawn in as for scores of this variance and a day's.
UNSURE = 0.25


class DriftWatch:
    """Detectors of one person, joined within one budget.

    Args:
        per_year: False alarms a year that is watched, of everything together.
        modalities: Kinds of records that are counted each day.
        streams: Further daily numbers to put into own SDs (`away`), such as the distance of embeddings; they raise no
            proposal.
        directions: How causes show; the usual ones are of glucose.

    Raises:
        ConfigError: If the budget is not above 0.
    """

    def __init__(
        self,
        *,
        per_year: float = 1.0,
        modalities: Sequence[str] = (),
        streams: Sequence[str] = (),
        directions: Sequence[Direction] = DIRECTIONS,
    ) -> None:
        if not 0 < per_year < np.inf:
            raise ConfigError(
                "A watch needs a budget of false alarms",
                where="DriftWatch.per_year",
                expected="a number above 0",
                got=f"{per_year:g}",
                fix="1 is one false proposal a year",
            )
        self.directions = tuple(directions)
        self.usual = Usual((*JOINED, *streams))
        self.cusum = {one.cause: Cusum(limit=one.limit_at(per_year)) for one in self.directions}
        lost = LOST_SHARE * per_year / max(len(modalities), 1)
        self.silence = {name: Silence(per_year=lost) for name in modalities}
        self.days, self.device, self.open = 0, "", False
        self.alike: tuple[tuple[str, ...], ...] = ()
        # What an open proposal of another device asks about, and the day on which it came.
        self._asked: tuple[str, int] | None = None
        self.away: dict[str, float] = {}
        self._recent: list[list[float]] = []

    def day(self, values: Mapping[str, float], counts: Mapping[str, int] | None = None) -> Proposal | None:
        """A day that is over.

        Args:
            values: `DaySums.close`, and further streams; what is NaN or missing is unknown that day.
            counts: Records of each modality; one that is missing is not judged that day.
        """
        today, self.days = self.days, self.days + 1
        self.away = self.usual.add(values)
        self._recent = [*self._recent, [self.away[name] for name in JOINED]][-REMEMBERED:]
        silent = [
            name for name, one in self.silence.items() if name in (counts or {}) and one.add((counts or {})[name])
        ]
        own = Own.of(self.usual.past[:, : len(JOINED)])
        passed = [one for one in self.directions if self.cusum[one.cause].add(one.score(self.away, own)[0])]
        if self.open or not (silent or passed):
            return None
        self.open = True
        if silent:
            return Proposal(LOST, today, max(0, today + 1 - self.silence[silent[0]].days), about=silent[0])
        highest = max(passed, key=lambda one: self.cusum[one.cause].height / self.cusum[one.cause].limit)
        return self._named(highest, today, own)

    def wears(self, device: str, *, today: int | None = None) -> Proposal | None:
        """What the record says of the device (or its firmware) from a day on, else from the one that is not over yet.

        Another than before is a proposal to ask about it, unless somebody said that both are one. A state holds what is
        given here: give a digest, since a name may name a person. While another proposal is open a change waits.
        """
        if self.open or not device:
            return None
        if not self.device or any({device, self.device} <= set(group) for group in self.alike):
            self.device = device
        if device == self.device:
            return None
        since = max(self.days, today or 0)
        self.open, self._asked = True, (device, since)
        return Proposal(DEVICE, since, since)

    def answered(self, *, accepted: bool = True) -> None:
        """The open proposal was answered: what is usual is learned anew, as after any change.

        Of another device, what came since is learned from already, and records go on being counted; where that is
        declined both are one device, and nothing is learned anew.
        """
        self.open, asked = False, self._asked
        if asked is None:
            self._begin_anew(0)
            for one in self.silence.values():
                one.clear()
            return
        device, since = asked
        if accepted:
            self._begin_anew(max(self.days - since, 0))
        else:
            self._are_one(self.device, device)
        self.device, self._asked = device, None

    def wears_as(self, other: "DriftWatch") -> None:
        """Know the devices of another watch of the same person: which one is worn, and which are one."""
        self.device, self.alike = other.device, other.alike

    def state(self) -> dict[str, Any]:
        """Plain numbers and names, the same size whatever the days."""
        recent = [[one if np.isfinite(one) else None for one in row] for row in self._recent]
        return {
            "version": VERSION,
            "days": self.days,
            "device": self.device,
            "alike": [list(group) for group in self.alike],
            "asked": None if self._asked is None else list(self._asked),
            "open": self.open,
            "recent": recent,
            "usual": self.usual.state(),
            "cusum": {name: one.state() for name, one in self.cusum.items()},
            "silence": {name: one.state() for name, one in self.silence.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`, of a watch that was made alike.

        Raises:
            ConfigError: If it is of another version or of other streams, causes or modalities, or is harmed.
        """
        wanted = {"cusum": set(self.cusum), "silence": set(self.silence)}
        if state.get("version") not in READ or any(set(state.get(name, ())) != known for name, known in wanted.items()):
            raise ConfigError(
                "What was kept of a watch does not fit",
                where="DriftWatch.restore",
                expected=f"version up to {VERSION}, causes {sorted(self.cusum)}, modalities {sorted(self.silence)}",
                got=f"version {state.get('version')}, causes {sorted(state.get('cusum', ()))}, "
                f"modalities {sorted(state.get('silence', ()))}",
                fix="make the watch as it was made when it was written",
            )
        try:
            self._restore(state)
        except (KeyError, TypeError, ValueError) as wrong:
            raise ConfigError(
                "What was kept of a watch cannot be read",
                where="DriftWatch.restore",
                expected="what DriftWatch.state wrote",
                got=type(wrong).__name__,
                fix="take it from the same file as the rest of the twin, unchanged",
            ) from None

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.days, self.device, self.open = int(state["days"]), str(state["device"]), bool(state["open"])
        self.alike = tuple(tuple(str(one) for one in group) for group in state.get("alike", ()))
        asked = state.get("asked")
        self._asked = None if asked is None else (str(asked[0]), int(asked[1]))
        # Rows of version 1 are shorter: streams that were added stand at the end.
        rows = [[np.nan if one is None else float(one) for one in row] for row in state["recent"]]
        self._recent = [(row + [np.nan] * len(JOINED))[: len(JOINED)] for row in rows]
        self.usual.restore(state["usual"])
        for name, cusum in self.cusum.items():
            cusum.restore(state["cusum"][name])
        for name, one in self.silence.items():
            one.restore(state["silence"][name])

    def _are_one(self, *devices: str) -> None:
        """Join the groups that they are in; one that was accepted as another stays apart."""
        joined = [group for group in self.alike if set(devices) & set(group)]
        apart = [group for group in self.alike if group not in joined]
        found = dict.fromkeys(name for group in (*joined, devices) for name in group)
        self.alike = (*apart, tuple(found)[-ALIKE_KEPT:])[-ALIKE_KEPT:]

    def _begin_anew(self, days: int) -> None:
        """Learn what is usual, of so many newest days to begin with."""
        self.usual.keep(days)
        self._recent = self._recent[len(self._recent) - min(days, len(self._recent)) :]
        for cusum in self.cusum.values():
            cusum.clear()

    def _named(self, passed: Direction, today: int, own: Own) -> Proposal:
        """Which cause the days since the onset lie along, and how far."""
        since = min(max(self.cusum[passed.cause].days, 1), len(self._recent))
        rows = np.array(self._recent[-since:])
        counts = np.isfinite(rows).sum(axis=0)
        mean = np.where(counts > 0, np.where(np.isfinite(rows), rows, 0.0).sum(axis=0) / np.maximum(counts, 1), np.nan)
        away = dict(zip(JOINED, mean.tolist(), strict=True))
        along = {one.cause: one.score(away, own) for one in self.directions}
        found = [one for one in self.directions if np.isfinite(along[one.cause][0])]
        # Whichever passed its limit first: what they lie along the most.
        named = max(found, key=lambda one: abs(along[one.cause][0]), default=passed)
        factor = None
        if named.cause != UNCLEAR:
            score, strength = along[named.cause]
            drawn_in = strength**2 / (strength**2 + UNSURE + 1 / since)
            factor = float(np.exp(named.size * drawn_in * score / strength))
        evidence = sorted(
            ((name, value) for name, value in away.items() if np.isfinite(value)), key=lambda one: -abs(one[1])
        )
        return Proposal(named.cause, today, today + 1 - since, factor=factor, evidence=tuple(evidence))
