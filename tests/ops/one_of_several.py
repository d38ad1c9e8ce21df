"""One process of several, started by test_spread.py: its rows of each case, and what came of them."""

from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.nn.functional import normalize

from hdt_fm.ops.contrastive import contrastive_loss
from hdt_fm.ops.leave_one_out import leave_one_out_loss
from hdt_fm.ops.sigmoid_pairs import sigmoid_pairs_loss

# Ragged, and the second process has no row of the third modality.
COUNTS = (40, 25, 33)
LOSSES = {"contrastive": contrastive_loss, "leave_one_out": leave_one_out_loss, "sigmoid": sigmoid_pairs_loss}
CASES: dict[str, dict[str, Any]] = {
    "plain": {"loss": "contrastive"},
    "near": {"loss": "contrastive", "exclude_within_s": 120.0},
    "persons": {"loss": "contrastive", "exclude_within_s": float("inf"), "weighted": True},
    "one search": {"loss": "contrastive", "direction": "second"},
    "single precision": {"loss": "contrastive", "dtype": torch.float32, "exclude_within_s": 120.0},
    "far apart": {"loss": "contrastive", "scale": 900.0, "length": 3.0},
    "leave one out": {"loss": "leave_one_out", "exclude_within_s": 120.0},
    "sigmoid": {"loss": "sigmoid", "exclude_within_s": 120.0, "weighted": True},
    "sigmoid, single precision": {"loss": "sigmoid", "dtype": torch.float32},
    "nobody": {"loss": "contrastive", "share": 0.0},
    "no pair": {"loss": "contrastive", "modalities": 1},
}


def problem(case: str, world: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]:
    """Rows, presence, scale and settings of the whole batch."""
    asked = dict(CASES[case])
    modalities, dtype, share = (
        asked.pop(k, d) for k, d in (("modalities", 3), ("dtype", torch.float64), ("share", 0.7))
    )
    batch, generator = sum(COUNTS[:world]), torch.Generator().manual_seed(7)
    z = normalize(torch.randn(modalities, batch, 6, generator=generator, dtype=torch.float64), dim=-1)
    present = torch.rand(batch, modalities, generator=generator) < share
    if modalities > 2:
        present[COUNTS[0] : COUNTS[0] + COUNTS[1], 2] = False
    z = (z * asked.pop("length", 1.0)).masked_fill(~present.T[..., None], torch.nan).to(dtype)
    about: dict[str, Any] = {
        "subject": torch.randint(0, 9, (batch,), generator=generator),
        "time_s": torch.randint(0, 10, (batch,), generator=generator).double() * 60 + 1.7e9,
    }
    scale = torch.tensor(asked.pop("scale", 8.0), dtype=dtype)
    if asked.pop("weighted", False):
        about["weight"] = torch.randint(0, 3, (batch,), generator=generator).double()
    if asked["loss"] == "sigmoid":
        about["logit_bias"] = torch.tensor(-3.0, dtype=dtype)
    return z, present, scale, {**about, **asked}


def answer(
    z: torch.Tensor, present: torch.Tensor, scale: torch.Tensor, asked: dict[str, Any], **more: Any
) -> dict[str, torch.Tensor]:
    """Loss, gradients, and what it rested on."""
    settings = {**asked, **more}
    loss = LOSSES[settings.pop("loss")]
    rows, scale = z.clone().requires_grad_(), scale.clone().requires_grad_()
    learned = {"rows": rows, "scale": scale}
    if "logit_bias" in settings:
        settings["logit_bias"] = learned["bias"] = settings["logit_bias"].clone().requires_grad_()
    out = loss(rows, present, logit_scale=scale, **settings)
    out.loss.backward()
    said = {name: value.grad for name, value in learned.items()}
    for name in ("pair_loss", "modality_loss", "pair_rows", "modality_rows", "empty_rows"):
        if hasattr(out, name):
            said[name] = getattr(out, name).detach()
    return {"loss": out.loss.detach(), **said}


def run(rank: int, world: int, folder: str) -> None:
    """All cases, on this process's rows."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    mine = slice(sum(COUNTS[:rank]), sum(COUNTS[: rank + 1]))
    found = {}
    for case in CASES:
        z, present, scale, asked = problem(case, world)
        for name in ("subject", "time_s", "weight"):
            if name in asked:
                asked[name] = asked[name][mine]
        found[case] = answer(z[:, mine], present[mine], scale, asked, spread=True)
    torch.save(found, Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()
