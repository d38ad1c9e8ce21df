"""What every model of tumours must beat: the last value, ridge, and a plain recurrent net without any care for bias."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from hdt_fm.simulation.tumour import CHEMO_KEPT_A_DAY, Course
from hdt_fm.simulation.tumour_protocol import Answer, Questions

RIDGE = 1.0
# A step of ridge is a share of the volume, and shares of nearly nothing say little.
SMALLEST_CM3 = 1e-3
WIDTH, EPOCHS, BATCH, LEARNING_RATE = 32, 20, 128, 5e-3
PIECE = 65_536


def last_value(questions: Questions) -> Float[np.ndarray, "subject day plan step"]:
    """The volume stays."""
    volume = questions.course.volume[:, :-1, None, None]
    return np.broadcast_to(volume, questions.truth.shape).copy()


def fit_ridge(train: Course, steps: int) -> Answer:
    """For each step ahead a linear model of the share by which the volume will have changed.

    It reads what a table of the last days would hold: log volume, the last growth and the mean one, type, chemotherapy
    of the past (half of it a day later, as is known of the drug), and each treatment of the plan up to that step.
    """
    weights = []
    for step in range(1, steps + 1):
        days = train.volume.shape[1] - step
        plan = np.stack([train.given[:, ahead : ahead + days] for ahead in range(step)], axis=2)
        asked = (np.arange(days) + step <= train.length[:, None]) & (train.volume[:, :days] > SMALLEST_CM3)
        rows = np.concatenate([_table(train)[:, :days], plan.reshape(*plan.shape[:2], -1)], axis=-1)[asked]
        target = train.volume[:, step:][asked] / train.volume[:, :days][asked] - 1
        square = rows.T @ rows + RIDGE * np.eye(len(rows.T))
        weights.append(np.linalg.solve(square, rows.T @ target))

    def answer(questions: Questions) -> Float[np.ndarray, "subject day plan step"]:
        table = _table(questions.course)[:, :-1]
        own = table.shape[-1]
        out = np.empty(questions.truth.shape)
        for step in range(questions.plan.shape[3]):
            plan = questions.plan[..., : step + 1, :].reshape(*questions.plan.shape[:3], -1)
            out[..., step] = (table @ weights[step][:own])[..., None] + plan @ weights[step][own:]
        return questions.course.volume[:, :-1, None, None] * (1 + out)

    return answer


def _table(course: Course) -> Float[np.ndarray, "subject day feature"]:
    level = np.log(np.maximum(course.volume, SMALLEST_CM3))
    growth = np.diff(level, axis=1, prepend=level[:, :1]).clip(-1, 1)
    mean = growth.cumsum(axis=1) / np.maximum(np.arange(growth.shape[1]), 1)
    faded = np.concatenate([np.zeros_like(level[:, :1]), course.chemo_units[:, :-1] * CHEMO_KEPT_A_DAY], axis=1)
    kinds = [np.broadcast_to((course.kind == kind)[:, None], level.shape) for kind in (1, 2)]
    return np.stack([np.ones_like(level), level, growth, mean, faded, *kinds], axis=-1)


class _PlainGRU(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        # Volume, type, treatments of the day before; then those of the day.
        self.gru = nn.GRU(4, WIDTH, batch_first=True)
        self.leave = nn.Sequential(nn.Linear(WIDTH + 2, WIDTH), nn.ELU(), nn.Linear(WIDTH, 1))

    def forward(self, moments: Tensor, given: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        hidden, state = self.gru(moments, state)
        return self.leave(torch.cat([hidden, given], dim=-1))[..., 0], hidden


def fit_gru(train: Course, seed: int) -> Answer:
    """A recurrent net on scaled volumes, a step ahead by squared error; further steps feed on its own answers."""
    center, scale = float(train.volume[train.lived].mean()), float(train.volume[train.lived].std())
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = _PlainGRU()
        _train(net, train, center, scale)

    @torch.no_grad()
    def answer(questions: Questions) -> Float[np.ndarray, "subject day plan step"]:
        course = questions.course
        moments = _moments(course, center, scale)[:, :-1]
        hidden = net(moments, torch.from_numpy(course.given[:, :-1]).float())[1]
        out = np.full(questions.truth.shape, np.nan)
        places = np.nonzero(np.isfinite(questions.truth).all(axis=-1))
        for first in range(0, len(places[0]), PIECE):
            subject, day, plan = (place[first : first + PIECE] for place in places)
            doses = torch.from_numpy(questions.plan[subject, day, plan]).float()
            out[subject, day, plan] = (
                _unroll(net, hidden[subject, day], doses, moments[subject, day, 1]) * scale + center
            )
        return out

    return answer


def _moments(course: Course, center: float, scale: float) -> Float[Tensor, "subject day four"]:
    before = np.concatenate([np.zeros_like(course.given[:, :1]), course.given[:, :-1]], axis=1)
    kind = np.broadcast_to(course.kind[:, None] - 2.0, course.volume.shape)
    parts = [((course.volume - center) / scale)[..., None], kind[..., None], before]
    return torch.from_numpy(np.concatenate(parts, axis=-1)).float()


def _train(net: nn.Module, train: Course, center: float, scale: float) -> None:
    moments = _moments(train, center, scale)
    given, lived = torch.from_numpy(train.given).float(), torch.from_numpy(train.lived)[:, :-1]
    optimiser = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, LEARNING_RATE, total_steps=EPOCHS * -(-len(moments) // BATCH)
    )
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(moments)).split(BATCH):
            off = net(moments[rows, :-1], given[rows, :-1])[0] - moments[rows, 1:, 0]
            loss = (off.square() * lived[rows]).sum() / lived[rows].sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()


def _unroll(net: nn.Module, hidden: Tensor, doses: Tensor, kind: Tensor) -> np.ndarray:
    state = hidden[None]
    out: list[Tensor] = []
    for step in range(doses.shape[1]):
        if step:
            moment = torch.cat([out[-1][:, None], kind[:, None], doses[:, step - 1]], dim=-1)
            state = net.gru(moment[:, None], state)[1]  # type: ignore[operator]
        out.append(net.leave(torch.cat([state[0], doses[:, step]], dim=-1))[:, 0])  # type: ignore[operator]
    return torch.stack(out, dim=1).double().numpy()
