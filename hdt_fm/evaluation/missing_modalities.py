"""Score against what was lost at test time: some of the modalities, one of them, all but one, or one for a while."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from hdt_fm.evaluation import people
from hdt_fm.evaluation.audit import refuse_fitted_on_test
from hdt_fm.evaluation.baselines import DUMMY, HAND, RANDOM_ENCODER
from hdt_fm.evaluation.contenders import Contender, Metric
from hdt_fm.evaluation.contest import CHANCE_AUROC, OURS, Contest, Features, Maker, mean_error, mean_score
from hdt_fm.evaluation.incomplete import HEADS, FittedHead, best_head, losses_of
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.result import Result, Row

CHOSEN = "chosen head"
HEADLINE = f"{OURS} + {CHOSEN}"
REQUIRED = (DUMMY, f"{HAND} + {CHOSEN}", f"{RANDOM_ENCODER} + {CHOSEN}")
# Above this many modalities, sets are drawn, not listed: 2^6 patterns of each head are seconds, 2^10 are not.
LISTED = 6
DRAWN = 20

Losses = Sequence[Bool[np.ndarray, "row modality"]]


@dataclass(frozen=True)
class Setting:
    """A way of losing modalities: its name, the share of (window, modality) lost, and equally likely variants."""

    name: str
    share: float
    losses: Losses


def missing_modalities(contest: Contest, *, heads: Sequence[str] = tuple(HEADS)) -> Result:
    """Train on everything; drop modalities of the test windows only.

    Args:
        contest: Audited inputs, of classes or of a value.
        heads: Heads to compare, by name. `chosen head` is the one of these that does best on inner test people
            of the training people, in each fold and for each maker of features by itself.

    Returns:
        For each setting AUROC (or MAE), and the share of its excess over chance that is kept, both averaged
        over the setting's variants inside each bootstrap draw. `0 of M lost` is the whole.

    Raises:
        ConfigError: If the table has one modality only, so that nothing can be dropped.
    """
    modalities = contest.table.modalities
    if len(modalities) < 2:
        raise ConfigError(
            "Nothing can be dropped from a table of one modality",
            expected="at least 2 modalities",
            got=str(len(modalities)),
            fix="leave missing_modalities out of protocol.also, or protocol.only",
        )
    settings = settings_of(contest)
    scores, choices = {}, {}
    for maker in contest.makers:
        # Of the random encoder the chosen head alone is shown: eight more rows a table would say nothing new.
        found, choices[maker.name] = _scores(contest, maker, settings, heads)
        scores[maker.name] = found
    dummy = contest.dummy().scores
    rows: list[Row] = []
    for place, setting in enumerate(settings):
        contenders = []
        for maker in contest.makers:
            shown = (CHOSEN,) if maker.name == RANDOM_ENCODER else (CHOSEN, *heads)
            for head in shown:
                both = np.concatenate([scores[maker.name][head][0], scores[maker.name][head][place]], axis=1)
                columns = {"share_lost": setting.share, "variants": len(setting.losses)}
                contenders.append(Contender(f"{maker.name} + {head}", maker.role, both, columns))
        contenders.append(Contender(DUMMY, "baseline", np.stack([dummy, dummy], axis=1)))
        rows += contest.rows(
            f"{contest.target.name}, {setting.name}",
            contenders,
            headline=HEADLINE,
            metrics=lambda truth, person: _metrics(contest, truth, person, dummy[contest.scored]),
        )
    record = contest.record("missing modalities", headline=HEADLINE, chosen_heads=choices)
    record["better"] = {**record["better"], "excess_kept": "higher"}
    return Result(
        name=f"missing modalities, {contest.target.name}",
        protocol=record,
        rows=tuple(rows),
        required_baselines=REQUIRED,
    )


def settings_of(contest: Contest) -> list[Setting]:
    """Nothing lost first; then k of M lost, each alone lost, each alone kept, and outages."""
    table, seed = contest.table, contest.seed
    size, count = len(table), len(table.modalities)
    nothing = np.zeros((size, count), dtype=np.bool_)
    found = [Setting(f"0 of {count} modalities lost", 0.0, [nothing])]
    for k in range(1, count):
        found.append(Setting(f"{k} of {count} modalities lost", k / count, _sets(size, count, k, seed)))
        mixed = [_a_set_a_window(size, count, k, np.random.default_rng([seed, k, one])) for one in range(count)]
        found.append(Setting(f"{k} of {count} lost, another set each window", k / count, mixed))
    for m, name in enumerate(table.modalities):
        lost = np.tile(np.arange(count) == m, (size, 1))
        found.append(Setting(f"{name} lost", 1 / count, [lost]))
    for m, name in enumerate(table.modalities):
        found.append(Setting(f"{name} alone", 1 - 1 / count, [np.tile(np.arange(count) != m, (size, 1))]))
    for name, block in (("from a random time on", from_a_time_on), ("for half of the recording", for_half)):
        variants = []
        for m in range(count):
            during = block(table.subject, table.time_s, np.random.default_rng([seed, m]))
            variants.append(during[:, None] & (np.arange(count) == m))
        share = float(np.mean(variants))
        found.append(Setting(f"one modality lost {name}", share, variants))
    return found


def from_a_time_on(
    subject: Int[np.ndarray, " row"], time_s: Float[np.ndarray, " row"], generator: np.random.Generator
) -> Bool[np.ndarray, " row"]:
    """For each person the windows after a moment that is anywhere in the recording."""
    during = np.zeros(len(subject), dtype=np.bool_)
    for person in np.unique(subject):
        rows = np.flatnonzero(subject == person)
        first, last = time_s[rows].min(), time_s[rows].max()
        during[rows] = time_s[rows] >= first + generator.random() * (last - first)
    return during


def for_half(
    subject: Int[np.ndarray, " row"], time_s: Float[np.ndarray, " row"], generator: np.random.Generator
) -> Bool[np.ndarray, " row"]:
    """For each person half of the windows, one after the other, wherever they start."""
    during = np.zeros(len(subject), dtype=np.bool_)
    for person in np.unique(subject):
        rows = np.flatnonzero(subject == person)
        rows = rows[np.argsort(time_s[rows], kind="stable")]
        half = (len(rows) + 1) // 2
        start = int(generator.integers(len(rows) - half + 1))
        during[rows[start : start + half]] = True
    return during


def _sets(size: int, count: int, k: int, seed: int) -> Losses:
    """Every set of k modalities, or some where there are too many to list."""
    if count <= LISTED:
        return [np.tile(lost, (size, 1)) for lost in losses_of(count, k)]
    generator = np.random.default_rng([seed, k])
    return [np.tile(generator.permutation(count) < k, (size, 1)) for _ in range(DRAWN)]


def _a_set_a_window(size: int, count: int, k: int, generator: np.random.Generator) -> Bool[np.ndarray, "row modality"]:
    return generator.random((size, count)).argsort(axis=1).argsort(axis=1) < k


def _scores(
    contest: Contest, maker: Maker, settings: Sequence[Setting], heads: Sequence[str]
) -> tuple[dict[str, list[Float[np.ndarray, "row variant output"]]], dict[str, int]]:
    """Out-of-fold scores of each head in each setting, and how often each head was chosen."""
    only = maker.name == RANDOM_ENCODER
    names = (CHOSEN,) if only else (CHOSEN, *heads)
    shape = (len(contest.table), contest.outputs)
    found = {
        name: [np.full((shape[0], len(setting.losses), shape[1]), np.nan) for setting in settings] for name in names
    }
    choices: dict[str, int] = {}
    for number, fold in enumerate(contest.folds):
        x, rows = maker.in_fold(number), contest.training(fold)
        inside, y, group = x.at(rows), contest.target.values[rows], contest.table.group[rows]
        # One C for every probe of this fold, found with all modalities: a search for each of the fits costs ten times.
        base = contest.base(strength=contest.strength(x, rows))
        made = {name: HEADS[name](base, outputs=contest.outputs, seed=contest.seed) for name in heads}
        best = best_head(made, inside, y, group, is_class=contest.is_class, seed=contest.seed)
        choices[best] = choices.get(best, 0) + 1
        fitted = {name: made[name](inside, y, group) for name in ({best} if only else heads)}
        fitted[CHOSEN] = fitted[best]
        fitted = {name: fitted[name] for name in names}
        for name, one in fitted.items():
            refuse_fitted_on_test(one.fitted_on, test_groups=fold.test_groups, what="a head")
            _fill(found[name], one, x, fold.test, settings)
    return found, choices


def _fill(
    found: Sequence[np.ndarray],
    head: FittedHead,
    x: Features,
    rows: Int[np.ndarray, " row"],
    settings: Sequence[Setting],
) -> None:
    asked = x.at(rows)
    for into, setting in zip(found, settings, strict=True):
        for variant, lost in enumerate(setting.losses):
            into[rows, variant] = head.predict(asked.without(lost[rows]))


def _metrics(
    contest: Contest, truth: np.ndarray, person: np.ndarray, dummy: Float[np.ndarray, "row output"]
) -> list[Metric]:
    """The score of the variants (all but the first), and the share of the first one's excess that they keep."""
    labels = truth.astype(np.int64)

    def score(one: np.ndarray) -> people.Score:
        return people.auroc(one, labels, person) if contest.is_class else mean_error(one, truth, person)

    def lost(scores: np.ndarray) -> people.Score:
        return mean_score([score(scores[:, place]) for place in range(1, scores.shape[1])])

    def kept(scores: np.ndarray) -> people.Score:
        whole, some = score(scores[:, 0]), lost(scores)
        nothing = mean_error(dummy, truth, person) if not contest.is_class else None

        def over(counts: np.ndarray) -> np.ndarray:
            chance = nothing.over(counts) if nothing else np.full(len(counts), CHANCE_AUROC)
            excess = whole.over(counts) - chance
            return np.where(excess != 0, (some.over(counts) - chance) / np.where(excess != 0, excess, 1.0), np.nan)

        return people.Score(over, whole.people)

    name, better, unit = ("auroc", "higher", "") if contest.is_class else ("mae", "lower", contest.target.unit)
    return [Metric(name, lost, better, unit), Metric("excess_kept", kept, "higher")]  # type: ignore[arg-type]


def kept_shares(result: Result) -> Mapping[str, float]:
    """What the headline keeps of its excess, by setting; for a summary."""
    return {row.what: row.value for row in result.rows if row.metric == "excess_kept" and row.model == HEADLINE}
