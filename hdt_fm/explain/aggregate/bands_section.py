"""The section `bands` of a report: which frequencies of each modality moved the output."""

from typing import Any

import numpy as np

from hdt_fm.explain.aggregate.bands import BandCredit
from hdt_fm.explain.aggregate.over_people import mean_over, of_units, shown
from hdt_fm.explain.cohort.cells import MINIMUM_CELL
from hdt_fm.explain.page.drawing import share_bar
from hdt_fm.explain.page.section import Section
from hdt_fm.schema.modalities import modality

KEY = "bands"
# As a share of the change: past it the gate fails a map that should add up.
MOST_GAP = 0.05


def section(found: BandCredit, *, draws: int = 1000, seed: int = 0) -> Section:
    """Shares and signed credit by band with intervals over people, or over the windows of a lone person.

    A modality that one to four people of a cohort hold is named without numbers. Shares are of the modality's own
    credit, so that what is not shown cannot be had from the others.
    """
    modalities = [_modality(found, name, draws, seed) for name in found.modalities]
    scale = float(np.median(np.abs(found.change)))
    gap = float((found.delta / np.maximum(np.abs(found.change), 0.1 * scale + 1e-9)).max())
    people = len(np.unique(found.person))
    over = "people" if people > 1 else "windows"
    record = {
        "target": found.target,
        "reference": found.reference,
        "windows": len(found.change),
        "people": people,
        "over": over,
        "completeness_gap": gap,
        "modalities": modalities,
    }
    view = {
        **record,
        "fewest": MINIMUM_CELL,
        "most_gap": MOST_GAP,
        "modalities": [
            {
                **one,
                "label": modality(one["name"]).label,
                "bands": [
                    {**band, "bar": share_bar(band["share"], band["share_low"], band["share_high"])}
                    for band in one["bands"]
                ],
            }
            for one in modalities
        ],
    }
    words = {
        "Frequency band": "A part of a signal by how fast it changes, such as breathing or the beat; together the "
        "bands make up the signal.",
    }
    caution = (
        "A band's credit says how fast the change was that moved the output. It does not say which organ made it: "
        "movement, for one, may be as fast as a pulse."
    )
    return Section(KEY, "Which frequencies moved the output", record, view, words, (caution,))


def _modality(found: BandCredit, name: str, draws: int, seed: int) -> dict[str, Any]:
    held = found.present[:, found.modalities.index(name)]
    if not held.any() or name not in found.credit:
        return {"name": name, "status": "absent", "count": 0, "bands": []}
    person = found.person[held]
    lone = len(np.unique(found.person)) == 1
    count = int(held.sum()) if lone else len(np.unique(person))
    if not shown(count, "windows" if lone else "people"):
        return {"name": name, "status": "too few people", "count": None, "bands": []}
    shares = mean_over(of_units(found.shares(name)[held], person)[0], draws=draws, seed=seed)
    totals = mean_over(of_units(found.totals(name)[held], person)[0], draws=draws, seed=seed)
    bands = [
        {
            "name": band.name,
            "range": band.words,
            "low_hz": band.low_hz,
            "high_hz": band.high_hz,
            "share": float(shares.value[k]),
            "share_low": float(shares.low[k]),
            "share_high": float(shares.high[k]),
            "credit": float(totals.value[k]),
            "credit_low": float(totals.low[k]),
            "credit_high": float(totals.high[k]),
        }
        for k, band in enumerate(found.bands[name])
    ]
    return {"name": name, "status": "shown", "count": count, "bands": bands}
