"""Cells of tables that people open in a spreadsheet, which takes a text that begins as a formula does for one."""

from typing import Any

_BEGINS = ("=", "+", "-", "@")
# A line that ends within a cell begins another one, where a formula could stand.
_CONTROLS = dict.fromkeys(range(32), " ")


def plain_cell(cell: Any) -> Any:
    """A text that a spreadsheet shows and does not work out: one that begins as a formula does gets a quote before it.

    Numbers and all else stay; control characters become blanks. Names of devices and columns are other people's words.
    """
    if not isinstance(cell, str):
        return cell
    text = cell.translate(_CONTROLS)
    return f"'{text}" if text.lstrip().startswith(_BEGINS) else text
