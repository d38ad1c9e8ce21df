"""Rows of words as a table for people."""

from collections.abc import Mapping, Sequence


def aligned(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """A line a row under a line of heads, columns as wide as their widest word; columns without a word are left out."""
    heads = [head for head in (rows[0] if rows else ()) if any(row[head] for row in rows)]
    widths = {head: max(len(head), *(len(row[head]) for row in rows)) for head in heads}
    lines = [{head: head for head in heads}, *rows]
    return ["  ".join(f"{line[head]:<{widths[head]}}" for head in heads).rstrip() for line in lines]
