"""Moved encoders in the frontier, on a cohort whose truth is known: only the encoder can help half of its people."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from hdt_fm.evaluation import personalisation, tuned
from hdt_fm.evaluation.baselines import RANDOM_ENCODER
from hdt_fm.evaluation.contest import OURS, Contest, contest
from hdt_fm.evaluation.folds import grouped_folds
from hdt_fm.evaluation.rehearsal import openings
from hdt_fm.evaluation.tuned import FULL, LOW_RANK, Question, Tuned
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.protocols import Embeddings
from hdt_fm.training.personal import LinearProbe, adapt_encoder

PEOPLE, WINDOWS, WIDTH = 9, 40, 6
MINUTES = (0.0, 6.0)
# Of these people channel 1 tells the class and channel 0 nothing; the encoder looks at channel 0 alone.
OTHERS = tuple(range(0, PEOPLE, 2))


class TwoChannels(nn.Module):
    """One modality of two channels and one sample; the second channel is there and is not looked at."""

    def __init__(self, blind: bool = True) -> None:
        super().__init__()
        self.read = nn.Linear(2, WIDTH)
        generator = torch.Generator().manual_seed(4 + blind)
        with torch.no_grad():
            self.read.weight.copy_(torch.randn(WIDTH, 2, generator=generator))
            self.read.weight[:, 1] *= 1 - blind
            self.read.bias.zero_()

    def forward(self, batch: Batch) -> Embeddings:
        values = torch.tanh(self.read(batch.signals["ppg"].values[:, :, 0]))
        return Embeddings(values[:, None], batch.present)


class Cohort:
    """Signals and labels; `noise`: the labels of everyone's first ten windows tell nothing of the signals."""

    def __init__(self, make_table, *, noise: bool = False) -> None:
        rng = np.random.default_rng(2)
        table = make_table(people=PEOPLE, windows=WINDOWS, modalities=("ppg",), width=WIDTH)
        stress = np.tile(np.arange(WINDOWS) // 2 % 2, PEOPLE).astype(np.float32)
        signal = rng.normal(size=(len(table), 2)) * 0.4
        telling = np.where(np.isin(table.subject, OTHERS) & (not noise), 1, 0)
        signal[np.arange(len(table)), telling] += 2 * stress - 1
        if noise:
            early = np.tile(np.arange(WINDOWS) < 10, PEOPLE)
            signal[early] = rng.normal(size=(int(early.sum()), 2))
        self.signal = torch.from_numpy(signal).float()
        self.encoders = {OURS: TwoChannels(), RANDOM_ENCODER: TwoChannels()}
        self.encoders[RANDOM_ENCODER].read.weight.data[:, 0] *= 0.1
        tables = {
            maker: replace(
                table,
                embeddings=self.embedded(encoder),
                projections=np.zeros((len(table), 1, 2), np.float32),
                present=np.ones((len(table), 1), dtype=np.bool_),
                labels={"stress": stress},
            )
            for maker, encoder in self.encoders.items()
        }
        self.contest = contest(
            table=tables[OURS],
            label="stress",
            hand=(rng.normal(size=(len(table), 3)), ["ppg.a", "ppg.b", "ppg.c"]),
            folds=grouped_folds(table.group, 3, seed=0),
            random_tables=[tables[RANDOM_ENCODER]],
            draws=20,
        )
        self.asked: list[Question] = []

    def windows(self, rows) -> Batch:
        values = self.signal[torch.from_numpy(rows)][:, :, None]
        here = torch.ones(len(rows), 1, dtype=torch.bool)
        number = torch.from_numpy(rows)
        return Batch(("ppg",), {"ppg": Signal(values, here, 1.0)}, here, number, number.float(), number)

    def embedded(self, encoder: nn.Module) -> np.ndarray:
        with torch.no_grad():
            return encoder(self.windows(np.arange(len(self.signal)))).values.numpy()

    def ways(self, encoders=None, *, rate: float = 0.05) -> list[Tuned]:
        encoders = encoders or self.encoders

        def way(maker: str, method: str, rank: int | None) -> Tuned:
            def answer(question: Question) -> np.ndarray:
                self.asked.append(question)
                of = question.probe
                numbers = [torch.from_numpy(one)[None].float() for one in (of.scale.center, of.scale.scale, of.weights)]
                return (
                    adapt_encoder(
                        encoders[maker],
                        LinearProbe((0,), *numbers, torch.tensor(of.offset).float()),
                        self.windows(question.own),
                        torch.from_numpy(question.labels).float(),
                        [self.windows(question.asked)],
                        stops=question.stops,
                        rank=rank,
                        learning_rate=rate,
                        seed=question.seed,
                    )
                    .double()
                    .numpy()
                )

            return Tuned(maker, method, answer, {"encoder_numbers_moved": 1})

        return [way(maker, method, rank) for maker in encoders for method, rank in ((LOW_RANK, 1), (FULL, None))]


@pytest.fixture(scope="module")
def cohort(make_table) -> Cohort:
    return Cohort(make_table)


@pytest.fixture(scope="module")
def result(cohort):
    return personalisation.personalisation(cohort.contest, minutes=MINUTES, tuned=cohort.ways(), rehearsed=4)


def row(result, model: str, minutes: float):
    return result.find(model, "auroc", f"stress, {minutes:g} min of own labels per class")


def test_whom_only_the_encoder_can_help_is_helped(result) -> None:
    """Four of nine are well served by the population; five are told apart by what the frozen encoder does not see."""
    warm, full, low = (row(result, f"{OURS} + {way}", 6) for way in (personalisation.WARM, FULL, LOW_RANK))
    assert full.columns["helped"] >= len(OTHERS)
    assert low.columns["helped"] >= len(OTHERS)
    assert full.value > warm.value + 0.1
    assert full.columns["worst_change"] > -0.1
    assert full.role == "ours"
    assert row(result, f"{RANDOM_ENCODER} + {FULL}", 6).role == "baseline"
    assert full.columns["encoder_numbers_moved"] == 1


def test_without_own_labels_it_is_the_population(result) -> None:
    plain, full = (row(result, f"{OURS} + {way}", 0) for way in (personalisation.NONE, FULL))
    assert full.value == plain.value
    with pytest.raises(KeyError):
        row(result, f"{OURS} + {LOW_RANK}", 0)


def test_the_record_says_how_many_steps_were_chosen_on_whom(result) -> None:
    steps = result.protocol["fine_tune_steps"]
    assert set(steps) == {f"{maker} + {way}" for maker in (OURS, RANDOM_ENCODER) for way in (FULL, LOW_RANK)}
    assert set(steps[f"{OURS} + {FULL}"]) == {"6 min"}
    chosen = steps[f"{OURS} + {FULL}"]["6 min"]
    assert len(chosen) == 3
    assert set(chosen) <= set(tuned.STOPS) - {0}
    assert "4 training people" in result.protocol["fine_tune_chosen_on"]
    assert "unlabelled" in result.protocol["fine_tune_chosen_on"]


def test_nothing_is_learned_from_what_is_scored(cohort, result) -> None:
    table, values = cohort.contest.table, cohort.contest.target.values
    scored = personalisation.budgets_of(cohort.contest, MINUTES)[-1].scored
    assert len(cohort.asked) > 50
    for one in cohort.asked:
        people = np.unique(table.subject[[*one.own, *one.asked]])
        assert len(people) == 1
        ends = table.time_s[one.own].max() + table.window_s
        assert (table.time_s[one.asked] >= ends).all()
        assert np.array_equal(one.labels, values[one.own])
        if people[0] in np.unique(table.subject[cohort.contest.folds[one.fold].test]):
            # A test person meets the fold's own probe, and is asked once, with steps that others have chosen.
            assert not one.probe.fitted_on.groups & set(table.group[one.asked])
            assert len(one.stops) == 2
            assert np.array_equal(one.asked, np.flatnonzero(scored & (table.subject == people[0])))
        else:
            assert one.stops == tuned.STOPS
            assert not one.probe.fitted_on.groups & set(table.group[one.asked])


def answers(cohort: Cohort, entered: Contest):
    """Log-odds and chosen steps of the first fold alone."""
    entered = replace(entered, folds=entered.folds[:1])
    budgets = personalisation.budgets_of(entered, (0.0, 2.0, 6.0))
    own, scored = [budget.own for budget in budgets], np.flatnonzero(budgets[-1].scored)
    maker = next(maker for maker in entered.makers if maker.name == OURS)
    way = next(one for one in cohort.ways() if (one.maker, one.method) == (OURS, FULL))
    return tuned.tuned_log_odds(entered, way, openings(entered, maker, own), own, scored, rehearsed=3), own, scored


def test_labels_of_asked_windows_change_no_answer_and_own_labels_do(cohort) -> None:
    entered = cohort.contest
    (before, steps), own, scored = answers(cohort, entered)
    of_test = np.isin(entered.table.subject, np.unique(entered.table.subject[entered.folds[0].test]))
    later = np.intersect1d(scored, np.flatnonzero(of_test))
    person = int(entered.table.subject[later[0]])

    def flipped(rows):
        values = entered.target.values.copy()
        values[rows] = 1 - values[rows]
        return answers(cohort, replace(entered, target=replace(entered.target, values=values)))[0]

    after, steps_after = flipped(later)
    assert steps_after == steps
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    turned, _ = flipped(own[-1][person])
    changed = ~np.isclose(turned[-1], before[-1]) & np.isfinite(before[-1])
    assert set(entered.table.subject[changed]) == {person}


def test_where_own_labels_are_noise_nobody_is_moved(make_table) -> None:
    cohort = Cohort(make_table, noise=True)
    ways = cohort.ways()
    result = personalisation.personalisation(cohort.contest, minutes=(0.0, 4.0), tuned=ways, rehearsed=6)
    assert result.protocol["fine_tune_steps"][f"{OURS} + {FULL}"]["4 min"] == [0, 0, 0]
    full = row(result, f"{OURS} + {FULL}", 4)
    assert (full.columns["hurt"], full.columns["worst_change"]) == (0, 0.0)
    assert full.value == row(result, f"{OURS} + {personalisation.NONE}", 4).value > 0.9
    # It is the choice that protects: twenty steps would have hurt these very people.
    last = [one for one in cohort.asked if one.stops == tuned.STOPS]
    answered = {one.method: one.answer for one in ways if one.maker == OURS}[FULL]
    right = [np.mean((answered(one) > 0) == (cohort.contest.target.values[one.asked] > 0), axis=1) for one in last]
    assert np.mean([one[-1] for one in right]) < np.mean([one[0] for one in right]) - 0.05


@pytest.fixture
def one_fold(cohort) -> Contest:
    return replace(cohort.contest, folds=cohort.contest.folds[:1])


def test_another_encoder_or_other_windows_are_refused(cohort, one_fold) -> None:
    one_fold = replace(one_fold, makers=one_fold.makers[:1])
    other = {OURS: TwoChannels(blind=False)}
    with pytest.raises(ShapeError, match="does not begin at the population's scores") as refused:
        personalisation.personalisation(one_fold, minutes=(0.0, 2.0), tuned=cohort.ways(other))
    assert f"{OURS} + {LOW_RANK}, fold 1" in str(refused.value)
    plain = cohort.ways()[1]
    turned = replace(plain, answer=lambda question: plain.answer(question)[:, ::-1])
    with pytest.raises(ShapeError, match="does not begin"):
        personalisation.personalisation(one_fold, minutes=(0.0, 2.0), tuned=[turned])
    short = replace(plain, answer=lambda question: plain.answer(question)[:, 1:])
    with pytest.raises(ShapeError, match="a row a stop"):
        personalisation.personalisation(one_fold, minutes=(0.0, 2.0), tuned=[short])


def test_ours_is_never_alone_and_names_are_checked(cohort, one_fold) -> None:
    ours = [one for one in cohort.ways() if one.maker == OURS]
    with pytest.raises(ValidationError, match=f"owes: {RANDOM_ENCODER} \\+ {FULL}"):
        personalisation.personalisation(one_fold, minutes=(0.0, 2.0), tuned=ours, rehearsed=1)
    for wrong in (replace(ours[0], maker="nobody"), replace(ours[0], method=personalisation.WARM)):
        with pytest.raises(ConfigError, match="cannot be moved under these names"):
            personalisation.personalisation(one_fold, tuned=[wrong])
