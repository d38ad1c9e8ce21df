"""Credit of each way: by hand of a head that adds up, the same change as the maps', and as a section of the report."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hdt_fm.explain.page as page
from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.explanation import Check, Reliability, plain
from hdt_fm.explain.others import Others
from hdt_fm.explain.page.document import html
from hdt_fm.explain.page.palette import AGAINST, FOR, SIZE, contrast
from hdt_fm.explain.page.report import Report
from hdt_fm.explain.page.stamp import FAILED
from hdt_fm.explain.targets.forecast import SeriesTarget
from hdt_fm.explain.targets.routes import RouteCredit, route_credit
from hdt_fm.explain.targets.routes_section import section, ways_in_words
from hdt_fm.explain.targets.told import CLOCK, Telling, readings
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import UnknownNameError
from hdt_fm.schema.protocols import HeadInput
from hdt_fm.schema.series import ForecastTask

HOUR, STEP_S, PEOPLE, EACH = 3600.0, 1800.0, 6, 2
WAYS = ("encoder", "recent", "own days", "treatments")
TASK = ForecastTask(
    modality="glucose",
    unit="mg/dL",
    step_s=STEP_S,
    context_s=2 * HOUR,
    horizons_s=(HOUR,),
    every_s=HOUR,
    windows=2,
    apart_s=12 * HOUR,
    treatments=("bolus",),
)
TELLING = Telling(TASK, 6 * HOUR, 0.0, 1.5 * HOUR, (6 * HOUR, 24 * HOUR), (1,), (HOUR, 4 * HOUR), HOUR, (HOUR,) * 4)


class Means(nn.Module):
    """Of each window its mean over what was observed, in two columns."""

    def forward(self, batch: Batch) -> SimpleNamespace:
        signal = batch.signals["glucose"]
        mean = (signal.values[:, 0] * signal.observed).sum(-1) / signal.observed.sum(-1).clamp(min=1)
        return SimpleNamespace(values=torch.stack([mean, -0.3 * mean], -1)[:, None])


class Adds(nn.Module):
    """A weighted sum of all that it is told; what is not known counts nothing. No reading is told it beside."""

    def __init__(self, size: int, scale: float = 0.1) -> None:
        super().__init__()
        draws = torch.Generator().manual_seed(2)
        self.weight = nn.Parameter(scale * torch.randn(size, generator=draws, dtype=torch.float64))
        self.of_windows = nn.Parameter(scale * torch.randn(2, 2, generator=draws))
        self.register_buffer("center", torch.full((size,), 120.0))

    def forward(self, inputs: HeadInput) -> Tensor:
        assert inputs.known is not None
        out = inputs.known.nan_to_num() @ self.weight + (inputs.context * self.of_windows).sum((1, 2))
        return torch.stack([out, 2 * out], -1)[:, None]


@pytest.fixture
def target() -> SeriesTarget:
    return SeriesTarget(Means(), Adds(TELLING.parts["treatments"].stop), TELLING)


def batch_of(people: int = PEOPLE, treated: int = PEOPLE) -> Batch:
    """Two windows of each person; what some took is not known."""
    rows, draws = PEOPLE * EACH, torch.Generator().manual_seed(1)
    size = round(TELLING.history_s / STEP_S)
    subject = torch.arange(rows) % people
    values = 140 + 30 * torch.randn(rows, 1, size, generator=draws)
    seen = torch.rand(rows, size, generator=draws) > 0.1
    seen[:, -1] = True
    doses = torch.where(torch.rand(rows, 1, size, generator=draws) > 0.9, 4.0, 0.0)
    known = (subject < treated)[:, None].expand(-1, size)
    signals = {"glucose": Signal(values, seen, 1 / STEP_S), "bolus": Signal(doses, known, 1 / STEP_S)}
    present = torch.stack([torch.ones(rows, dtype=torch.bool), subject < treated], dim=1)
    row = torch.arange(rows)
    clock = (row * 7000.0 % 86_400).double()
    return Batch(tuple(signals), signals, present, subject + 4_321, row.double(), row, labels={CLOCK: clock})


def against(batch: Batch, level: Callable[[Tensor], Tensor]) -> Batch:
    """Readings at one level, and nothing given."""
    signal = batch.signals["glucose"]
    flat = level(signal.values).expand_as(signal.values)
    none = replace(batch.signals["bolus"], values=torch.zeros_like(batch.signals["bolus"].values))
    return replace(batch, signals={"glucose": replace(signal, values=flat.clone()), "bolus": none})


def by_hand(target: SeriesTarget, here: Batch, there: Batch) -> np.ndarray:
    """Of a head that adds up the credit of a way is what its own part does."""
    with torch.no_grad():
        one, other = target.inputs(here), target.inputs(there)
        of_encoder = ((one.context - other.context) * target.head.of_windows).sum((1, 2))
        moved = (one.known.nan_to_num() - other.known.nan_to_num()) * target.head.weight
    parts = [moved[:, where].sum(1) for where in TELLING.parts.values()]
    return torch.stack([of_encoder, *parts], dim=1).numpy()


@pytest.mark.parametrize("batch_rows", [5, 64])
def test_credit_by_hand_in_every_column(target: SeriesTarget, batch_rows: int) -> None:
    batch = batch_of()
    want = by_hand(target, batch, against(batch, lambda values: torch.zeros(1)))
    assert np.abs(want).min(0).max() > 0.1
    for column, times in ((0, 1), (1, 2)):
        found = route_credit(target, batch, column=column, reference="zero", batch_rows=batch_rows)
        assert found.ways == WAYS
        np.testing.assert_allclose(found.credit, times * want, rtol=1e-4, atol=1e-3)
        assert found.gap.max() < 1e-3
        assert found.held.all()


@pytest.mark.parametrize("reference", ["window_mean", "zero"])
def test_the_change_is_that_of_the_maps(target: SeriesTarget, reference: str) -> None:
    batch = batch_of()
    made = attribute(target, batch, target=0, methods=("occlusion",), reference=reference, segments=4)
    found = route_credit(target, batch, column=0, reference=made.against)
    np.testing.assert_allclose(found.change, made.output - made.reference_output, atol=1e-9)
    np.testing.assert_allclose(found.credit.sum(1), found.change, atol=1e-3)
    assert found.reference == reference


def test_others_are_averaged_over_who_was_drawn(target: SeriesTarget) -> None:
    batch = batch_of()
    signal = batch.signals["glucose"]
    whole = replace(batch, signals={**batch.signals, "glucose": replace(signal, observed=signal.observed | True)})
    others = Others(whole, draws=3, seed=5)
    found = route_credit(target, whole, column=0, reference=others)
    # The time of day is not varied, so it stays the window's own.
    drawn = [replace(one, labels=whole.labels) for one in others.aligned(whole)]
    want = np.mean([by_hand(target, whole, one) for one in drawn], axis=0)
    np.testing.assert_allclose(found.credit, want, rtol=1e-4, atol=1e-3)
    assert found.reference == "others"


def test_the_model_is_left_as_it_was_and_names_are_checked(target: SeriesTarget) -> None:
    target.train()
    route_credit(target, batch_of(), column=0)
    assert target.training
    assert target.head.weight.requires_grad
    with pytest.raises(UnknownNameError, match="window_mean"):
        route_credit(target, batch_of(), column=0, reference="nothing")


def test_who_is_told_nothing_by_a_way_has_no_credit_there(target: SeriesTarget) -> None:
    batch = batch_of(treated=4)
    found = route_credit(target, batch, column=0)
    knew = batch.present[:, 1].numpy()
    assert found.held[:, :3].all()
    np.testing.assert_array_equal(found.held[:, 3], knew)
    assert not found.credit[~knew, 3].any()
    assert np.isnan(found.shares()[~knew, 3]).all()
    np.testing.assert_allclose(np.nansum(found.shares(), axis=1), 1.0)
    nobody = batch.without(torch.tensor([False, True]).expand(len(batch), -1))
    assert not readings(TELLING, nobody)[1].any()
    lone = nobody.select(torch.from_numpy(np.flatnonzero(knew)))
    assert route_credit(target, lone, column=0).held.all(0).tolist() == [False, False, False, True]


# --- the section ---


def fits(found: RouteCredit, unit: str = "mg/dL") -> dict:
    schema = json.loads((Path(page.__file__).parent / "schema" / "routes.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    record = json.loads(json.dumps(plain(section(found, unit=unit, draws=100).record), allow_nan=False))
    jsonschema.validate(record, schema)
    return record


def report(target: SeriesTarget, batch: Batch, *, verdict: str = "pass") -> tuple[str, dict]:
    """The page's part on ways, and its record."""
    made = attribute(target, batch, target=0, target_name="median", methods=("occlusion",), segments=4)
    made = replace(made, reliability=Reliability((Check("noise", verdict, 1.0, "", ""),)))  # type: ignore[arg-type]
    found = route_credit(target, batch, column=0, target_name="median")
    text = html(Report(made, sections=[section(found, unit="mg/dL", draws=100)]))
    assert "4321" not in text
    return text[text.index('id="routes"') : text.index('id="agreement"')], fits(found)


def test_the_means_are_over_people(target: SeriesTarget) -> None:
    text, record = report(target, batch_of())
    found = route_credit(target, batch_of(), column=0)
    for place, one in enumerate(record["ways"]):
        assert (one["name"], one["status"], one["count"]) == (WAYS[place], "shown", PEOPLE)
        assert one["credit"] == pytest.approx(found.credit[:, place].mean(), rel=1e-4)
        assert one["share"] == pytest.approx(found.shares()[:, place].mean(), rel=1e-4)
        assert one["credit_low"] < one["credit"] < one["credit_high"]
        assert one["share_low"] < one["share"] < one["share_high"]
    assert sum(one["share"] for one in record["ways"]) == pytest.approx(1.0, abs=1e-4)
    assert sum(one["credit"] for one in record["ways"]) == pytest.approx(record["change"], abs=1e-3)
    assert "one reading is told in several ways" in text
    assert "with 95 % intervals" in text
    assert text.count('scope="row"') == len(WAYS)
    assert record["over"] == "people"


def test_the_figure_is_told_in_words_and_can_be_seen(target: SeriesTarget) -> None:
    text, record = report(target, batch_of())
    figure = text[text.index("<svg") : text.index("</svg>")]
    assert 'role="img"' in figure
    assert "<title>Credit by way</title>" in figure
    most = max(record["ways"], key=lambda one: one["share"])
    assert re.search(
        rf"<desc>Shares of the size: [\w ]+ {100 * most['share']:.0f} %, on average [+−][\d.]+ mg/dL", figure
    )
    assert figure.count("<rect") == 2 * len(WAYS)
    # Bars are no text: 3 to 1 (WCAG 2.2, criterion 1.4.11).
    assert min(contrast(colour, "#ffffff") for colour in (FOR, AGAINST, SIZE)) >= 3


def test_a_failed_report_is_stamped(target: SeriesTarget) -> None:
    text, _ = report(target, batch_of(), verdict="fail")
    assert f">{FAILED}</text>" in text


def test_a_way_of_few_people_is_named_without_numbers(target: SeriesTarget) -> None:
    text, record = report(target, batch_of(treated=4))
    *others, treatments = record["ways"]
    assert treatments["status"] == "too few people"
    assert {treatments[key] for key in treatments if key not in ("name", "status")} == {None}
    assert record["change"] is None
    # Shares are among those that are shown, so that the hidden one is not what they lack.
    assert sum(one["share"] for one in others) == pytest.approx(1.0, abs=1e-4)
    assert "told of fewer than 5 people, so its numbers are not shown" in text
    assert "among those shown" in text
    assert "on average</p>" not in text


def test_an_absent_way_hides_nothing(target: SeriesTarget) -> None:
    text, record = report(target, batch_of(treated=0))
    assert record["ways"][3]["status"] == "absent"
    assert record["change"] is not None
    assert text.count("nothing was told by it") == 3


def test_a_lone_person_is_told_over_windows_and_few_windows_have_no_interval(target: SeriesTarget) -> None:
    batch = batch_of(people=1)
    text, record = report(target, batch)
    assert record["over"] == "windows"
    assert record["ways"][0]["count"] == PEOPLE * EACH
    assert "narrower than they should be" in text
    text, record = report(target, batch.select(torch.arange(4)))
    assert record["ways"][0]["credit_low"] is None
    assert "intervals" not in text


def test_a_head_that_says_nothing_gives_no_credit() -> None:
    silent = SeriesTarget(Means(), Adds(TELLING.parts["treatments"].stop, scale=0.0), TELLING)
    text, record = report(silent, batch_of())
    assert all(one["credit"] == 0 and one["share"] is None for one in record["ways"])
    assert "No credit anywhere" in text
    assert text.count(">no credit<") == len(WAYS)


def test_what_is_told_by_each_way_in_words() -> None:
    assert ways_in_words(TELLING) == {
        "encoder": "what the frozen encoder makes of each of 2 stretches of 6 h, 12 h apart",
        "recent": "the newest reading, and those of the last 2 h one by one",
        "own days": "means and spreads of the last 6 h to 24 h; readings 1 day before",
        "treatments": "what of rapid insulin still acts",
    }
    alone = replace(TELLING, task=replace(TASK, windows=0))
    target = SeriesTarget(Means(), Adds(TELLING.parts["treatments"].stop), alone)
    target.head.of_windows = nn.Parameter(torch.zeros(1))
    assert route_credit(target, batch_of(), column=0).ways == WAYS[1:]
