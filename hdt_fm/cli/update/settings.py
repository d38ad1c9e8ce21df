"""What `hdt-fm update` is told: the kinds of its settings, and the steps that follow from them."""

from pydantic import Field

from hdt_fm.cli.compose import Config
from hdt_fm.schema.errors import unknown_name
from hdt_fm.schema.preparation import Plain
from hdt_fm.training.updating.strategies import STRATEGIES, Strategy
from hdt_fm.training.updating.update import UpdateSettings

DEFAULT = "prototypes"


class UpdateVerbSettings(Plain):
    line: str
    checkpoint: str
    domain: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    strategy: str | None
    most_forgotten: float | None = Field(ge=0)
    accept: bool
    earlier: tuple[str, ...] = ()
    earlier_treatments: tuple[str | None, ...] = ()
    most_bytes: int = Field(ge=1)
    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)

    def learning(self, strategy: Strategy) -> UpdateSettings:
        """How a strategy teaches."""
        return UpdateSettings(
            trains=strategy.trains,
            anchor=strategy.anchor,
            distil=strategy.distil,
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
        )


def settings_of(config: Config) -> UpdateVerbSettings:
    """The verb's section.

    Raises:
        UnknownNameError: If there is no such strategy.
    """
    settings = config.section("update", UpdateVerbSettings)
    if settings.strategy is not None and settings.strategy not in STRATEGIES:
        raise unknown_name("strategy", settings.strategy, STRATEGIES, where="update.strategy")
    return settings
