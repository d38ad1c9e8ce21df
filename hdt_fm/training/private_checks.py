"""What cannot be trained privately, and how it is noticed: parts that would take something of people past the noise."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hdt_fm.schema.errors import ConfigError

WHERE = "training.private"


def refuse_unfit(model: nn.Module, loss: nn.Module) -> None:
    """Refuse parts of which it is known beforehand.

    Raises:
        ConfigError: If a part keeps statistics of batches, or the loss asks for other people's windows.
    """
    for name, part in (*model.named_modules(), *loss.named_modules()):
        if isinstance(part, _BatchNorm):
            raise ConfigError(
                "Batch normalisation keeps means of training windows, which no noise covers",
                where=f"{WHERE}: {name}",
                expected="norms within a window, such as LayerNorm or GroupNorm",
                got=type(part).__name__,
                fix="replace it in the encoder",
            )
    for part in loss.modules():
        if getattr(part, "negatives", None) == "others":
            raise ConfigError(
                "This loss compares with other people, and privately each person's windows are alone",
                where="loss.negatives",
                expected="a loss that can be asked of one person's windows",
                got=f"{type(part).__name__} with negatives=others",
                fix="loss=info_nce, or loss.negatives=all",
            )
        if getattr(part, "exclude_within_s", None) == math.inf:
            raise ConfigError(
                "No two windows of a person would be compared, and privately there are no others",
                where="near_s",
                expected="seconds, or null",
                got="inf",
                fix="near_s=60.0",
            )


def refuse_unfit_run(
    resume: str | Path,
    *,
    devices: int | str | Sequence[int],
    num_nodes: int,
    strategy: str,
    piece: int | None,
) -> None:
    """Refuse a run of another form than one process that sees each person's windows at once.

    Raises:
        ConfigError: Says which setting.
    """
    unfit = (
        (str(resume) not in ("auto", "never"), "resume", "auto or never: another run's steps have an account there"),
        ((devices, num_nodes, strategy) != (1, 1, "auto"), "sharded", "one process without torchrun, sharded=false"),
        (piece is not None, "piece", "null: a person's windows are few, training.private.windows_per_person"),
    )
    for is_so, name, expected in unfit:
        if is_so:
            raise ConfigError(
                f"A private run does not go with this {name}",
                where=f"training.{name}",
                expected=expected,
                fix="training=private has settings that go together",
            )


class BuffersStay:
    """Notices a buffer that training changes: what windows leave there has no noise.

    Made before the first step; only buffers that are saved count.
    """

    def __init__(self, *parts: nn.Module) -> None:
        self._before = {name: (buffer, buffer._version) for name, buffer in _saved_buffers(parts)}

    def check(self) -> None:
        """Look at them.

        Raises:
            ConfigError: If one was written to; says which.
        """
        for name, (buffer, version) in self._before.items():
            if buffer._version != version:
                raise ConfigError(
                    "A part learns from windows without a gradient, which no noise covers",
                    where=f"{WHERE}: {name}",
                    expected="buffers that stay as they are in training",
                    got="one that a step wrote to",
                    fix="take an encoder and a loss without running statistics",
                )


def _saved_buffers(parts: tuple[nn.Module, ...]) -> Iterator[tuple[str, Tensor]]:
    for part in parts:
        saved = part.state_dict().keys()
        yield from ((name, buffer) for name, buffer in part.named_buffers() if name in saved)
