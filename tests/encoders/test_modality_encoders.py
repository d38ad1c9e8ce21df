"""The module that runs encoders over a batch: any subset, by name, only where present."""

import pytest
import torch

from hdt_fm.encoders import ModalityEncoders
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ConfigError, ShapeError, UnknownNameError
from hdt_fm.schema.manifest import Part
from hdt_fm.schema.shard import ModalityColumn

SHAPES = {"ppg": (1, 16.0), "acc": (3, 8.0), "eda": (1, 4.0)}
PART = Part(name="patch_transformer", args={"width": 16, "depth": 1, "heads": 2, "patch_points": 8})
STATISTICS = dict.fromkeys(SHAPES, (0.0, 1.0))


def columns(names):
    return [
        ModalityColumn(
            name=name,
            unit="au",
            channels=SHAPES[name][0],
            sampling_rate_hz=SHAPES[name][1],
            samples=int(5 * SHAPES[name][1]),
            encoding="f32",
        )
        for name in names
    ]


def batch_of(names, present):
    generator = torch.Generator().manual_seed(0)
    size = len(present)
    signals = {}
    for column, name in enumerate(names):
        channels, rate = SHAPES[name]
        here = present[:, column]
        values = torch.randn(size, channels, int(5 * rate), generator=generator) * here[:, None, None]
        signals[name] = Signal(values, here[:, None].expand(size, int(5 * rate)).clone(), rate)
    rows = torch.arange(size)
    return Batch(tuple(names), signals, present, rows, rows.double(), rows)


def model_of(names=("ppg", "acc", "eda"), **changes):
    torch.manual_seed(0)
    return ModalityEncoders(columns(names), changes.get("encoder", PART), changes.get("per", {}), STATISTICS).eval()


def test_absent_rows_are_zero_and_the_rest_is_as_if_alone():
    present = torch.tensor([[1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=torch.bool)
    model, batch = model_of(), batch_of(("ppg", "acc", "eda"), present)
    out = model(batch)
    assert out.values.shape == (4, 3, 16)
    assert torch.equal(out.present, present)
    assert (out.values[~present] == 0).all()
    for row in range(4):
        alone = model(batch.select(torch.tensor([row])))
        torch.testing.assert_close(alone.values[0], out.values[row], atol=1e-5, rtol=1e-5)


def test_columns_follow_the_model_whatever_the_order_of_the_batch():
    model = model_of()
    there = torch.ones(3, 3, dtype=torch.bool)
    batch = batch_of(("ppg", "acc", "eda"), there)
    turned = Batch(
        ("eda", "ppg", "acc"), batch.signals, there[:, [2, 0, 1]], batch.subject, batch.time_s, batch.window_id
    )
    assert torch.equal(model(turned).values, model(batch).values)


def test_missing_and_foreign_modalities_are_absent_and_ignored():
    model = model_of(("ppg", "eda"))
    batch = batch_of(("acc", "ppg"), torch.ones(2, 2, dtype=torch.bool))
    out = model(batch)
    assert out.present.tolist() == [[True, False]] * 2
    with pytest.raises(ShapeError, match="none of the model's modalities"):
        model(batch_of(("acc",), torch.ones(2, 1, dtype=torch.bool)))


def test_a_modality_absent_from_the_whole_batch_still_gives_gradients_to_the_others():
    model = model_of()
    out = model(batch_of(("ppg", "acc", "eda"), torch.tensor([[True, False, True]] * 3)))
    out.values.square().sum().backward()
    assert all(p.grad is None for p in model.encoders["acc"].parameters())
    assert any(p.grad.abs().sum() > 0 for p in model.encoders["ppg"].parameters() if p.grad is not None)


def test_settings_of_one_modality_and_names_of_weights():
    model = model_of(per={"eda": {"patch_s": 5.0}, "glucose": {"patch_s": 60.0}})
    assert model.encoders["eda"].patch_s == 5.0
    assert model.encoders["ppg"].patch_s == 1.0
    assert set(model_of(("ppg",)).state_dict()) < set(model.state_dict())


def test_calibration_shows_each_encoder_its_own_windows_only():
    present = torch.tensor([[1, 1, 0], [0, 1, 1], [1, 0, 0], [1, 1, 0]], dtype=torch.bool)
    model, batch = model_of(), batch_of(("ppg", "acc", "eda"), present)
    model.calibrate(batch)
    center = model.encoders["ppg"].embed.spectra.standardise.center.clone()
    # Row 1 has no PPG: what lies there in memory is nobody's signal.
    batch.signals["ppg"].values[1], batch.signals["ppg"].observed[1] = 9.0, True
    model.calibrate(batch)
    assert torch.equal(model.encoders["ppg"].embed.spectra.standardise.center, center)
    assert center.abs().min() > 0
    plain = model_of(encoder=Part(name="resnet", args={"width": 16, "depth": 1}))
    before = {name: value.clone() for name, value in plain.state_dict().items()}
    plain.calibrate(batch)
    assert all(torch.equal(before[name], value) for name, value in plain.state_dict().items())


def moving(windows=300, seed=0):
    """Windows whose loudness moves alike in all modalities; what they consist of is noise. Not all have all."""
    generator = torch.Generator().manual_seed(seed)
    present = torch.rand(windows, 3, generator=generator) > 0.2
    course = torch.randn(windows, 5, generator=generator).exp()
    signals = {}
    for column, (name, (channels, rate)) in enumerate(SHAPES.items()):
        here = present[:, column, None]
        loud = course.repeat_interleave(int(rate), dim=1)[:, None]
        values = loud * torch.randn(windows, channels, 5 * int(rate), generator=generator) * here[..., None]
        signals[name] = Signal(values, here.expand(windows, 5 * int(rate)).clone(), rate)
    rows = torch.arange(windows)
    return Batch(tuple(SHAPES), signals, present, rows, rows.double(), rows)


def recall(model, batch, first=0, second=1, *, shared=6):
    found = model(batch)
    both = found.present[:, first] & found.present[:, second]
    a, b = (torch.nn.functional.normalize(found.values[both, k, :shared], dim=-1) for k in (first, second))
    scores = a @ b.T
    return float(((scores > scores.diagonal()[:, None]).sum(1) < 10).float().mean()), 10 / int(both.sum())


@pytest.mark.parametrize("encoder", [PART, Part(name="resnet", args={"width": 16, "depth": 1})])
def test_a_start_in_closed_form_finds_what_modalities_share_in_windows_it_did_not_see(encoder):
    model = model_of(encoder=encoder, per={"eda": {"slow_s": 5.0}} if encoder is PART else {})
    model.calibrate(moving())
    before, chance = recall(model, moving(seed=1))
    model.start(moving(), shared=6)
    after, _ = recall(model, moving(seed=1))
    assert before < 3 * chance
    # The small convolutions see loudness less well than log spectra do.
    assert after > (8 if encoder is PART else 3) * chance
    values = model(moving(seed=1)).values
    assert values.std(dim=(0, 1)).min() > 0.1
    assert values.abs().max() < 10


def test_a_start_reads_only_present_windows_and_leaves_the_mode_alone():
    model, batch = model_of(), moving()
    model.train().start(batch, shared=6)
    assert model.training
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    batch.signals["ppg"].values[~batch.present[:, 0]] = 9.0
    batch.signals["ppg"].observed[~batch.present[:, 0]] = True
    model.start(batch, shared=6)
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


def test_a_modality_without_windows_keeps_its_readout_and_one_alone_is_refused():
    model, batch = model_of(), moving()
    before = model.encoders["eda"].readout.weight.clone()
    model.start(batch.without(torch.tensor([True, True, False]).expand(300, 3)), shared=6)
    assert torch.equal(model.encoders["eda"].readout.weight, before)
    with pytest.raises(ConfigError, match="No two modalities"):
        model.start(batch.without(torch.tensor([True, False, False]).expand(300, 3)), shared=6)


def test_a_readout_narrower_than_what_is_shared_takes_the_first_directions():
    model = model_of()
    model.start(moving(), shared=40)
    assert model.encoders["ppg"].readout.weight.shape[0] == 16
    assert (model.encoders["ppg"].readout.weight.abs().sum(1) > 0).all()


def taught_by(teacher):
    return {"rhythms": {"sway": {"span_s": 5.0, "low_hz": 0.2, "high_hz": 1.5, "peak": 1.0, "taught_by": teacher}}}


TAUGHT = taught_by("eda")


def weights_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed(model, before):
    return {name for name, value in model.state_dict().items() if not torch.equal(before[name], value)}


def test_a_start_teaches_only_those_who_ask_and_only_from_windows_that_hold_both():
    model, batch = model_of(per={"ppg": TAUGHT}), moving(60)
    before = weights_of(model)
    model.start(batch, shared=6)
    rhythm = {name for name in changed(model, before) if not name.endswith(("readout.weight", "readout.bias"))}
    assert rhythm
    assert all(name.startswith("encoders.ppg.rhythms.sway.") for name in rhythm)
    assert all(not weight.requires_grad or weight.dtype == torch.float32 for weight in model.parameters())
    # What lies in memory where one of the two is absent teaches nothing.
    after, other = weights_of(model), model_of(per={"ppg": TAUGHT})
    for column, name in ((0, "ppg"), (2, "eda")):
        away = ~batch.present[:, column]
        batch.signals[name].values[away] = torch.randn(int(away.sum()), 1, batch.signals[name].values.shape[-1])
        batch.signals[name].observed[away] = True
    other.start(batch, shared=6)
    assert changed(other, after) == set()


@pytest.mark.parametrize(
    "why", ["nobody asked", "never together", "teacher not in the batch", "pupil not in the batch"]
)
def test_without_a_teacher_nothing_is_taught(why):
    args = taught_by(None) if why == "nobody asked" else TAUGHT
    model, batch = model_of(per={"ppg": args}), moving(60)
    if why == "never together":
        first = torch.arange(60) < 30
        batch = batch.without(torch.stack((first, torch.ones_like(first), ~first), dim=1))
    gone = {"teacher not in the batch": "eda", "pupil not in the batch": "ppg"}.get(why)
    if gone is not None:
        names = tuple(name for name in SHAPES if name != gone)
        kept = [k for k, name in enumerate(SHAPES) if name != gone]
        signals = {name: batch.signals[name] for name in names}
        batch = Batch(names, signals, batch.present[:, kept], batch.subject, batch.time_s, batch.window_id)
    before = weights_of(model)
    model.start(batch, shared=6)
    assert not [name for name in changed(model, before) if ".rhythms." in name]


def test_bad_settings_speak():
    with pytest.raises(UnknownNameError, match="did you mean 'ppg'"):
        model_of(per={"pgg": {}})
    with pytest.raises(UnknownNameError, match="did you mean 'resp'"):
        model_of(per={"ppg": taught_by("rsep")})
    with pytest.raises(ConfigError, match="differ in width"):
        model_of(per={"eda": {"width": 32}})
    with pytest.raises(ConfigError, match="No input statistics for: acc"):
        ModalityEncoders(columns(["ppg", "acc"]), PART, {}, {"ppg": (0.0, 1.0)})
    with pytest.raises(UnknownNameError, match="patch_transformer"):
        model_of(encoder=Part(name="patch_transformr"))
    with pytest.raises(ConfigError, match="did you mean 'depth'"):
        model_of(encoder=Part(name="patch_transformer", args={"dept": 2}))


def test_bfloat16_autocast_gives_embeddings_in_the_dtype_of_the_weights():
    model = model_of()
    batch = batch_of(("ppg", "acc", "eda"), torch.tensor([[True, False, True], [True, True, True]]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(batch)
    assert out.values.dtype == torch.float32
    torch.testing.assert_close(out.values, model(batch).values, atol=0.1, rtol=0.1)


def test_settings_of_a_kind_serve_its_placed_names():
    names = ("acc", "acc_pocket", "acc_chest")
    made = [column.model_copy(update={"name": name}) for column, name in zip(columns(["acc"] * 3), names, strict=True)]
    per = {"acc": {"patch_s": 0.5}, "acc_chest": {"patch_s": 0.25}}
    model = ModalityEncoders(made, PART, per, dict.fromkeys(names, (0.0, 1.0)))
    assert {name: part.patch_s for name, part in model.encoders.items()} == {
        "acc": 0.5,
        "acc_pocket": 0.5,
        "acc_chest": 0.25,
    }


def test_a_rhythm_is_found_where_its_modality_is_and_refused_where_nobody_looks():
    pulse = {"span_s": 5.0, "low_hz": 0.7, "high_hz": 3.0, "peak": 4.0}
    present = torch.tensor([[1, 1], [0, 1], [1, 0]], dtype=torch.bool)
    model, batch = (
        model_of(("ppg", "acc"), per={"ppg": {"rhythms": {"pulse": pulse}}}),
        batch_of(("ppg", "acc"), present),
    )
    rate = model.find_rhythm(batch, "ppg", "pulse").per_minute()
    assert rate.isnan().tolist() == [False, True, False]
    alone = model.find_rhythm(batch.select(torch.tensor([2])), "ppg", "pulse").per_minute()
    torch.testing.assert_close(alone[0], rate[2])
    with pytest.raises(UnknownNameError, match="Unknown rhythm 'pulse'"):
        model.find_rhythm(batch, "acc", "pulse")
    with pytest.raises(UnknownNameError, match="Unknown modality 'eda'"):
        model.find_rhythm(batch, "eda", "pulse")
    with pytest.raises(ShapeError, match="no ppg"):
        model.find_rhythm(batch.over(("acc",)), "ppg", "pulse")
    resnet = Part(name="resnet", args={"width": 16})
    with pytest.raises(UnknownNameError, match="none is known"):
        model_of(("ppg", "acc"), encoder=resnet).find_rhythm(batch, "ppg", "pulse")
