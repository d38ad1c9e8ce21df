"""The baseline from scratch for any number of classes, modalities used alone, and refusals before hours of training."""

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from hdt_fm.cli import also, scratch
from hdt_fm.cli.also import PROTOCOLS, Beside, check_also
from hdt_fm.cli.compose import compose_config
from hdt_fm.cli.evidence import only_of
from hdt_fm.cli.settings import ProtocolSettings
from hdt_fm.data.shards import ShardFolder
from hdt_fm.evaluation.contest import Contest
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.errors import ConfigError, LeakError
from hdt_fm.schema.protocols import Embeddings
from hdt_fm.schema.result import Result

CLASSES = {"rest": 0, "walk": 1, "run": 2}


@pytest.fixture(scope="module")
def folder(repo, tmp_path_factory) -> ShardFolder:
    """PPG, acceleration, temperature; a label `stress` of two classes; people have a sex."""
    spec = importlib.util.spec_from_file_location("tiny_cohort", repo / "tests" / "tiny_cohort.py")
    tiny = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny)
    path = tmp_path_factory.mktemp("shards") / "tiny"
    tiny.build(path)
    return ShardFolder.open(path)


def settings(*overrides: str) -> ProtocolSettings:
    return compose_config("evaluate", list(overrides)).section("protocol", ProtocolSettings)


class Model:
    """Embeds a window as its id, and keeps which modalities it was shown."""

    def __init__(self):
        self.shown = []

    def embed(self, batch):
        self.shown += batch.present.tolist()
        values = batch.window_id[:, None, None].expand(len(batch), len(batch.modalities), 1).float()
        return Embeddings(values, batch.present)


def logits_of(window_id, columns):
    return torch.sin(window_id.float()[:, None] * torch.arange(1, columns + 1))


@pytest.mark.parametrize("columns", [1, 2, 3, 6])
def test_scores_have_a_column_a_class_past_two(folder, columns):
    asked = folder.window_ids[::-3]
    found = scratch._scores(
        Model(), lambda inputs: logits_of(inputs.context[:, 0, 0], columns), folder, asked, None, "cpu"
    )
    expected = logits_of(torch.tensor(asked.copy()), columns).double().numpy()
    if columns == 2:
        expected = expected[:, 1] - expected[:, 0]
    assert found.shape == ((len(asked), columns) if columns > 2 else (len(asked),))
    np.testing.assert_allclose(found, expected.squeeze(1) if columns == 1 else expected, rtol=1e-5, atol=1e-6)


def test_a_model_from_scratch_sees_the_modalities_that_are_used_alone(folder):
    model, names = Model(), folder.modalities
    scratch._scores(model, lambda inputs: inputs.context[:, 0, :1], folder, folder.window_ids, ("acc", "temp"), "cpu")
    expected = folder.present & np.isin(names, ("acc", "temp"))
    assert np.array_equal(np.array(model.shown), expected)
    assert folder.present[:, names.index("ppg")].any()


def test_named_classes_count_though_no_training_window_holds_them(folder):
    assert scratch._classes(folder, "stress", np.array([0.0, 0.0])) == 2
    assert scratch._classes(folder, "unheard of", np.array([0.0, 4.0])) == 5


@pytest.mark.parametrize("columns", [1, 3])
def test_folds_fill_their_own_rows_and_leave_the_others_unknown(monkeypatch, columns):
    shape = (columns,) if columns > 1 else ()
    monkeypatch.setattr(scratch, "_one_fold", lambda *given: np.full((len(given[3].test), *shape), given[3].name))
    run = SimpleNamespace(config=SimpleNamespace(section=lambda *_: None), progress=lambda what: lambda *_: None)
    folds = [SimpleNamespace(test=np.array([4, 1]), name=1.0), SimpleNamespace(test=np.array([0]), name=2.0)]
    plain = getattr(scratch.scratch_scores, "__wrapped__", scratch.scratch_scores)
    found = plain(run, None, range(6), folds)
    assert found.shape == (6, *shape)
    by_row = found.reshape(6, -1)[:, 0]
    np.testing.assert_array_equal(by_row, [2, 1, np.nan, np.nan, 1, np.nan])


@pytest.mark.parametrize(
    ("only", "alone"), [("null", None), ("ppg", ("ppg",)), ("[ppg]", ("ppg",)), ("[acc,ppg]", ("acc", "ppg"))]
)
def test_only_takes_one_name_a_list_or_nothing(only, alone):
    assert settings(f"protocol.only={only}").alone == alone


def test_only_is_no_number():
    with pytest.raises((ConfigError, ValidationError), match="only"):
        settings("protocol.only=3")


def table() -> EmbeddingTable:
    generator = np.random.default_rng(0)
    rows = np.arange(7)
    return EmbeddingTable(
        modalities=("ppg", "acc", "temp"),
        embeddings=generator.normal(size=(7, 3, 5)).astype(np.float32),
        projections=generator.normal(size=(7, 3, 2)).astype(np.float32),
        present=generator.random((7, 3)) < 0.7,
        subjects=("a", "b"),
        subject=rows % 2,
        group=rows % 2,
        time_s=rows.astype(np.float64),
        window_id=rows,
        labels={"stress": (rows % 2).astype(np.float32)},
        label_columns=(),
        window_s=10.0,
        hop_s=10.0,
        model_digest="none",
        data_digest="none",
    )


def test_a_table_keeps_the_modalities_that_are_asked_for_in_their_order():
    whole = table()
    some = only_of(whole, ("temp", "ppg"))
    assert some.modalities == ("temp", "ppg")
    for part, all_of_it in (
        (some.embeddings, whole.embeddings),
        (some.projections, whole.projections),
        (some.present, whole.present),
    ):
        assert np.array_equal(part, all_of_it[:, [2, 0]])
    assert only_of(whole, None) is whole
    with pytest.raises(ConfigError, match="no modality 'eda'"):
        only_of(whole, ("ppg", "eda"))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_shards_of_several_modalities_two_classes_and_covariates_give_everything(folder, name):
    check_also(settings(f"protocol.also=[{name}]"), folder)


@pytest.mark.parametrize(
    ("overrides", "name", "wanted"),
    [
        (["protocol.only=ppg"], "missing_modalities", "at least 2 modalities"),
        (["protocol.only=[ppg]"], "zero_shot", "at least 2 modalities"),
        (["protocol=regression"], "personalisation", "a class label with 2 classes"),
    ],
)
def test_what_cannot_run_is_refused_by_name(folder, overrides, name, wanted):
    with pytest.raises(ConfigError, match=wanted) as caught:
        check_also(settings(*overrides, f"protocol.also=[few_shot,{name}]"), folder)
    assert f"leave '{name}' out of protocol.also" in str(caught.value)
    # The same settings without it pass, and two modalities alone are enough.
    check_also(settings(*overrides, "protocol.also=[few_shot]"), folder)
    if "only" in overrides[0]:
        check_also(settings("protocol.only=[ppg,acc]", f"protocol.also=[{name}]"), folder)


def test_three_classes_and_people_without_covariates_are_refused(folder, monkeypatch):
    stress = next(column for column in folder.header.labels if column.name == "stress")
    three = folder.header.model_copy(update={"labels": (stress.model_copy(update={"classes": tuple(CLASSES)}),)})
    bare = tuple(row.model_copy(update={"covariates": {}}) for row in folder.manifest.subjects)
    monkeypatch.setattr(folder, "header", three)
    with pytest.raises(ConfigError, match="a class label with 2 classes"):
        check_also(settings("protocol.also=[personalisation]"), folder)
    monkeypatch.setattr(folder, "manifest", folder.manifest.model_copy(update={"subjects": bare}))
    with pytest.raises(ConfigError, match="covariates of the people"):
        check_also(settings("protocol.also=[subgroups]"), folder)


def test_a_protocol_that_these_people_cannot_give_costs_no_other(monkeypatch):
    def refuses(entered, beside):
        raise ConfigError("No bands", fix="leave it out")

    def leaks(entered, beside):
        raise LeakError("A test person was seen")

    few, zero = Result.model_construct(name="few"), Result.model_construct(name="zero")
    made = {"few_shot": lambda entered, beside: few, "zero_shot": lambda entered, beside: zero}
    monkeypatch.setattr(also, "PROTOCOLS", {**made, "subgroups": refuses, "personalisation": leaks})
    said = []
    given = {"entered": object.__new__(Contest), "beside": Beside([]), "progress": lambda *_: None, "say": said.append}
    assert also.further(["few_shot", "subgroups", "zero_shot"], **given) == [few, zero]
    assert len(said) == 1
    assert "subgroups" in said[0]
    assert "leave it out" in said[0]
    with pytest.raises(LeakError):
        also.further(["few_shot", "personalisation"], **given)


def test_every_further_protocol_has_a_setting_and_the_other_way_round():
    for name in PROTOCOLS:
        assert settings(f"protocol.also=[{name}]").also == (name,)
    with pytest.raises((ConfigError, ValidationError), match="also"):
        settings("protocol.also=[nothing_such]")


@pytest.mark.parametrize("only", ["eda", "[ppg,eda]", "[]", "[ppg,ppg]"])
def test_modalities_alone_must_be_of_the_shards_and_named_once(folder, only):
    """Refused before pretraining: later, an empty or unknown choice would end hours of work with a raw error."""
    with pytest.raises(ConfigError, match="does not fit the shards") as refused:
        check_also(settings("protocol.label=stress", f"protocol.only={only}"), folder)
    assert "ppg" in str(refused.value)
    check_also(settings("protocol.label=stress", "protocol.only=[ppg,acc]"), folder)
