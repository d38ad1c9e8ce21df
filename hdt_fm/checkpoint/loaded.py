"""How much of a model came out of a file."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Loaded:
    """What a file of weights gave a model.

    Attributes:
        matched: Tensors of the model that the file filled, by name, shape and type.
        total: Tensors of the model.
        fresh: Names that kept fresh weights; they were allowed to.
        left_out: Tensors of the file that the model has no place for; they were allowed to be.
    """

    matched: int
    total: int
    fresh: tuple[str, ...] = ()
    left_out: int = 0

    @property
    def share(self) -> float:
        """Of the model's tensors that were filled; 1.0 is all."""
        return self.matched / self.total

    def __str__(self) -> str:
        # Rounded down: 100 % means all.
        told = f"{self.matched} of {self.total} tensors ({int(100 * self.share)} %) matched"
        rooms = sorted({name.rpartition(".")[0] for name in self.fresh})
        fresh = f"; fresh: {', '.join(rooms[:5])}{' …' if len(rooms) > 5 else ''}" if rooms else ""
        return told + fresh + (f"; {self.left_out} of the file left out" if self.left_out else "")
