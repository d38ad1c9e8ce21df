"""What a watch is asked to do."""

from dataclasses import dataclass

from hdt_fm.schema.errors import ConfigError


@dataclass(frozen=True)
class AlertSettings:
    """How alerts are raised; the one number that a user should think about is the budget.

    Args:
        budget_per_year: False episodes that are allowed in a year that is watched.
        calibration_nights: Own scores that are needed before the first alert.
        warm_up: Nights before the first score.
        memory: Nights that the baseline looks back on.
        slack: What CUSUM takes off a night: half of the shift it is best at, in SDs of a night's surprise.
        most_a_night: A night counts at most this much, so that one from rest raises no alert alone at 1 or 2 a year.
        longest_gap: A longer stretch without data ends what CUSUM had gathered.
        renew_after: Nights of alert in a row after which the new level is taken for the person's own.

    Raises:
        ConfigError: If a number is out of range.
    """

    budget_per_year: float = 2.0
    calibration_nights: int = 21
    warm_up: int = 7
    memory: int = 300
    slack: float = 0.6
    most_a_night: float = 3.0
    longest_gap: int = 7
    renew_after: int = 21

    def __post_init__(self) -> None:
        for name, least, most in (
            ("budget_per_year", 0.1, 20),
            ("calibration_nights", 21, 365),
            ("warm_up", 3, 60),
            ("memory", 28, 730),
            ("slack", 0.1, 2),
            ("most_a_night", 1, 10),
            ("longest_gap", 1, 60),
            ("renew_after", 7, 365),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise ConfigError(
                    "A setting of alerts is out of range",
                    expected=f"{least} to {most}",
                    got=f"{value}",
                    where=f"AlertSettings.{name}",
                    fix=f"choose a number in it, or leave it out for {type(self).__dataclass_fields__[name].default:g}",
                )
        if self.memory < self.warm_up + self.calibration_nights:
            raise ConfigError(
                "The baseline forgets before it is learned",
                expected=f"{self.warm_up + self.calibration_nights} nights or more",
                got=f"{self.memory}",
                where="AlertSettings.memory",
                fix="give it more nights, or let warm_up and calibration_nights be shorter",
            )
