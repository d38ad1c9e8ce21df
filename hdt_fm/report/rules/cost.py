"""What each run spent: hours of every verb, and its energy or why that was not measured."""

from collections.abc import Iterator

from hdt_fm.report.rules.folder import Folder
from hdt_fm.report.spent import cost_of


def cost_told(folder: Folder) -> Iterator[str]:
    """Hours; kWh with what measured it, or a reason; carbon with its country. Records of before say their seconds."""
    for record in folder.facts.records if folder.facts else ():
        cost = cost_of(record)
        if not cost.hours > 0:
            yield f"the record of {record.verb} states no hours"
        if cost.kwh is None and not cost.reason.strip():
            yield f"the record of {record.verb} states neither kWh nor why energy was not measured"
        if cost.kwh is not None and not (cost.how.strip() and cost.metered_hours > 0):
            yield f"the record of {record.verb} states kWh, but not what measured it and for how long"
        if cost.kg_co2e is not None and not cost.country:
            yield f"the record of {record.verb} states CO2 of a country that it does not name"
