"""The part `stream` of `reproduce_evolve.py`: domains one after the other, simulated and real, every order's matrix.

Simulated: children, adults and adolescents who never lived, with their doses and meals. Real: AZT1D, Shanghai and
T1D-UOM on one grid of 15 minutes; of Shanghai no doses are known. A quarter of the people of each domain are never
taught; a seed is another quarter and other weights. The head answers 30, 60 and 120 minutes; scored at 120.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from reproduce_glucose import CONTEXT_S, HORIZONS_S, SETS, TREATED, sharded, treatments

from hdt_fm.data.series import series_of
from hdt_fm.data.shards import ShardFolder
from hdt_fm.evaluation.backtest.floors import LEVELS
from hdt_fm.evaluation.evolve.stream import JOINT, Asked, Streamed, matrix_rows, stream_result, stream_rows, streamed
from hdt_fm.heads.series_forecast import SeriesForecast
from hdt_fm.schema.result import Result
from hdt_fm.schema.series import Series
from hdt_fm.signal.moments import Moments, moments_of
from hdt_fm.signal.own_past import own_past, recent
from hdt_fm.signal.treatments import acting
from hdt_fm.simulation.glucose_habits import Policy, draw_days
from hdt_fm.simulation.glucose_life import live
from hdt_fm.simulation.virtual_people import AGES, draw_people
from hdt_fm.training.forecasts import ask, inputs_of
from hdt_fm.training.heads import take
from hdt_fm.training.updating.anchors import anchors_of
from hdt_fm.training.updating.memory import RowMemory
from hdt_fm.training.updating.prototypes import PrototypeMemory
from hdt_fm.training.updating.rows import Taught, taught
from hdt_fm.training.updating.update import UpdateSettings, learn_domain

GIVEN = ("bolus", "carbs", "insulin_rate")
APART = 0.25
# Rows that teach and that are asked of a domain at most, people as they come.
MOST_TAUGHT, MOST_ASKED = 16_000, 6_000
PEOPLE, DAYS = 24, 14
ROWS, PROTOTYPES = "rehearsal of rows, 4.5 MB", "rehearsal of prototypes, no row of anyone"
ROLES = {
    JOINT: "reference",
    "each domain alone": "reference",
    "the newest reading": "baseline",
    "going on, nothing held": "baseline",
    "last layer alone": "baseline",
    "EWC": "baseline",
    "LwF": "baseline",
    "adapters, domain told": "baseline",
    ROWS: "ours",
    PROTOTYPES: "ours",
}
OWED = ("going on, nothing held", "last layer alone", "EWC", "LwF", "adapters, domain told")
HELD: dict[str, dict[str, Any]] = {
    "last layer alone": {"trains": "last"},
    "EWC": {"anchor": 100.0},
    "LwF": {"distil": 5.0},
    "adapters, domain told": {"trains": "adapter"},
}


@dataclass(frozen=True)
class Domain:
    """All that heads may be told at the origins of a domain."""

    known: np.ndarray
    moments: Moments

    def inputs(self, rows: np.ndarray) -> Any:
        """As a head reads them."""
        return take(inputs_of(self.known, self.moments.last), torch.from_numpy(rows))

    def change(self, rows: np.ndarray) -> np.ndarray:
        """What came, less the newest reading."""
        return self.moments.target[rows] - self.moments.last[rows, None]


def domain_of(series: Sequence[Series], given: Mapping[str, Sequence[Series]]) -> Domain:
    """Origins every half hour; a treatment that nobody recorded is unknown."""
    moments = moments_of(series, context_s=CONTEXT_S, horizons_s=HORIZONS_S)
    beside = acting(moments, {name: given.get(name, ()) for name in GIVEN})
    return Domain(np.concatenate([recent(moments), own_past(moments, series), beside], axis=1), moments)


@lru_cache
def real() -> dict[str, Domain]:
    """The three cohorts on one grid."""
    out = {}
    for name in SETS:
        coarse = ("preparation=glucose_15min",) if name == "azt1d" else ()
        folder = ShardFolder.open(sharded(name, *coarse, beside="_15min" if coarse else "", quick=False))
        given = treatments(name, folder, quick=False) if name in TREATED else {}
        out[name] = domain_of(series_of(folder, "glucose"), given)
    return out


@lru_cache
def simulated(*, quick: bool) -> dict[str, Domain]:
    """The three ages."""
    out, people, days = {}, 12 if quick else PEOPLE, 4 if quick else DAYS
    for age in AGES:
        who, once = draw_people({age: people}, seed=0), np.zeros(people, dtype=np.int64)
        lived = live(who, draw_days(who, once, days=days, seed=0), Policy(), replicate=once)[0]
        basal = np.broadcast_to(lived.basal_units_per_hour, lived.cgm_mg_dl.shape)
        tables = {"bolus": lived.bolus_units, "carbs": lived.carbs_g, "insulin_rate": basal}
        given = {name: _series(table) for name, table in tables.items()}
        out[age] = domain_of(_series(lived.cgm_mg_dl), given)
    return out


def _series(table: np.ndarray) -> list[Series]:
    whole = np.ones(table.shape[1], dtype=bool)
    rows = enumerate(table.astype(np.float32))
    return [Series(values, whole, step_s=300.0, start_s=0.0, subject=one, group=one) for one, values in rows]


@dataclass(frozen=True)
class Split:
    """Who is taught and who is asked, of each domain, by a seed."""

    domains: Mapping[str, Domain]
    taught: Mapping[str, np.ndarray]
    asked: Mapping[str, np.ndarray]
    seed: int
    steps: int

    @classmethod
    def of(cls, domains: Mapping[str, Domain], seed: int, *, quick: bool) -> "Split":
        """A quarter of the people of each are asked."""
        draws, parts = np.random.default_rng(seed), {}
        for name, one in domains.items():
            known = np.flatnonzero(np.isfinite(one.moments.target).all(axis=1))
            people = draws.permutation(np.unique(one.moments.group[known]))
            out = np.isin(one.moments.group[known], people[: round(APART * len(people))])
            sizes = (MOST_TAUGHT, MOST_ASKED)
            sides = zip((known[~out], known[out]), sizes, strict=True)
            parts[name] = [np.sort(draws.permutation(rows)[:most]) for rows, most in sides]
        first, second = ({name: rows[side] for name, rows in parts.items()} for side in (0, 1))
        return cls(domains, first, second, seed, 40 if quick else 200)

    def questions(self) -> dict[str, Asked]:
        """At the last horizon."""
        return {
            name: Asked(self.domains[name].moments.target[rows, -1], self.domains[name].moments.group[rows])
            for name, rows in self.asked.items()
        }

    def untaught(self, first: str) -> SeriesForecast:
        """A head with the scale of the first domain."""
        torch.manual_seed(self.seed)
        domain, rows = self.domains[first], self.taught[first]
        head = SeriesForecast(known=domain.known.shape[1], horizons=len(HORIZONS_S), levels=LEVELS, members=1)
        head.learn_scale(domain.inputs(rows), torch.from_numpy(domain.change(rows)))
        return head.eval()

    def rows(self, head: SeriesForecast, name: str) -> Taught:
        """Of those who teach; people of two domains are never the same."""
        domain, rows = self.domains[name], self.taught[name]
        person = np.char.add(f"{name} ", domain.moments.group[rows].astype(str))
        return taught(head, domain.inputs(rows), domain.change(rows), person)

    def say(self, head: SeriesForecast, name: str) -> np.ndarray:
        """At the last horizon."""
        return ask(head, self.domains[name].inputs(self.asked[name]))[:, -1, 0]


class InTurn:
    """A head that learns one domain after the other in one of the ways.

    Args:
        first: The head after each possible first domain, shared by all ways.
    """

    def __init__(self, split: Split, way: str, first: dict[str, SeriesForecast]) -> None:
        self.split, self.way, self.first = split, way, first
        self.head: SeriesForecast | None = None
        self.own: dict[str, SeriesForecast] = {}
        self.memory: RowMemory | PrototypeMemory | None = None
        self.anchors: Any = ()
        self.learned = 0

    def learn(self, domain: str) -> None:
        """As the way says."""
        if self.head is None:
            if domain not in self.first:
                self.first[domain] = self._taught(
                    self.split.untaught(domain), domain, UpdateSettings(steps=self.split.steps)
                )
            self.head = self.own[domain] = copy.deepcopy(self.first[domain])
        else:
            settings = UpdateSettings(steps=self.split.steps, **HELD.get(self.way, {}))
            apart = self.way.startswith("adapters")
            head = self._taught(copy.deepcopy(self.head) if apart else self.head, domain, settings)
            self.own[domain] = head
            self.head = self.head if apart else head
        self.learned += 1
        self._keep(self.split.rows(self.head, domain), domain)

    def _taught(self, head: SeriesForecast, domain: str, settings: UpdateSettings) -> SeriesForecast:
        seed = self.split.seed + 100 * self.learned
        rows = self.split.rows(head, domain)
        learn_domain(head, rows, settings, memory=self.memory, anchors=self.anchors, seed=seed)
        return head

    def _keep(self, rows: Taught, domain: str) -> None:
        if self.way in (ROWS, PROTOTYPES):
            kind = RowMemory if self.way == ROWS else PrototypeMemory
            self.memory = self.memory or kind(rows.layout)
            self.memory.add(domain, rows)
        if self.way == "EWC":
            assert self.head is not None
            self.anchors = anchors_of(self.head, rows, self.anchors)

    def ask(self, domain: str) -> np.ndarray:
        """By the domain's own head, where it has one."""
        if self.head is None:
            return self.split.domains[domain].moments.last[self.split.asked[domain]]
        return self.split.say(self.own.get(domain, self.head) if self.way.startswith("adapters") else self.head, domain)

    @property
    def bytes(self) -> int:
        """Of the memory; of anchors and adapters, their numbers."""
        if self.memory is not None:
            return self.memory.bytes
        if self.way == "EWC":
            return sum(2 * 4 * one.numel() for anchor in self.anchors for one in anchor.at.values())
        rank, apart = UpdateSettings().rank, self.way.startswith("adapters")
        wide = [one for one in self.head.members.parameters() if one.ndim == 2] if self.head and apart else []
        return (self.learned - 1) * sum(4 * rank * sum(one.shape) for one in wide)


class AtOnce:
    """The bound: every domain's rows at once, domains alike; or a head for each domain."""

    bytes = 0

    def __init__(self, split: Split, *, alone: bool) -> None:
        self.split, self.alone = split, alone
        self.heads: dict[str, SeriesForecast] = {}

    def learn(self, domain: str) -> None:
        """All of them."""
        names = list(self.split.domains)
        for name in names if self.alone else names[:1]:
            head, memory, steps = self.split.untaught(name), None, self.split.steps
            first = self.split.rows(head, name)
            if not self.alone:
                memory, steps = RowMemory(first.layout, most_bytes=10**10), len(names) * steps
                for other in names[1:]:
                    memory.add(other, self.split.rows(head, other))
            learn_domain(head, first, UpdateSettings(steps=steps), memory=memory, seed=self.split.seed)
            self.heads |= {name: head} if self.alone else dict.fromkeys(names, head)

    def ask(self, domain: str) -> np.ndarray:
        """By the domain's head."""
        if not self.heads:
            return self.split.domains[domain].moments.last[self.split.asked[domain]]
        return self.split.say(self.heads[domain], domain)


class Newest:
    """Nothing changes."""

    bytes = 0

    def __init__(self, split: Split) -> None:
        self.split = split

    def learn(self, domain: str) -> None:
        """Nothing."""

    def ask(self, domain: str) -> np.ndarray:
        """The newest reading."""
        return self.split.domains[domain].moments.last[self.split.asked[domain]]


def orders_of(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Each domain comes first once, second once, last once."""
    return [(*names[start:], *names[:start]) for start in range(len(names))]


def streams(what: str, domains: Mapping[str, Domain], seeds: int, *, quick: bool, progress: Callable[..., None]) -> Any:
    """Rows of all ways through all orders."""
    runs: dict[str, list[Streamed]] = {way: [] for way in ROLES}
    orders = orders_of(list(domains))
    for seed in range(seeds):
        split = Split.of(domains, seed, quick=quick)
        asked, first = split.questions(), {}
        at_once = {JOINT: AtOnce(split, alone=False), "each domain alone": AtOnce(split, alone=True)}
        bounds = {way: streamed(one, asked, orders[0], at_once=True) for way, one in at_once.items()}
        for number, order in enumerate(orders):
            for way in ROLES:
                if way in bounds:
                    bound = bounds[way]
                    runs[way].append(replace(bound, order=order))
                elif way == "the newest reading":
                    runs[way].append(streamed(Newest(split), asked, order))
                else:
                    runs[way].append(streamed(InTurn(split, way, first), asked, order))
            progress(seed * len(orders) + number + 1, seeds * len(orders), f"orders of {what}")
    summary = stream_rows(what, runs, ROLES, unit="mg/dL")
    return (*summary, *matrix_rows(what, runs, ROLES, unit="mg/dL"))


def table(*, quick: bool, seeds: int, progress: Callable[..., None]) -> Result:
    """Both streams; the quick one is simulated alone."""
    sets = {"simulated ages": simulated(quick=quick)} | ({} if quick else {"real cohorts": real()})
    rows = [row for what, one in sets.items() for row in streams(what, one, seeds, quick=quick, progress=progress)]
    protocol = {
        "task": "stream",
        "people": {
            what: {name: len(np.unique(d.moments.group)) for name, d in one.items()} for what, one in sets.items()
        },
        "seeds": seeds,
        "horizon_s": HORIZONS_S[-1],
        "orders": {what: [" -> ".join(order) for order in orders_of(list(one))] for what, one in sets.items()},
    }
    return stream_result("domains one after the other", rows, protocol, OWED)
