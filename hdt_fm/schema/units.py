"""Units other than the canonical one: scale and offset that bring a value over."""

from collections.abc import Mapping

from hdt_fm.schema.errors import UnitError


def conversion(
    unit: str, canonical: str, others: Mapping[str, tuple[float, float]], *, of: str, fix: str
) -> tuple[float, float]:
    """Scale and offset: canonical = value * scale + offset.

    Args:
        others: Unit -> its scale and offset.
        of: What is measured, in a message.
        fix: What to do where the unit is none of these.

    Raises:
        UnitError: If the unit is not in the table.
    """
    if unit == canonical:
        return 1.0, 0.0
    if unit in others:
        return others[unit]
    raise UnitError(
        f"Unit {unit!r} is not known for {of}", expected=f"one of: {', '.join([canonical, *sorted(others)])}", fix=fix
    )
