"""AdamW with decay only where it belongs, and a cosine schedule by step."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from hdt_fm.schema.errors import ConfigError

BETAS = (0.9, 0.98)
FINAL_SHARE = 0.01
# Kinds of device whose kernels do all of an optimizer step at once.
FUSED_ON = ("cpu", "cuda")


def parameter_groups(module: nn.Module, *, weight_decay: float) -> list[dict]:
    """Trainable parameters in two groups: matrices decay; biases, norms and log scales do not.

    A parameter decays when it has two or more axes, is not in a norm and is not called `log_…`: pulling a bias or a
    log scale to zero moves the function, it does not make it simpler.
    """
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, owner in module.named_modules():
        for key, parameter in owner.named_parameters(prefix=name, recurse=False):
            is_matrix = parameter.ndim >= 2 and "norm" not in type(owner).__name__.lower()
            is_log = key.rpartition(".")[2].startswith("log_")
            if parameter.requires_grad and not any(parameter is seen for seen in (*decayed, *plain)):
                (decayed if is_matrix and not is_log else plain).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def cosine_share(*, steps: int, warmup_steps: int) -> Callable[[int], float]:
    """Share of the learning rate at each step: a line up from 1/warmup_steps, then half a cosine down to 1 %.

    Raises:
        ConfigError: If the warm-up does not end before the last step.
    """
    if not 0 <= warmup_steps < steps:
        raise ConfigError(
            "The warm-up does not fit the schedule",
            expected=f"0 <= warmup_steps < steps = {steps}",
            got=f"warmup_steps = {warmup_steps}",
            fix="lower warmup_steps or raise steps",
        )

    def share(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        way = min(1.0, (step - warmup_steps) / max(1, steps - 1 - warmup_steps))
        return FINAL_SHARE + (1 - FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * way))

    return share


class ByKind(AdamW):
    """AdamW in two turns, of weights that processes share out and of whole ones: its kernels do not take both."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; what the closure gives."""
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        everyone = [group["params"] for group in self.param_groups]
        for shared in (True, False):
            for group, weights in zip(self.param_groups, everyone, strict=True):
                group["params"] = [weight for weight in weights if isinstance(weight, DTensor) == shared]
            super().step()
        for group, weights in zip(self.param_groups, everyone, strict=True):
            group["params"] = weights
        return result


def adamw_cosine(
    module: nn.Module,
    *,
    steps: int,
    learning_rate: float,
    weight_decay: float,
    warmup_steps: int,
    fused: bool = False,
) -> tuple[Optimizer, LambdaLR]:
    """Optimizer and schedule; step the schedule once after each optimizer step.

    Args:
        fused: One kernel for all parameters instead of several for each: faster, and other last bits.

    Raises:
        ConfigError: As `cosine_share`; if `fused` is asked for where there is no such kernel.
    """
    share = cosine_share(steps=steps, warmup_steps=warmup_steps)
    groups = parameter_groups(module, weight_decay=weight_decay)
    if fused:
        _check_fusable([parameter for group in groups for parameter in group["params"]])
    # None and not False: torch then takes the form that it took before there was this choice.
    shared = any(isinstance(weight, DTensor) for group in groups for weight in group["params"])
    optimizer = (ByKind if shared else AdamW)(groups, lr=learning_rate, betas=BETAS, fused=fused or None)
    return optimizer, LambdaLR(optimizer, share)


def _check_fusable(parameters: list[Tensor]) -> None:
    unfit = {
        f"{one.dtype} on {one.device.type}"
        for one in parameters
        if one.device.type not in FUSED_ON or not one.is_floating_point()
    }
    if unfit:
        raise ConfigError(
            "The optimizer's step cannot be fused",
            where="training.fused",
            expected=f"floating-point parameters on one of: {', '.join(FUSED_ON)}",
            got=", ".join(sorted(unfit)),
            fix="training.fused=false",
        )
