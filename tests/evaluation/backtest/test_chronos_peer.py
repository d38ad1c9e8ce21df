"""Chronos as it is: what it is told and what is taken of its answers, by a stand-in; then the library itself."""

import json
import socket
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from hdt_fm.evaluation.backtest import floors
from hdt_fm.evaluation.backtest.chronos_peer import chronos
from hdt_fm.evaluation.backtest.run import Model, backtest
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.series import Series
from hdt_fm.signal.moments import moments_of

HORIZONS = (1800.0, 3600.0, 7200.0)
STEPS = (6, 12, 24)
NOBODY = np.empty(0, dtype=np.int64)
TRAINED = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def waves(lengths):
    found = []
    for person, length in enumerate(lengths):
        generator = np.random.default_rng(person)
        noise = np.zeros(length)
        for place in range(1, length):
            noise[place] = 0.95 * noise[place - 1] + generator.normal(0, 4)
        seen = generator.random(length) > 0.03
        found.append(Series((140 + noise).astype(np.float32), seen, 300.0, 1_700_006_400.0, person, person))
    return found


@pytest.fixture(scope="module")
def people():
    return waves([300, 420, 350, 310, 380, 340])


@pytest.fixture(scope="module")
def moments(people):
    return moments_of(people, context_s=3 * 3600.0, horizons_s=HORIZONS)


def moved(people, place):
    """The same people with another life after a place."""
    return [
        Series(
            np.where(np.arange(len(one)) > place, one.values[::-1] + 500, one.values).astype(np.float32),
            np.where(np.arange(len(one)) > place, one.observed[::-1], one.observed),
            *(one.step_s, one.start_s, one.subject, one.group),
        )
        for one in people
    ]


def written(folder, kind="ChronosBoltPipeline", **more):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"chronos_pipeline_class": kind, **more}))
    save_file({"weight": torch.zeros(2, 3)}, folder / "model.safetensors")
    return folder


class StandIn:
    """Says of a series, `step` ahead, the last known reading + step + spread * (level - .5), a level at a time."""

    quantiles = TRAINED
    spread = 100

    def __init__(self, *, listed):
        self.listed, self.asked, self.loaded = listed, [], []
        self.model = torch.nn.Linear(3, 2, bias=False)

    def from_pretrained(self, where, **settings):
        self.loaded.append((where, settings))
        return self

    def predict_quantiles(self, inputs, *, prediction_length, quantile_levels):
        self.asked.append((inputs, prediction_length))
        last = torch.stack([one[~one.isnan()][-1] for one in inputs])
        middle = last[:, None] + torch.arange(1, prediction_length + 1)
        said = middle[..., None] + self.spread * (torch.tensor(quantile_levels) - 0.5)
        if self.listed:
            return [one[None] for one in said], [one[None] for one in middle]
        return said, middle


@pytest.fixture(params=[False, True], ids=["a tensor, as Bolt", "a list, as Chronos-2"])
def stand_in(request, monkeypatch):
    found = StandIn(listed=request.param)
    module = ModuleType("chronos")
    module.BaseChronosPipeline = SimpleNamespace(from_pretrained=found.from_pretrained)
    monkeypatch.setitem(sys.modules, "chronos", module)
    return found


def test_points_and_quantiles_are_those_of_the_asked_steps(stand_in, people, moments, tmp_path):
    said = chronos(written(tmp_path / "own"), (0.1, 0.4, 0.9), batch=7)(moments, people, NOBODY, np.arange(17))
    assert said.shape == (17, 3, 4)
    point = moments.last[:17, None] + np.array(STEPS)
    assert np.allclose(said[..., 0], point)
    assert np.allclose(said[..., 1:], point[..., None] + np.array([-40, -10, 40]), atol=1e-4)
    assert {length for _, length in stand_in.asked} == {24}


def test_quantiles_that_cross_are_put_in_order_and_the_point_stays(stand_in, people, moments, tmp_path):
    stand_in.spread = -100
    said = chronos(written(tmp_path / "own"), (0.1, 0.4, 0.9))(moments, people, NOBODY, np.arange(3))
    assert np.allclose(said[..., 1:] - said[..., :1], [-40, 10, 40], atol=1e-4)


def test_batches_are_as_large_as_told_and_change_nothing(stand_in, people, moments, tmp_path):
    folder = written(tmp_path / "own")
    at = np.random.default_rng(0).permutation(len(moments))[:23]
    few = chronos(folder, batch=5)(moments, people, NOBODY, at)
    assert [len(inputs) for inputs, _ in stand_in.asked] == [5, 5, 5, 5, 3]
    assert np.array_equal(few, chronos(folder)(moments, people, NOBODY, at))
    assert len(stand_in.asked[5:]) == 1
    none = chronos(folder)(moments, people, NOBODY, NOBODY)
    assert none.shape == (0, 3, 10)


def test_it_is_told_what_was_read_and_no_line(stand_in, tmp_path):
    values = np.arange(100, dtype=np.float32) + 100
    seen = np.ones(100, bool)
    seen[[0, 1, 2, 30, 31, 47, 48]] = False
    (one,) = people = [Series(values, seen, 300.0, 0.0, 0, 0)]
    moments = moments_of(people, context_s=3600.0, horizons_s=HORIZONS, every_s=300.0, least_known=0.1)
    folder = written(tmp_path / "own")
    at = np.flatnonzero(moments.place == 48)
    chronos(folder, context_s=20 * 300.0)(moments, people, NOBODY, at)
    chronos(folder)(moments, people, NOBODY, at)
    short, whole = (inputs[0].numpy() for inputs, _ in stand_in.asked)
    expected = np.where(seen, values, np.nan)
    # The 20 steps from 29 to now; all that there is begins with the first reading.
    assert np.array_equal(short, expected[29:49], equal_nan=True)
    assert np.isnan(short[[1, 2, -2, -1]]).all()
    assert np.array_equal(whole, expected[3:49], equal_nan=True)
    assert short.dtype == np.float32
    assert one.values[30] == 130  # filled in no copy of the person


def test_nothing_later_is_told(stand_in, people, moments, tmp_path):
    early = np.flatnonzero(moments.place < 200)
    fit = chronos(written(tmp_path / "own"))
    assert np.array_equal(
        fit(moments, people, NOBODY, early), fit(moments, moved(people, moments.place[early].max()), NOBODY, early)
    )
    half = len(stand_in.asked) // 2
    for (before, _), (after, _) in zip(stand_in.asked[:half], stand_in.asked[half:], strict=True):
        assert all(torch.equal(x.nan_to_num(-1), y.nan_to_num(-1)) for x, y in zip(before, after, strict=True))


def test_weights_are_asked_for_here_and_as_safetensors(stand_in, tmp_path, monkeypatch):
    folder = written(tmp_path / "own")
    monkeypatch.chdir(tmp_path)
    chronos(folder.relative_to(tmp_path))
    ((where, settings),) = stand_in.loaded
    assert where == str(folder)
    assert settings == {
        "torch_dtype": "float32",
        "local_files_only": True,
        "use_safetensors": True,
        "trust_remote_code": False,
    }


def test_without_chronos_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "chronos", None)
    with pytest.raises(ConfigError, match=r"extra chronos(.|\n)*hdt-fm\[chronos\]"):
        chronos(tmp_path)


def test_no_folder_is_refused(stand_in, tmp_path):
    with pytest.raises(ConfigError, match="no folder"):
        chronos(tmp_path / "nowhere")
    assert not stand_in.loaded


def test_pickled_weights_are_refused(stand_in, tmp_path):
    folder = written(tmp_path / "own")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"(?s)could run code.*without both of them, but pytorch_model\.bin"):
        chronos(folder)
    assert not stand_in.loaded


def test_an_adapter_is_refused(stand_in, tmp_path):
    folder = written(tmp_path / "own")
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"adapter_config\.json"):
        chronos(folder)
    assert not stand_in.loaded


@pytest.mark.parametrize(
    ("kind", "more", "said"),
    [
        ("ChronosPipeline", {}, "ChronosPipeline"),
        (None, {}, "None"),
        ("ChronosBoltPipeline", {"auto_map": {"AutoConfig": "code.Config"}}, "auto_map"),
        ("Chronos2Pipeline", {"transformers_weights": "other.safetensors.index.json"}, "transformers_weights"),
    ],
)
def test_another_model_and_one_that_leads_elsewhere_are_refused(stand_in, tmp_path, kind, more, said):
    folder = written(tmp_path / "own", kind, **more)
    with pytest.raises(ConfigError, match=rf"got: .*{said}"):
        chronos(folder)
    assert not stand_in.loaded


@pytest.mark.parametrize("text", ["{", "[]", "\udcff"])
def test_a_config_that_is_none_is_refused(stand_in, tmp_path, text):
    folder = written(tmp_path / "own")
    (folder / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match="no object in JSON"):
        chronos(folder)


def test_weights_that_leave_out_a_parameter_are_refused(stand_in, tmp_path):
    folder = written(tmp_path / "own")
    stand_in.model = torch.nn.Linear(3, 2)
    with pytest.raises(ConfigError, match=r"(?s)not whole.*none for 1 of them, 'bias' first"):
        chronos(folder)


def test_a_parameter_of_two_names_is_kept_under_one(stand_in, tmp_path):
    folder = written(tmp_path / "own")
    stand_in.model = torch.nn.Module()
    stand_in.model.first = stand_in.model.weight = torch.nn.Parameter(torch.zeros(2, 3))
    chronos(folder)


def test_weights_that_a_library_cannot_read_are_refused(stand_in, tmp_path):
    folder = written(tmp_path / "own")
    (folder / "model.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}")
    with pytest.raises(ConfigError, match="cannot be read"):
        chronos(folder)


def test_levels_that_it_was_not_trained_for_are_refused(stand_in, tmp_path):
    folder = written(tmp_path / "own")
    with pytest.raises(ConfigError, match="not trained for these levels"):
        chronos(folder, (0.05, 0.5, 0.95))
    stand_in.quantiles = [0.1, 0.9]  # a point is its median
    with pytest.raises(ConfigError, match=r"\.5 and others"):
        chronos(folder, (0.1, 0.9))


@pytest.mark.parametrize("setting", [{"batch": 0}, {"context_s": 900.0}])
def test_settings_that_leave_nothing_to_read_are_refused(stand_in, tmp_path, setting):
    with pytest.raises(ConfigError, match="cannot be asked so"):
        chronos(written(tmp_path / "own"), **setting)


def bolt(folder):
    """A Bolt of two small layers as it is drawn, not trained."""
    from chronos.chronos_bolt import ChronosBoltModelForForecasting
    from transformers import T5Config

    asked = {"context_length": 512, "prediction_length": 64, "input_patch_size": 16, "input_patch_stride": 16}
    config = T5Config(
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
        dropout_rate=0.1,
        feed_forward_proj="relu",
        is_encoder_decoder=True,
        decoder_start_token_id=0,
        pad_token_id=0,
        architectures=["ChronosBoltModelForForecasting"],
        chronos_pipeline_class="ChronosBoltPipeline",
        chronos_config={**asked, "quantiles": TRAINED, "use_reg_token": True},
    )
    torch.manual_seed(0)
    ChronosBoltModelForForecasting(config).save_pretrained(folder)
    return folder


def second(folder):
    """A Chronos-2 of two small layers as it is drawn, not trained."""
    from chronos.chronos2 import Chronos2Model
    from chronos.chronos2.config import Chronos2CoreConfig

    asked = {"context_length": 512, "output_patch_size": 16, "input_patch_size": 16, "input_patch_stride": 16}
    levels = [0.01, 0.05, *TRAINED, 0.95, 0.99]
    config = Chronos2CoreConfig(
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
        architectures=["Chronos2Model"],
        chronos_pipeline_class="Chronos2Pipeline",
        chronos_config={
            **asked,
            "quantiles": levels,
            "use_reg_token": True,
            "use_arcsinh": True,
            "max_output_patches": 4,
            "time_encoding_scale": 512,
        },
    )
    torch.manual_seed(0)
    Chronos2Model(config).save_pretrained(folder)
    return folder


class TestChronos:
    """Needs the extra chronos."""

    @pytest.fixture(scope="class", params=[bolt, second], ids=["Bolt", "Chronos-2"])
    def folder(self, request, tmp_path_factory):
        pytest.importorskip("chronos", reason="needs the extra chronos")
        return request.param(tmp_path_factory.mktemp("weights") / "own")

    def test_it_stands_in_the_table(self, folder, people, moments):
        found = backtest(
            "made up",
            people,
            moments,
            {"last value": Model(floors.last_value(), "baseline"), "ridge": Model(floors.ridge(), "ours")},
            headline="ridge",
            folds=3,
            seeds=(0,),
            owed=("last value",),
            draws=20,
            slow={"Chronos, zero-shot": Model(chronos(folder), "baseline")},
            slow_origins=30,
        )
        rows = [row for row in found.rows if row.model == "Chronos, zero-shot" and row.metric == "RMSE"]
        assert [row.what for row in rows] == [f"in {minutes} min, at 30 origins" for minutes in (30, 60, 120)]
        assert all(np.isfinite(row.value) for row in rows)

    def test_it_gives_the_forecasts_that_the_library_gives(self, folder, people, moments):
        from chronos import BaseChronosPipeline

        at = np.arange(0, len(moments), 9)
        said = chronos(folder, context_s=100 * 300.0, batch=4)(moments, people, NOBODY, at)
        assert said.shape == (len(at), 3, 10)
        assert (np.diff(said[..., 1:], axis=-1) >= 0).all()
        library = BaseChronosPipeline.from_pretrained(folder)
        for row, origin in enumerate(at):
            one, place = people[moments.series[origin]], moments.place[origin]
            past = np.where(one.observed, one.values, np.nan)[max(0, place - 99) : place + 1]
            quantiles, middle = library.predict_quantiles([torch.tensor(past)], 24, TRAINED)
            assert np.allclose(said[row, :, 0], middle[0].numpy().reshape(24)[[5, 11, 23]], rtol=1e-4)
            levels = np.sort(quantiles[0].numpy().reshape(24, 9)[[5, 11, 23]], axis=-1)
            assert np.allclose(said[row, :, 1:], levels, rtol=1e-4)

    def test_nothing_later_and_nobody_else_is_read(self, folder, people, moments):
        at = np.flatnonzero(moments.place < 200)
        own = moments.group[at] == 2
        fit = chronos(folder)
        said = fit(moments, people, NOBODY, at)
        assert np.array_equal(said, fit(moments, moved(people, moments.place[at].max()), NOBODY, at))
        others = moved(people, 100)
        others[2] = people[2]
        mixed = fit(moments, others, NOBODY, at)
        assert np.allclose(said[own], mixed[own], rtol=1e-5)
        assert not np.allclose(said[~own], mixed[~own], rtol=1e-2)

    def test_what_is_constant_stays_at_its_height(self, folder):
        people = [Series(np.full(400, 137.3, np.float32), np.ones(400, bool), 300.0, 0.0, 0, 0)]
        moments = moments_of(people, context_s=3600.0, horizons_s=HORIZONS)
        said = chronos(folder)(moments, people, NOBODY, np.arange(len(moments)))
        assert np.allclose(said, 137.3, atol=0.1)

    def test_nothing_is_downloaded(self, folder, monkeypatch):
        def refuse(*_, **__):
            raise AssertionError("a connection was asked for")

        monkeypatch.setattr(socket.socket, "connect", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        chronos(folder)

    def test_weights_in_part_or_cut_short_are_refused(self, folder, tmp_path):
        own = tmp_path / "own"
        own.mkdir()
        (own / "config.json").write_bytes((folder / "config.json").read_bytes())
        whole = (folder / "model.safetensors").read_bytes()
        (own / "model.safetensors").write_bytes(whole[:-100])
        with pytest.raises(ConfigError, match="cannot be read"):
            chronos(own)
        kept = load_file(folder / "model.safetensors")
        del kept["input_patch_embedding.hidden_layer.weight"]
        save_file(kept, own / "model.safetensors", {"format": "pt"})
        with pytest.raises(ConfigError, match=r"(?s)not whole.*input_patch_embedding"):
            chronos(own)

    def test_a_config_of_another_size_or_of_no_chronos_is_refused(self, folder, tmp_path):
        own = tmp_path / "own"
        own.mkdir()
        (own / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
        config = json.loads((folder / "config.json").read_text())
        for wrong in ({"d_ff": 64}, {"chronos_config": {}}, {"architectures": ["Other"], "chronos_config": None}):
            (own / "config.json").write_text(json.dumps({**config, **wrong}))
            with pytest.raises(ConfigError, match="cannot be read"):
                chronos(own)
        del config["chronos_config"]
        (own / "config.json").write_text(json.dumps(config))
        with pytest.raises(ConfigError, match="cannot be read"):
            chronos(own)
