"""The type-1 model itself: thirteen equations for a batch of people, by Runge-Kutta steps of a minute.

Time in min. D is what is eaten (mg/min), u what is injected (pmol/kg/min), I = ip / Vi, and (y)+ = max(y, 0):

    stomach  q1' = D - kmax q1                      q2' = kmax q1 - e(q) q2,  q = q1 + q2
             e = kmin + (kmax - kmin) / 2 (tanh(a (q - b M)) - tanh(c (q - d M)) + 2)
             a = 5 / (2 M (1 - b)),  c = 5 / (2 M d),  M = what lay there when the meal began + eaten since, mg
    gut      q3' = e q2 - kabs q3
    glucose  gp' = (kp1 - kp2 gp - kp3 id)+ + f kabs q3 / BW - Fsnc - ke1 (gp - ke2)+ - k1 gp + k2 gt
             gt' = k1 gp - k2 gt - (Vm0 + Vmx x) gt / (Km0 + gt)
    insulin  ip' = m1 il + ka1 s1 + ka2 s2 - (m2 + m4) ip          il' = m2 ip - (m1 + m30) il
    action   x' = p2u (I - Ib - x)                  i1' = ki (I - i1)        id' = ki (i1 - id)
    skin     s1' = u - (ka1 + kd) s1                s2' = kd s1 - ka2 s2     gs' = ksc (gp - gs)

Insulin and food are constant within a minute, so no step runs over a jump. Masses do not fall under 0: there the model
has nothing more to say, and is held. A meal is eaten at 5 g/min; one that comes while another is eaten makes it longer.
In a minute with a bite the emptying can turn from fast to slow within seconds (b near 1): then stomach and gut, which
depend on nothing else, take four steps, and the rest sees theirs.
"""

from dataclasses import dataclass

import numpy as np

from hdt_fm.simulation.glucose_people import PMOL_PER_UNIT, STATES, GlucosePeople

EATEN_G_PER_MIN = 5.0
MG_PER_G = 1000.0
_X = STATES.index("x")
_GUT = slice(0, 3)
_BITE_STEPS = 4


@dataclass(kw_only=True)
class GlucoseState:
    """Where people stand at one minute; `Integrator` moves it on in place.

    Attributes:
        mass: (state, person) in the order of `STATES`.
        to_eat_g: (person,) What is on the plate.
        eaten_g: (person,) What was eaten since the meal began.
        before_mg: (person,) What lay in the stomach when the meal began.
        eating: (person,) Whether the last minute had a bite.
        minute: On the clock of the run.
    """

    mass: np.ndarray
    to_eat_g: np.ndarray
    eaten_g: np.ndarray
    before_mg: np.ndarray
    eating: np.ndarray
    minute: int = 0

    @classmethod
    def at(cls, mass: np.ndarray, *, minute: int = 0) -> "GlucoseState":
        """People at these masses, with nothing on the plate."""
        empty = np.zeros(mass.shape[1])
        return cls(
            mass=mass.astype(np.float64),
            to_eat_g=empty,
            eaten_g=empty.copy(),
            before_mg=mass[0] + mass[1],
            eating=np.zeros(mass.shape[1], dtype=np.bool_),
            minute=minute,
        )

    def take(self, rows: np.ndarray) -> "GlucoseState":
        """A copy of these people; a row may come often."""
        return GlucoseState(
            mass=np.ascontiguousarray(self.mass[:, rows]),
            to_eat_g=self.to_eat_g[rows],
            eaten_g=self.eaten_g[rows],
            before_mg=self.before_mg[rows],
            eating=self.eating[rows],
            minute=self.minute,
        )

    def __len__(self) -> int:
        return self.mass.shape[1]


class Integrator:
    """Moves a batch on, minute by minute. Buffers are kept, so that a minute makes no new arrays of its own.

    Args:
        people: Whose numbers.
        steps_per_minute: Steps of the method in a minute; 2 serves to see that 1 is enough.
    """

    def __init__(self, people: GlucosePeople, *, steps_per_minute: int = 1) -> None:
        one, p = np.ones(len(people)), people
        self.people, self.steps = people, steps_per_minute
        # The stomach's second part empties at a rate of its own, which `_slope` takes off.
        gut, glucose, action = [p.kmax, 0 * one, p.kabs], [p.k1, p.k2], [p.p2u, p.ki, p.ki]
        skin = [p.ka1 + p.kd, p.ka2, p.ksc]
        self._decay = np.stack([*gut, *glucose, p.m2 + p.m4, *action, p.m1 + p.m30, *skin])
        self._feed = np.zeros_like(self._decay)
        self._feed[3], self._feed[_X] = -p.fsnc, -p.p2u * p.ib
        self._arrives, self._uptake, self._liver = p.f * p.kabs / p.bw, p.p2u / p.vi, p.ki / p.vi
        self._half, self._per_unit = (p.kmax - p.kmin) / 2, PMOL_PER_UNIT / p.bw
        # a (q - b M) = a q - 5 b / (2 (1 - b)) and c (q - d M) = c q - 2.5 hold for every M.
        self._slows_at, self._a_mg, self._c_mg = 2.5 * p.b / (1 - p.b), 2.5 / (1 - p.b), 2.5 / p.d
        self._a, self._c = 0 * one, 0 * one
        self._k = [np.empty_like(self._decay) for _ in range(4)]
        self._there, self._s, self._r = np.empty_like(self._decay), np.empty_like(one), np.empty_like(one)
        self._least = np.zeros((len(STATES), 1))
        self._least[_X] = -np.inf

    def minute(
        self, state: GlucoseState, carbs_g: np.ndarray, bolus_units: np.ndarray, basal_units: np.ndarray
    ) -> None:
        """One minute on.

        Args:
            state: Is changed.
            carbs_g: (person,) Put on the plate now.
            bolus_units: (person,) Injected within this minute.
            basal_units: (person,) As well, in units per minute.
        """
        self._eat(state, carbs_g)
        np.multiply(bolus_units + basal_units, self._per_unit, out=self._feed[10])
        eaters = np.flatnonzero(state.eating)
        for _ in range(self.steps):
            self._step(state.mass, 1.0 / self.steps, eaters)
        state.minute += 1

    def _eat(self, state: GlucoseState, carbs_g: np.ndarray) -> None:
        """Bites of this minute, and the size of the meal that sets how the stomach empties."""
        if not (carbs_g.any() or state.eating.any() or state.to_eat_g.any()):
            self._feed[0] = 0.0
        else:
            state.to_eat_g += carbs_g
            bite = np.minimum(state.to_eat_g, EATEN_G_PER_MIN)
            state.to_eat_g -= bite
            begins = (bite > 0) & ~state.eating
            state.before_mg = np.where(begins, state.mass[0] + state.mass[1], state.before_mg)
            state.eaten_g = np.where(begins, 0.0, state.eaten_g) + bite
            state.eating = bite > 0
            np.multiply(bite, MG_PER_G, out=self._feed[0])
        meal_mg = state.before_mg + state.eaten_g * MG_PER_G
        fed = meal_mg > 0
        # Without a meal there is nothing to empty, so any rate will do.
        np.divide(self._a_mg, meal_mg, out=self._a, where=fed)
        np.divide(self._c_mg, meal_mg, out=self._c, where=fed)

    def _step(self, mass: np.ndarray, size: float, eaters: np.ndarray) -> None:
        """The classic four stages; the last line holds masses at 0."""
        k, there = self._k, self._there
        halfway, after = self._digest(mass[_GUT, eaters], size, eaters) if len(eaters) else (None, None)
        self._slope(mass, k[0])
        for stage, share in ((1, 0.5), (2, 0.5), (3, 1.0)):
            np.multiply(k[stage - 1], share * size, out=there)
            there += mass
            if halfway is not None and after is not None:
                there[2, eaters] = after[2] if share == 1.0 else halfway[2]
            self._slope(there, k[stage])
        k[1] += k[2]
        k[1] *= 2.0
        k[0] += k[3]
        k[0] += k[1]
        k[0] *= size / 6.0
        mass += k[0]
        if after is not None:
            mass[_GUT, eaters] = after
        np.maximum(mass, self._least, out=mass)

    def _digest(self, gut: np.ndarray, size: float, eaters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Stomach and gut (3, eater) of those who eat, half a step and one step on."""
        p, step = self.people, size / _BITE_STEPS
        kmax, kabs, kmin, half = p.kmax[eaters], p.kabs[eaters], p.kmin[eaters], self._half[eaters]
        steep = np.stack([self._a[eaters], self._c[eaters]])
        turns = np.stack([self._slows_at[eaters], np.full(len(eaters), 2.5)])
        bite = self._feed[0, eaters]

        def slope(y: np.ndarray) -> np.ndarray:
            turned = np.tanh(steep * (y[0] + y[1]) - turns)
            ground, emptied = kmax * y[0], (kmin + half * (turned[0] - turned[1] + 2.0)) * y[1]
            return np.stack([bite - ground, ground - emptied, emptied - kabs * y[2]])

        halfway = gut
        for number in range(_BITE_STEPS):
            if number == _BITE_STEPS // 2:
                halfway = gut
            first = slope(gut)
            second = slope(gut + step / 2 * first)
            third = slope(gut + step / 2 * second)
            gut = gut + step / 6 * (first + 2 * (second + third) + slope(gut + step * third))
        return halfway, gut

    def _slope(self, y: np.ndarray, out: np.ndarray) -> None:
        """All thirteen derivatives: what comes in from outside minus own decay, then what flows between."""
        p, s, r = self.people, self._s, self._r
        np.multiply(self._decay, y, out=out)
        np.subtract(self._feed, out, out=out)
        q1, q2, q3, gp, gt, ip, x, i1, delayed, il, s1, s2, _ = y
        np.add(q1, q2, out=s)
        np.multiply(s, self._a, out=r)
        r -= self._slows_at
        np.tanh(r, out=r)
        s *= self._c
        s -= 2.5
        np.tanh(s, out=s)
        r -= s
        r += 2.0
        r *= self._half
        r += p.kmin
        r *= q2  # what the stomach gives to the gut
        out[2] += r
        np.multiply(p.kmax, q1, out=s)
        s -= r
        out[1] += s
        np.multiply(p.kp2, gp, out=s)
        np.subtract(p.kp1, s, out=s)
        np.multiply(p.kp3, delayed, out=r)
        s -= r
        out[3] += np.maximum(s, 0.0, out=s)
        out[3] += np.multiply(self._arrives, q3, out=s)
        np.subtract(gp, p.ke2, out=s)
        np.maximum(s, 0.0, out=s)
        s *= p.ke1
        out[3] -= s
        out[3] += np.multiply(p.k2, gt, out=s)
        out[4] += np.multiply(p.k1, gp, out=s)
        np.multiply(p.vmx, x, out=s)
        s += p.vm0
        s *= gt
        s /= np.add(p.km0, gt, out=r)
        out[4] -= s
        out[5] += np.multiply(p.m1, il, out=s)
        out[5] += np.multiply(p.ka1, s1, out=s)
        out[5] += np.multiply(p.ka2, s2, out=s)
        out[6] += np.multiply(self._uptake, ip, out=s)
        out[7] += np.multiply(self._liver, ip, out=s)
        out[8] += np.multiply(p.ki, i1, out=s)
        out[9] += np.multiply(p.m2, ip, out=s)
        out[11] += np.multiply(p.kd, s1, out=s)
        out[12] += np.multiply(p.ksc, gp, out=s)
