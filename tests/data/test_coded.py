"""int16 to the device: what comes out of the codes there is what the folder decodes here."""

import numpy as np
import pytest
import torch

from hdt_fm.data.loading import Loading
from hdt_fm.data.stream import OrderedBatches, WindowStream
from hdt_fm.schema.coded import dequantise
from hdt_fm.schema.errors import ConfigError


def same(one, other, **near):
    assert one.modalities == other.modalities
    assert set(one.signals) == set(other.signals)
    assert (one.window_id == other.window_id).all()
    for name, signal in one.signals.items():
        assert (signal.observed == other.signals[name].observed).all()
        torch.testing.assert_close(signal.values, other.signals[name].values, **near)
        assert not signal.values.transpose(1, 2)[~signal.observed].any()


@pytest.mark.parametrize("order", ["stored", "mixed"])
def test_decoded_codes_equal_the_gathered_values(i16_folder, order):
    chance = np.random.default_rng(0)
    positions = np.arange(i16_folder.windows) if order == "stored" else chance.permutation(i16_folder.windows)
    coded, plain = i16_folder.gather_coded(positions), i16_folder.gather(positions)
    assert set(coded.codes) == {"ppg", "acc", "temp"}
    assert not coded.rest.signals
    assert all(one.codes.dtype == torch.int16 for one in coded.codes.values())
    for batch in (
        coded.decoded(),
        coded.to("cpu"),
        coded.over(("temp", "ppg", "acc")).to("cpu").over(plain.modalities),
    ):
        # One rounding of the larger term.
        same(batch, plain, rtol=0, atol=1e-5)
    assert len(coded) == i16_folder.windows
    assert any(not signal.observed.all() for signal in plain.signals.values())


def test_one_pass_equals_two_roundings_at_most():
    codes = torch.randint(-32767, 32767, (3, 2, 500), dtype=torch.int16)
    exact = codes.double() * np.float32(0.0371) + np.float32(-4.25)
    torch.testing.assert_close(dequantise(codes, lsb=0.0371, offset=-4.25).double(), exact, rtol=1e-6, atol=1e-6)
    numpy = codes.numpy().astype(np.float32) * np.float32(0.0371)
    assert (dequantise(codes, lsb=0.0371, offset=0.0).numpy() == numpy).all()
    seen = torch.rand(3, 500) < 0.5
    hidden = dequantise(codes, lsb=0.5, offset=7.0, observed=seen)
    assert not hidden.transpose(1, 2)[~seen].any()
    assert hidden.transpose(1, 2)[seen].eq(codes.transpose(1, 2)[seen] * 0.5 + 7).all()


def test_a_float_folder_has_no_codes_and_is_the_same(f32_folder):
    coded = f32_folder.gather_coded(np.arange(20))
    assert not coded.codes
    same(coded.to("cpu"), f32_folder.gather(np.arange(20)), rtol=0, atol=0)


def test_the_stream_keeps_codes_and_order_and_refuses_what_needs_values(i16_folder):
    everything = np.arange(i16_folder.windows)
    plain = WindowStream(i16_folder, everything, batch_size=24, seed=1, batches=6)
    coded = WindowStream(i16_folder, everything, batch_size=24, seed=1, batches=6, loading=Loading(keep_int16=True))
    for one, other in zip(coded, plain, strict=True):
        same(one.to("cpu"), other, rtol=0, atol=1e-5)
    with pytest.raises(ConfigError, match="values, not codes"):
        WindowStream(
            i16_folder,
            everything,
            batch_size=24,
            seed=1,
            loading=Loading(keep_int16=True),
            transform=lambda batch, number: batch,
        )
    with pytest.raises(ConfigError, match="are of values"):
        OrderedBatches(i16_folder, everything, batch_size=4, loading=Loading(keep_int16=True))


def test_a_whole_mask_is_one_column_that_nobody_can_write_into(f32_folder):
    rows = np.flatnonzero(f32_folder.subject_rows == f32_folder.subject_rows[0])[:4]
    signal = f32_folder.gather(rows).signals["acc"]
    if signal.observed.stride(1):
        pytest.skip("these windows lie in a block with gaps")
    with pytest.raises(RuntimeError, match="single memory location"):
        signal.observed[0] = False
    moved = f32_folder.gather(rows).to("cpu").signals["acc"].observed
    assert (moved == signal.observed).all()
