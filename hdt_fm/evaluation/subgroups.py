"""The same scores for parts of the people: by sex, age band, device, site, or whatever the manifest says of them."""

from collections.abc import Mapping, Sequence

import numpy as np

from hdt_fm.evaluation.baselines import DUMMY, HAND, RANDOM_ENCODER
from hdt_fm.evaluation.contenders import Contender
from hdt_fm.evaluation.contest import OURS, Contest
from hdt_fm.evaluation.probes import out_of_fold
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.result import Result, Row

PROBE = "linear probe"
HEADLINE = f"{OURS} + {PROBE}"
REQUIRED = (DUMMY, f"{HAND} + {PROBE}", f"{RANDOM_ENCODER} + {PROBE}")
MIN_PEOPLE = 5
OTHERS = "others"
UNKNOWN = "unknown"


def subgroups(contest: Contest, covariates: Sequence[Mapping[str, str]]) -> Result:
    """Scores for each band of each covariate; probes are those of everybody, only the people asked differ.

    Bands of fewer than five people are merged into `others`; where even those are fewer than five, the smallest
    larger band joins them, since everyone's numbers less the shown bands would give them away.

    Args:
        covariates: One mapping a subject, in the order of `table.subjects`.

    Returns:
        Rows for everyone, then for each band. A covariate with one band is left out.

    Raises:
        ShapeError: If there is not one mapping a subject.
        ConfigError: If no covariate has two bands that can be shown.
    """
    table = contest.table
    if len(covariates) != len(table.subjects):
        raise ShapeError(
            "Covariates do not fit the table's people",
            expected=f"{len(table.subjects)} mappings",
            got=str(len(covariates)),
            fix="take them from the manifest of the shards that were embedded, in its order",
        )
    contenders = [contest.dummy(), *(_contender(contest, name) for name in (OURS, HAND, RANDOM_ENCODER))]
    rows: list[Row] = []
    shown: dict[str, list[str]] = {}
    for name in sorted({key for one in covariates for key in one}):
        band_of = shown_bands(contest, [one.get(name, UNKNOWN) for one in covariates])
        bands = sorted({band for band in band_of if band})
        if len(bands) < 2:
            continue
        shown[name] = bands
        for band in bands:
            people = [row for row, one in enumerate(band_of) if one == band]
            picked = np.flatnonzero(contest.target.scored & np.isin(table.subject, people))
            if contest.is_class and len(np.unique(contest.target.values[picked])) < 2:
                continue
            what = f"{contest.target.name}, {name.replace('_', ' ')} {band}"
            rows += contest.rows(what, contenders, headline=HEADLINE, rows=picked)
    if not rows:
        raise ConfigError(
            "No covariate splits the people into bands that can be shown",
            expected=f"a covariate with two bands of {MIN_PEOPLE} people or more",
            got=f"covariates: {', '.join(sorted({key for one in covariates for key in one})) or '(none)'}",
            where="manifest.subjects.covariates",
            fix="leave subgroups out of protocol.also, or give the cohort's covariates when building the shards",
        )
    everyone = contest.rows(f"{contest.target.name}, everyone", contenders, headline=HEADLINE)
    record = contest.record("subgroups", headline=HEADLINE, bands=shown, fewest_people_shown=MIN_PEOPLE)
    name = f"subgroups, {contest.target.name}"
    return Result(name=name, protocol=record, rows=(*everyone, *rows), required_baselines=REQUIRED)


def shown_bands(contest: Contest, bands: Sequence[str]) -> list[str | None]:
    """For each subject the band under which it is shown: its own, `others`, or None where it must not be shown.

    People are counted by group among the scored windows: who is never scored makes no band larger.
    """
    table, scored = contest.table, contest.scored
    sizes = {band: _people(contest, [row for row, one in enumerate(bands) if one == band]) for band in set(bands)}
    small = sorted(band for band in sizes if 0 < sizes[band] < MIN_PEOPLE)
    merged = sum(sizes[band] for band in small)
    if 0 < merged < MIN_PEOPLE:
        # Shown bands and everyone's total would give the rest away, so the smallest band joins it.
        large = sorted((band for band in sizes if sizes[band] >= MIN_PEOPLE), key=lambda band: (sizes[band], band))
        small = [*small, *large[:1]]
    asked = {int(one) for one in np.unique(table.subject[scored])}
    return [None if row not in asked else OTHERS if band in small else band for row, band in enumerate(bands)]


def _people(contest: Contest, subjects: Sequence[int]) -> int:
    rows = contest.scored
    return len(np.unique(contest.table.group[rows[np.isin(contest.table.subject[rows], list(subjects))]]))


def _contender(contest: Contest, name: str) -> Contender:
    maker = next(one for one in contest.makers if one.name == name)
    features = [one.values for one in maker.features]
    target, group = contest.target.values, contest.table.group
    scores = out_of_fold(contest.base(), features, target, group, contest.folds, outputs=contest.outputs)
    return Contender(f"{name} + {PROBE}", maker.role, scores)
