"""Sections `bands` and `events`: they render, fit their schema, and hold back what rests on few people."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from torch import nn

import hdt_fm.explain.page as page
from hdt_fm.explain.aggregate import bands_section, events_section
from hdt_fm.explain.aggregate.bands import BandCredit, band_credit
from hdt_fm.explain.aggregate.events import EventAligned, event_aligned
from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.explanation import Check, Explanation, Reliability, plain
from hdt_fm.explain.gate.events import Events
from hdt_fm.explain.page.document import html
from hdt_fm.explain.page.report import Report
from hdt_fm.explain.page.section import Section
from hdt_fm.schema.batch import Batch

PASSED = Reliability((Check("noise", "pass", 1.0, "", ""),))


def fits(one: Section) -> dict:
    schema = json.loads((Path(page.__file__).parent / "schema" / f"{one.key}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    record = json.loads(json.dumps(plain(one.record), allow_nan=False))
    jsonschema.validate(record, schema)
    return record


def of_people(batch: Batch, people: int) -> Batch:
    return replace(batch, subject=torch.arange(len(batch)) % people + 4_321)


@pytest.fixture
def made(new_batch: Callable[..., Batch], new_linear: Callable[..., nn.Module]) -> tuple[nn.Module, Batch, Explanation]:
    batch = of_people(new_batch(6), 6)
    model = new_linear(batch)
    explained = attribute(model, batch, target=0, methods=("integrated_gradients", "saliency"))
    return model, batch, replace(explained, reliability=PASSED)


def bands_of(model: nn.Module, batch: Batch, people: int) -> BandCredit:
    return band_credit(model, of_people(batch, people), target=0, steps=8)


def test_bands_render_and_fit_their_schema(made: tuple[nn.Module, Batch, Explanation]) -> None:
    model, batch, explained = made
    found = bands_of(model, batch, 6)
    one = bands_section.section(found, draws=100)
    record = fits(one)
    text = html(Report(explained, sections=[one]))
    for name in found.modalities:
        for band in found.bands[name]:
            assert f'<th scope="row">{band.name}</th>' in text
        units = np.stack([found.shares(name)[k] for k in range(6)]).mean(0)
        told = next(m for m in record["modalities"] if m["name"] == name)
        np.testing.assert_allclose([b["share"] for b in told["bands"]], units, rtol=1e-4)
        assert sum(b["share"] for b in told["bands"]) == pytest.approx(1.0, abs=1e-4)
        assert told["count"] == 6
    assert "4321" not in text
    assert text.count("mean over 6 people") == 3


def test_bands_of_few_people_are_named_without_numbers(made: tuple[nn.Module, Batch, Explanation]) -> None:
    model, batch, explained = made
    keep = batch.present.clone()
    keep[2:, 1] = False  # two people hold acc
    keep[:, 2] = False
    one = bands_section.section(bands_of(model, batch.without(keep), 6), draws=50)
    record = fits(one)
    assert {m["name"]: m["status"] for m in record["modalities"]} == {
        "ppg": "shown",
        "acc": "too few people",
        "temp": "absent",
    }
    text = html(Report(explained, sections=[one]))
    assert "Acceleration: held by fewer than 5 people" in text
    assert "gait and gestures" not in text
    four = fits(bands_section.section(bands_of(model, batch, 4), draws=50))
    assert all(m["status"] == "too few people" and not m["bands"] for m in four["modalities"])


def test_a_lone_persons_bands_are_over_windows(made: tuple[nn.Module, Batch, Explanation]) -> None:
    model, batch, explained = made
    one = bands_section.section(bands_of(model, batch, 1), draws=50)
    assert fits(one)["over"] == "windows"
    assert "narrower than they should be" in html(Report(explained, sections=[one]))


def aligned(explained: Explanation, people: int) -> EventAligned:
    places = tuple(np.array([10, 25]) for _ in range(len(explained)))
    explained = replace(explained, person=np.arange(len(explained)) % people)
    events = Events("systolic feet", "ppg", places, 0.5)
    return event_aligned(explained, events, before_s=1.0, after_s=1.5, shifts=99, draws=100)


def test_events_render_and_fit_their_schema(made: tuple[nn.Module, Batch, Explanation]) -> None:
    _, _, explained = made
    found = aligned(explained, 6)
    one = events_section.section([found])
    record = fits(one)["events"][0]
    assert record["events"] == 12
    assert record["enrichment"]["value"] == pytest.approx(found.enrichment, rel=1e-4)
    assert len(record["wave"][0]) == len(record["time_s"]) == 8 + 12 + 1
    text = html(Report(explained, sections=[one]))
    assert "12 in 6 windows of 6 people" in text
    drawn = text[text.index('id="events"') : text.index('id="agreement"')]
    assert drawn.count("<polyline") == 1
    assert drawn.count("Mean credit is largest") == 1
    assert drawn.count('scope="col"') == 6


def test_withheld_waveforms_leave_no_fine_course(made: tuple[nn.Module, Batch, Explanation]) -> None:
    _, _, explained = made
    one = events_section.section([aligned(explained, 6)], withhold_waveforms=True)
    record = fits(one)["events"][0]
    assert record["wave"] is None
    assert len(record["credit"][0]) == len(record["time_s"]) == 12
    text = html(Report(explained, sections=[one], withheld=True))
    assert "polyline" not in text
    assert "the signal less its window" not in text


def test_events_of_few_people_are_named_without_numbers(made: tuple[nn.Module, Batch, Explanation]) -> None:
    _, _, explained = made
    one = events_section.section([aligned(explained, 4)])
    assert set(fits(one)["events"][0]) == {"name", "modality", "method", "width_s", "status"}
    text = html(Report(explained, sections=[one]))
    assert "from fewer than 5 people" in text
    assert "Mean credit is largest" not in text
    assert fits(events_section.section([aligned(explained, 1)]))["events"][0]["over"] == "windows"
