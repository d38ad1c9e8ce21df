"""How long a request takes, from a trial of few windows: said before the work begins."""

from hdt_fm.cli.explain.mapping import Chosen
from hdt_fm.cli.explain.parts import MOST_OF_ONE, MOST_TRAINING
from hdt_fm.cli.explain.told import OTHERS, Told

# What parts cost in maps of one window by the leading method, as measured over probes and forecasts: of the three
# windows that the gate repeats its maps on, and of each window.
GATE_WINDOWS, GATE, CURVES, BANDS = 3, 20.0, 4.0, 1.2
# What does not depend on the maps, in seconds: students of many windows, pictures, the page.
STUDENTS_S, PICTURES_S, PAGE_S = 5.0, 3.0, 0.3
# Windows of others that one window is held against; a path between bodies is longer than one to a flat line.
OTHERS_DRAWN, LONGER = 4, 1.5
# Of a cohort the people whom the encoder learned from are mapped too.
TRAINING_WINDOWS = MOST_TRAINING * MOST_OF_ONE


def seconds(told: Told, chosen: Chosen) -> float:
    """Maps of all windows, the gate, the other reference, sections and pictures."""
    settings, windows, one = told.settings, len(told.asked), chosen.seconds[chosen.lead]
    repeated = one * min(GATE_WINDOWS, windows)
    total = windows * sum(chosen.seconds.values()) + GATE * repeated + PAGE_S
    if told.alternative is not None:
        total += windows * one * (OTHERS_DRAWN * LONGER if told.alternative == OTHERS else 1)
    total += CURVES * repeated * ("curves" in settings.sections)
    total += BANDS * windows * one * ("bands" in settings.sections)
    if "cohort" in settings.sections and told.asked.scope == "cohort" and settings.people == "unseen":
        total += TRAINING_WINDOWS * one
    total += STUDENTS_S * ("students" in settings.sections and told.answer.label is not None)
    return total + PICTURES_S * settings.pictures
