"""What a person's own truths have taught, as sums and plain numbers that go on where they were left.

The rule, the same whichever way readings come in. A forecast is made at every half hour of the clock (the head's
`every_s`) at which enough is known, of what was read up to then. Its truth is what stands on the clock a horizon later.
The interval moves as soon as a truth has come. The corrections of the head's answers are renewed at each midnight of
the recordings' clock, by the truths that had come until then.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from hdt_fm.metrics.conformal import HASTE, OnlineShift
from hdt_fm.metrics.events import Event, risk_of
from hdt_fm.schema.series import DAY_S
from hdt_fm.twin.forecast.outlook import LATELY_S, PROMISED, Lately, OfPeople, moved
from hdt_fm.twin.own_layer import OwnLayer

# Times on the recordings' clock -> what stands there on the clock's grid, NaN where nothing was read.
TruthAt = Callable[[Float[np.ndarray, " told"]], Float[np.ndarray, " told"]]
_OF_HORIZONS = ("mean", "point", "low", "high", "truth")


@dataclass(frozen=True)
class Said:
    """A head's answer at one moment.

    Attributes:
        answer: In the unit of the series, before any correction: the mean, then a quantile at each level.
        hidden: What its last layers read.
    """

    answer: Float[np.ndarray, "horizon mean_and_level"]
    hidden: Float[np.ndarray, " width"]


@dataclass(frozen=True)
class Corrected:
    """The same as it is told: with the person's own layer and interval.

    Attributes:
        point: Of each horizon.
        quantiles: Moved by `shift`.
        added: What the own layer adds.
        chances: Of each event.
    """

    point: Float[np.ndarray, " horizon"]
    quantiles: Float[np.ndarray, "horizon level"]
    unmoved: Float[np.ndarray, "horizon level"]
    shift: Float[np.ndarray, " horizon"]
    added: Float[np.ndarray, " horizon"]
    chances: Float[np.ndarray, "horizon event"]


class Learned:
    """The own layer, the own interval, and forecasts until they are a week past their truth.

    Args:
        width: Of the head's hidden features.
        people: What training people left in the head.
        events: That chances are told of.

    A new twin's interval hurries after a change; one that was made before that goes on at the pace in its file.
    """

    def __init__(
        self, *, width: int, horizons_s: Sequence[float], people: OfPeople, events: Sequence[Event] = ()
    ) -> None:
        self.horizons_s, self.people, self.events = tuple(horizons_s), people, tuple(events)
        several = len(self.horizons_s)
        self.layer = OwnLayer(width=width, horizons=several)
        self.weights = np.zeros((several, width + 1))
        self.shifts = [
            OnlineShift(horizon_s=horizon, start=start, spread=spread, coverage=PROMISED, haste=HASTE)
            for horizon, start, spread in zip(self.horizons_s, people.shift, people.score_spread, strict=True)
        ]
        self.day, self.settled_s = -(2**31), -np.inf
        self.time_s = np.zeros(0)
        # Of the newest forecasts alone: those that wait for a truth.
        self.hidden = np.zeros((0, width))
        self.told: dict[str, np.ndarray] = {name: np.zeros((0, several)) for name in _OF_HORIZONS}
        self.chances = np.zeros((0, several, len(self.events)))

    def advance(self, now_s: float, truth_at: TruthAt) -> None:
        """Take the truths that have come; at a new day renew the corrections by those that had come at its midnight."""
        today = int(now_s // DAY_S)
        if today != self.day:
            self._settle(float(today * DAY_S), truth_at)
            self.weights, self.day = weights_of(self.layer), today
        self._settle(now_s, truth_at)

    def corrected(self, said: Said) -> Corrected:
        """As it is told now."""
        added = with_level(said.hidden[None])[0] @ self.weights.T
        answer = said.answer + added[:, None]
        unmoved, shift = np.sort(answer[:, 1:], axis=1), np.array([one.shift for one in self.shifts])
        own = moved(unmoved, self.people.levels, shift)
        risks = [risk_of(own, self.people.levels, event) for event in self.events]
        chances = np.stack(risks, axis=1) if risks else own[:, :0]
        return Corrected(answer[:, 0], own, unmoved, shift, added, chances)

    def tell(self, now_s: float, said: Said) -> None:
        """Make the forecast of a half hour, and keep it until its truth has come."""
        found = self.corrected(said)
        for column, one in enumerate(self.shifts):
            one.told(now_s, float(found.unmoved[column, 0]), float(found.unmoved[column, -1]))
        row = {
            "mean": said.answer[:, 0],
            "point": found.point,
            "low": found.quantiles[:, 0],
            "high": found.quantiles[:, -1],
            "truth": np.full(len(self.horizons_s), np.nan),
        }
        self.time_s = np.append(self.time_s, now_s)
        self.hidden = np.concatenate([self.hidden, said.hidden[None]])
        self.told = {name: np.concatenate([self.told[name], row[name][None]]) for name in _OF_HORIZONS}
        self.chances = np.concatenate([self.chances, found.chances[None]])

    def forget(self, now_s: float) -> None:
        """Forecasts whose truth has come more than a week ago, and hidden features of those that wait for none."""
        keep = self.time_s + max(self.horizons_s) > now_s - LATELY_S
        waiting = int((self.time_s + max(self.horizons_s) > self.settled_s).sum())
        self.hidden = self.hidden[len(self.hidden) - waiting :]
        self.time_s, self.chances = self.time_s[keep], self.chances[keep]
        self.told = {name: rows[keep] for name, rows in self.told.items()}

    def lately(self, now_s: float) -> tuple[Lately, ...]:
        """How the forecasts of the last days did, horizon by horizon."""
        return tuple(self._lately(column, horizon, now_s) for column, horizon in enumerate(self.horizons_s))

    def came(self, from_s: float, now_s: float) -> dict[str, float]:
        """Of the truths that came in a span: how many, what was told and the head alone missed, how often it held."""
        came_s = self.time_s[:, None] + np.array(self.horizons_s)
        rows = (came_s > from_s) & (came_s <= now_s) & np.isfinite(self.told["truth"])
        truth, several = self.told["truth"][rows], int(rows.sum())
        if not several:
            return {"truths": 0.0}
        return {
            "truths": float(several),
            "mean error as told": float(np.abs(self.told["point"][rows] - truth).mean()),
            "mean error of the head alone": float(np.abs(self.told["mean"][rows] - truth).mean()),
            "interval held": float(((truth >= self.told["low"][rows]) & (truth <= self.told["high"][rows])).mean()),
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """By name, for a file; the sums are symmetric and half of them says all."""
        upper = np.triu_indices(self.layer.squares.shape[1])
        return {
            "squares": np.ascontiguousarray(self.layer.squares[:, upper[0], upper[1]]),
            "products": self.layer.products,
            "seen": self.layer.seen,
            "weights": self.weights,
            "time_s": self.time_s,
            "hidden": self.hidden,
            "chances": self.chances,
            **self.told,
        }

    def facts(self) -> dict[str, Any]:
        """The rest, as JSON has it."""
        return {
            "day": self.day,
            "settled_s": self.settled_s if np.isfinite(self.settled_s) else None,
            "horizons_s": list(self.horizons_s),
            "strength": self.layer.strength,
            "people": {name: list(values) for name, values in vars(self.people).items()},
            "events": [dict(vars(one)) for one in self.events],
            "shifts": [one.state() for one in self.shifts],
        }

    @classmethod
    def of(cls, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> "Learned":
        """From `facts` and `arrays`.

        Raises:
            KeyError, TypeError, ValueError, IndexError: If they are not what those made.
        """
        people = OfPeople(**{name: tuple(values) for name, values in facts["people"].items()})
        width = arrays["products"].shape[1] - 1
        made = cls(
            width=width,
            horizons_s=facts["horizons_s"],
            people=people,
            events=[Event(**one) for one in facts["events"]],
        )
        upper = np.triu_indices(width + 1)
        made.layer.strength = float(facts["strength"])
        made.layer.squares[:, upper[0], upper[1]] = arrays["squares"]
        made.layer.squares[:, upper[1], upper[0]] = arrays["squares"]
        made.layer.products, made.layer.seen = arrays["products"].copy(), arrays["seen"].copy()
        made.shifts = [OnlineShift.of_state(one) for one in facts["shifts"]]
        made.day = int(facts["day"])
        made.settled_s = -np.inf if facts["settled_s"] is None else float(facts["settled_s"])
        made.weights, made.time_s, made.hidden = arrays["weights"], arrays["time_s"], arrays["hidden"]
        made.told, made.chances = {name: arrays[name] for name in _OF_HORIZONS}, arrays["chances"]
        return made

    def _settle(self, now_s: float, truth_at: TruthAt) -> None:
        """What came until now, taken once: by the own layer and by the interval."""
        if now_s <= self.settled_s:
            return
        first = len(self.time_s) - len(self.hidden)
        for column, horizon in enumerate(self.horizons_s):
            came_s = self.time_s + horizon
            rows = np.flatnonzero((came_s > self.settled_s) & (came_s <= now_s))
            if not len(rows):
                continue
            truth = truth_at(came_s[rows])
            self.told["truth"][rows, column] = truth
            only = np.full((len(rows), len(self.horizons_s)), np.nan)
            only[:, column] = truth - self.told["mean"][rows, column]
            self.layer.learn(self.hidden[rows - first], only)
            for one in truth.tolist():
                self.shifts[column].settle(one)
        self.settled_s = now_s

    def _lately(self, column: int, horizon: float, now_s: float) -> Lately:
        truth, came_s = self.told["truth"][:, column], self.time_s + horizon
        rows = (came_s > now_s - LATELY_S) & (came_s <= now_s) & np.isfinite(truth)
        came, several = truth[rows], int(rows.sum())
        inside = (came >= self.told["low"][rows, column]) & (came <= self.told["high"][rows, column])
        return Lately(
            forecasts=several,
            held=float(inside.mean()) if several else float("nan"),
            mean_error=float(np.abs(self.told["point"][rows, column] - came).mean()) if several else float("nan"),
            expected=tuple(self.chances[rows, column].sum(axis=0).tolist()),
            came=tuple(int(event.of(came).sum()) for event in self.events),
        )


def weights_of(layer: OwnLayer) -> Float[np.ndarray, "horizon column"]:
    """By which `OwnLayer.correction` multiplies `with_level` of the features: solved once a day, used all day."""
    pull = layer.strength * np.eye(layer.squares.shape[1])
    out: np.ndarray = np.linalg.solve(layer.squares + pull, layer.products[..., None])[..., 0]
    return out


def with_level(features: Float[np.ndarray, "row width"]) -> Float[np.ndarray, "row column"]:
    """As `OwnLayer` reads them."""
    both = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    return both / np.sqrt(both.shape[1])
