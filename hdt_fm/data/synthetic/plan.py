"""What happens to one person in a visit: stress tasks, walks, light, meals, insulin."""

from dataclasses import dataclass

import numpy as np

from hdt_fm.data.synthetic.person import Person
from hdt_fm.data.synthetic.processes import Array, alternating_episodes

EVENTS = ("stress", "walk", "light", "meal", "insulin")
INDOOR_LUX = 200.0


@dataclass(frozen=True)
class Plan:
    """Everything from outside, fixed before the body is simulated, so that leaving out one thing changes no other.

    Attributes:
        stress_s: Stress tasks (task, 2), start and end in seconds from the start of the visit.
        stress_height: How hard each task hits (task,).
        moods: Arousal without a task (mood, 2); never labelled, it is what makes the label hard.
        mood_height: (mood,).
        walks_s: Walks (walk, 2).
        walk_height: Vigour of each walk (walk,).
        outdoors_s: Times in bright light (outing, 2).
        outdoor_lux: (outing,).
        meals: (meal, 2): seconds and grams of carbohydrate.
        insulin: (dose, 2): seconds and units.
    """

    stress_s: Array
    stress_height: Array
    moods: Array
    mood_height: Array
    walks_s: Array
    walk_height: Array
    outdoors_s: Array
    outdoor_lux: Array
    meals: Array
    insulin: Array


def draw_plan(
    generator: np.random.Generator, person: Person, duration_s: float, *, without: tuple[str, ...] = ()
) -> Plan:
    """Draw a plan; kinds of events in `without` are drawn as ever and then left out."""
    stress = alternating_episodes(generator, duration_s, off_s=(240.0, 540.0), on_s=(240.0, 480.0))
    stress_height = person.reactivity * generator.lognormal(-0.05, 0.35, len(stress))
    moods = alternating_episodes(generator, duration_s, off_s=(240.0, 900.0), on_s=(60.0, 240.0))
    mood_height = person.reactivity * generator.uniform(0.2, 0.8, len(moods))
    walks = alternating_episodes(generator, duration_s, off_s=(240.0, 780.0), on_s=(40.0, 180.0))
    walk_height = generator.uniform(0.6, 1.0, len(walks))
    outdoors = alternating_episodes(generator, duration_s, off_s=(600.0, 5400.0), on_s=(300.0, 2400.0))
    outdoor_lux = generator.lognormal(np.log(8_000.0), 0.6, len(outdoors))
    meals = _draw_meals(generator, duration_s)
    insulin = _draw_insulin(generator, person, meals, duration_s)
    kept = {kind: slice(0, 0) if kind in without else slice(None) for kind in EVENTS}
    return Plan(
        stress_s=stress[kept["stress"]],
        stress_height=stress_height[kept["stress"]],
        moods=moods,
        mood_height=mood_height,
        walks_s=walks[kept["walk"]],
        walk_height=walk_height[kept["walk"]],
        outdoors_s=outdoors[kept["light"]],
        outdoor_lux=outdoor_lux[kept["light"]],
        meals=meals[kept["meal"]],
        insulin=insulin[kept["insulin"]],
    )


def _draw_meals(generator: np.random.Generator, duration_s: float) -> Array:
    """The first meal early in the visit, the next ones 3 to 5 hours apart; 15 to 110 g."""
    count = 2 + int(duration_s / (3 * 3600.0))
    first = generator.uniform(0.05, 0.35) * min(duration_s, 4 * 3600.0)
    starts = first + np.concatenate([[0.0], np.cumsum(generator.uniform(3.0, 5.0, count - 1) * 3600.0)])
    grams = np.clip(generator.lognormal(np.log(50.0), 0.4, count), 15.0, 110.0)
    return np.stack([_on_five_seconds(starts), grams], axis=1)[starts < duration_s]


def _draw_insulin(generator: np.random.Generator, person: Person, meals: Array, duration_s: float) -> Array:
    """A dose around each meal: the matching one, misjudged by 25 %, up to 15 min early or late, 15 % forgotten.

    The spread and the forgetting keep dose and carbohydrate from being one number.
    """
    match = meals[:, 1] * person.glucose_mg_dl_per_gram / person.glucose_mg_dl_per_unit
    units = np.round(match * generator.lognormal(-0.1, 0.25, len(meals)) * 2) / 2
    starts = _on_five_seconds(np.maximum(meals[:, 0] + generator.uniform(-900.0, 900.0, len(meals)), 0.0))
    given = (generator.uniform(size=len(meals)) > 0.15) & (units > 0) & (starts < duration_s)
    return np.stack([starts, units], axis=1)[given]


def _on_five_seconds(times_s: Array) -> Array:
    return np.round(times_s / 5.0) * 5.0
