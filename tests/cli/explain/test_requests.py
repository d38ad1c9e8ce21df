"""`hdt-fm explain` as its user meets it: a whole cohort, what is left out and why, and requests that cannot be had."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from hdt_fm.cli.compose import compose_config
from hdt_fm.cli.explain import _told
from hdt_fm.cli.explain.estimate import seconds
from hdt_fm.cli.explain.mapping import Chosen
from hdt_fm.cli.explain.told import Told
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main

TINY = [
    "experiment=demo",
    "debug=tiny",
    "cohort.subjects=16",
    "cohort.hours=0.25",
    "cohort.missing_modality=0.0",
    "finetune.context=4",
    "split.test=0.4",
]
QUICK = ["explain.windows=1", "explain.sections=[]", "explain.alternative=null", "explain.pictures=false"]


def explain(root: Path, *arguments: str) -> int:
    return main(["explain", *TINY, *QUICK, f"root={root}", *arguments])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A probe of an encoder, both of two steps."""
    root = tmp_path_factory.mktemp("explain") / "run"
    for verb in ("shard", "pretrain", "embed", "finetune"):
        assert main([verb, *TINY, f"root={root}"]) == EXIT_OK, verb
    return root


def test_a_cohort_with_methods_that_cannot_be_had(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are left out by name and reason, before the estimate; the page is of the others."""
    methods = "explain.methods=[integrated_gradients,saliency,deep_lift,layer_activation]"
    asked = ["explain.scope=cohort", methods, "explain.sections=[routes,cohort,causal]", "--json"]
    assert explain(root, *asked) == EXIT_OK
    told = capsys.readouterr()
    record = json.loads(told.out)
    assert set(record["summary"]["left out"].split(", ")) == {"saliency", "layer_activation", "deep_lift", "routes"}
    reasons = dict(re.findall(r"left out: (\w+): (.+)", told.err))
    assert set(reasons) == {"saliency", "layer_activation", "deep_lift", "routes"}
    assert reasons["routes"] == "of forecasts and risks alone"
    assert all(len(reason) > 20 for reason in reasons.values())
    order = [told.err.index(word) for word in ("left out: saliency", "about", "maps 0/", "tests 0/", "sections 0/")]
    assert order == sorted(order)
    found = json.loads((root / "explain" / "explanation.json").read_text())
    assert list(found["shares"]) == ["integrated_gradients"]
    assert found["sections"]["cohort"]["drift"]["training_people"] == 7


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("explain.scope=x", "'window', 'person' or 'cohort'"),
        ("explain.window=999 explain.scope=window", r"expected: 0 to \d+, in order of time"),
        ("explain.subject=999", "expected: one of: 0 to 15"),
        ("explain.window=3", "say explain.scope=window, or leave explain.window out"),
        ("explain.subject=3 explain.scope=cohort", "say explain.scope=person, or leave explain.subject out"),
        ("explain.head=forecast_glucose", "where: explain.head"),
        ("explain.horizon_s=0", "greater than 0"),
        ("explain.methods=[nothing]", "where: explain.methods"),
        ("explain.methods=[saliency,occlusion]", "such as: .*occlusion"),
        ("explain.methods=[deep_lift]", "such as: .*occlusion"),
        ("explain.head=similarity explain.scope=window", "compared with itself"),
        ("explain.sections=[nothing]", "'modalities'"),
    ],
)
def test_what_cannot_be_had_is_said_before_any_work(
    root: Path, setting: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path.name for path in (root / "explain").glob("explanation*"))
    assert explain(root, *setting.split()) == EXIT_USER_ERROR
    told = capsys.readouterr().err
    assert re.search(words, told), told
    assert "Traceback" not in told
    assert "about" not in told
    assert sorted(path.name for path in (root / "explain").glob("explanation*")) == before


def test_a_trial_says_how_long_and_by_what(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(root, "explain.methods=[occlusion,saliency]", "--dry-run", "--json") == EXIT_OK
    told = json.loads(capsys.readouterr().out)
    assert told["methods"] == "occlusion"
    assert told["left out"] == "saliency"
    assert told["windows"] == 1


@pytest.fixture(scope="module")
def told(root: Path) -> Told:
    """What the parts are told of such a request: ten windows of one person."""
    return _told(compose_config("explain", [*TINY, *QUICK, f"root={root}", "explain.windows=10"]))


def but(told: Told, **settings: object) -> Told:
    return replace(told, settings=told.settings.model_copy(update=settings))


@pytest.mark.parametrize(
    ("alternative", "label", "segment_s", "beside"),
    [
        ("others", "stress", None, "others"),
        ("others", None, None, "zero"),  # as of a likeness: other windows cannot stand in
        ("others", None, 10800.0, None),  # nobody has 0 mg/dL
        ("zero", None, 10800.0, None),
        ("window_mean", "stress", None, None),  # the reference itself
        (None, "stress", None, None),
    ],
)
def test_which_reference_stands_beside(
    told: Told, alternative: str | None, label: str | None, segment_s: float | None, beside: str | None
) -> None:
    of = replace(told, answer=replace(told.answer, label=label, segment_s=segment_s))
    assert but(of, alternative=alternative).alternative == beside


def test_the_estimate_adds_up_by_hand(told: Told) -> None:
    """10 windows at 0.1 + 0.2 s; a gate of 20 maps of 3; others at 4 draws of 1.5; page 0.3, pictures 3, students 5."""
    methods = Chosen(("occlusion", "lime"), {}, (), {"occlusion": 0.1, "lime": 0.2})
    assert len(told.asked) == 10
    assert seconds(told, methods) == pytest.approx(3.0 + 6.0 + 0.3)
    more = but(told, alternative="others", pictures=True, sections=("students",))
    assert seconds(more, methods) == pytest.approx(3.0 + 6.0 + 0.3 + 6.0 + 3.0 + 5.0)
