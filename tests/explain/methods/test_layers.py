"""Grad-CAM and layer activation: closed forms, where places lie, and what has no layer to show."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from einops import rearrange
from torch import Tensor, nn

from hdt_fm.checkpoint import build_model
from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.binding import Run
from hdt_fm.explain.methods import METHODS, layers
from hdt_fm.explain.targets.probe import probe_target
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ExplainError
from hdt_fm.schema.manifest import ModelConfig, Part
from hdt_fm.schema.shard import ModalityColumn

WIDTH = 16
ENCODERS = {
    "patch_transformer": {"depth": 2, "heads": 2, "patch_points": 8},
    "irregular": {"depth": 1, "heads": 2, "time_unit_s": 1.0},
    "resnet": {"depth": 2, "rate_hz": 16.0},
}


def built(batch: Batch, encoder: str, args: dict, *, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    columns = tuple(
        ModalityColumn(
            name=name,
            unit="au",
            channels=signal.values.shape[1],
            sampling_rate_hz=signal.sampling_rate_hz,
            samples=signal.values.shape[2],
            encoding="f32",
        )
        for name, signal in batch.signals.items()
    )
    head = Part(name="probe", args={"in_features": len(columns) * (WIDTH + 1), "out_features": 3})
    config = ModelConfig(
        modalities=columns,
        encoder=Part(name=encoder, args={"width": WIDTH, **args}),
        projection=Part(name="projection", args={"dim": 8}),
        heads={"stress": head},
        statistics={column.name: (1.0, 2.0) for column in columns},
        window_s=5.0,
    )
    return probe_target(build_model(config), "stress")


def test_grad_cam_of_a_layered_linear_model(batch: Batch, layered: nn.Module) -> None:
    """A place's number is the sum over components of (mean slope over places) times activation."""
    found = attribute(layered, batch, target=1, methods=("grad_cam",)).find("grad_cam")
    for name, signal in batch.signals.items():
        encoder, slope = layered.encoders[name], layered.readout[name][1]
        active = torch.einsum("bcps,cw->bpw", signal.values.unflatten(-1, (-1, 5)) / 5, encoder.enter)
        places = torch.einsum("bpw,w->bp", active, slope.mean(0)).detach().numpy()
        channels = signal.values.shape[1]
        want = np.repeat(places, 5, axis=-1)[:, None] / (5 * channels)
        np.testing.assert_allclose(found.values[name], np.broadcast_to(want, signal.values.shape), atol=1e-4)
        # Summed over the samples and channels of a place, it is the place's number again.
        by_place = rearrange(found.values[name], "window channel (place step) -> window place channel step", step=5)
        np.testing.assert_allclose(by_place.sum((2, 3)), places, atol=1e-3)


def test_layer_activation_is_the_same_for_every_output(batch: Batch, layered: nn.Module) -> None:
    first, second = (
        attribute(layered, batch, target=target, methods=("layer_activation",)).find("layer_activation")
        for target in (0, 1)
    )
    for name, signal in batch.signals.items():
        active = torch.einsum("bcps,cw->bpw", signal.values.unflatten(-1, (-1, 5)) / 5, layered.encoders[name].enter)
        size = active.square().mean(-1).sqrt().detach().numpy()
        by_place = rearrange(first.values[name], "window channel (place step) -> window place channel step", step=5)
        np.testing.assert_allclose(by_place.sum((2, 3)), size, rtol=1e-3)
        np.testing.assert_array_equal(first.values[name], second.values[name])


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_encoders_with_blocks_are_found(new_batch: Callable[..., Batch], encoder: str) -> None:
    batch = new_batch(3)
    keep = batch.present.clone()
    keep[0, 1] = False
    target = built(batch, encoder, ENCODERS[encoder])
    output = target(batch.without(keep)).detach()
    found = attribute(target, batch.without(keep), target=2, methods=("grad_cam", "layer_activation"))
    for method in ("grad_cam", "layer_activation"):
        values = found.find(method).values
        assert not values["acc"][0].any()
        assert all(np.abs(values[name][1:]).max() > 0 for name in batch.modalities)
        # Only the convolutional encoder keeps channels apart; the others have merged them by then.
        alike = np.allclose(values["acc"][1, 0], values["acc"][1, 1])
        assert alike == (encoder != "resnet")
    assert torch.equal(target(batch.without(keep)), output)  # the tap is gone and changed nothing


def test_the_sum_over_a_layers_places_is_slope_times_activation(new_batch: Callable[..., Batch]) -> None:
    """The last block's own answer, read by a hook of the test, weighted by numeric slopes of its mean."""
    batch = new_batch(1, names=("ppg",))
    target = built(batch, "patch_transformer", ENCODERS["patch_transformer"])
    answers: list[Tensor] = []

    def push(by: Tensor) -> float:
        def hook(_part: nn.Module, _inputs: object, answer: Tensor) -> Tensor:
            answers.append(answer.detach())
            return answer + by

        handle = target.encoder.encoders["ppg"].blocks[-1].register_forward_hook(hook)
        with torch.no_grad():
            output = float(target(batch)[0, 0])
        handle.remove()
        return output

    target.double().eval()
    signal = batch.signals["ppg"]
    batch = replace(batch, signals={"ppg": replace(signal, values=signal.values.double())})
    found = attribute(target, batch, target=0, methods=("grad_cam",)).find("grad_cam")
    steps = torch.eye(WIDTH, dtype=torch.float64) * 1e-5
    slope = torch.tensor([(push(step) - push(-step)) / 2e-5 for step in steps])  # of all places together
    places = answers[0].shape[1]
    want = (answers[0][0].sum(0) * slope).sum() / places
    np.testing.assert_allclose(found.values["ppg"].sum(), want, rtol=1e-3)


@pytest.mark.parametrize("convolves", [False, True])
def test_where_places_lie(convolves: bool) -> None:
    """Patches begin where the last one ends; a convolution's places are the middles of what they read."""
    found = layers._place_of(12, 3, convolves, torch.device("cpu")).tolist()
    assert found == ([0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2] if convolves else [0] * 4 + [1] * 4 + [2] * 4)


def test_a_convolutions_place_is_the_middle_of_what_it_reads(new_batch: Callable[..., Batch]) -> None:
    encoder = built(new_batch(1, names=("ppg",)), "resnet", ENCODERS["resnet"]).encoder.encoders["ppg"]
    for block in encoder.blocks:
        block.first_norm, block.second_norm = nn.Identity(), nn.Identity()  # they read the whole window
    planes = torch.randn(1, 2, 1024, generator=torch.Generator().manual_seed(0)).requires_grad_()
    answer = encoder.blocks[1](encoder.blocks[0](encoder.stem(planes)))
    assert answer.shape[-1] == 64
    place = layers._place_of(1024, 64, layers.convolves(encoder.blocks[-1]), torch.device("cpu"))
    (slope,) = torch.autograd.grad(answer[0, :, 30].square().sum(), planes)
    read = slope.abs().sum((0, 1)).nonzero().squeeze(1).double()
    own = (place == 30).nonzero().squeeze(1).double()
    assert abs(float((read.min() + read.max()) / 2 - own.mean())) <= 0.5


def test_a_sample_moved_shows_at_its_own_place(new_batch: Callable[..., Batch]) -> None:
    """The irregular encoder's places are samples; two that swap leave level and spread as they were."""
    first = new_batch(1, names=("ppg",))
    values = first.signals["ppg"].values.clone()
    values[..., [16, 17]] = values[..., [17, 16]]
    second = replace(first, signals={"ppg": replace(first.signals["ppg"], values=values)})
    target = built(first, "irregular", {"depth": 1, "heads": 2, "time_unit_s": 1.0})
    maps = [attribute(target, one, target=0, methods=("layer_activation",)).maps[0] for one in (first, second)]
    moved = np.abs(maps[0].values["ppg"] - maps[1].values["ppg"])[0, 0]
    assert set(moved.argsort()[-2:].tolist()) == {16, 17}


@pytest.mark.parametrize("method", [name for name, one in METHODS.items() if one.grain == "layer"])
def test_a_model_without_a_layer_over_time_is_refused(batch: Batch, linear: nn.Module, method: str) -> None:
    with pytest.raises(ExplainError, match=r"modality ppg[\s\S]*no module of that name"):
        attribute(linear, batch, target=0, methods=(method,))
    for encoder, args in (("recurrent", {"patch_s": 1.0}), ("patch_transformer", {"depth": 0, "heads": 2})):
        with pytest.raises(ExplainError, match="No layer of the model"):
            attribute(built(batch, encoder, args), batch, target=0, methods=(method,))


def test_a_layer_that_is_used_twice_is_refused(batch: Batch, layered: nn.Module) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = layered

        def forward(self, told: Batch) -> Tensor:
            return self.inner(told) - self.inner(told)

    with pytest.raises(ExplainError, match="2 calls"):
        attribute(Twice(), batch, target=0, methods=("grad_cam",))
    assert not layered.encoders["ppg"].blocks[-1]._forward_hooks


def test_rows_that_are_neither_windows_nor_channels_are_refused(batch: Batch, layered: nn.Module) -> None:
    run = Run.of(layered, batch.select(torch.tensor([0])), target=0, reference="zero")
    with pytest.raises(ExplainError, match=r"modality ppg[\s\S]*1 row, or 1 for as many channels[\s\S]*2"):
        layers.layer_credit(run, lambda tap: torch.zeros(2, 1, 8))
