"""`hdt-fm twin WORD`: what is done with one person's data over time.

A word is a line of `WORDS` and a file `hdt_fm/cli/twin/<word>.py` (a dash is an underscore there) with
`run(options, arguments) -> int`, the arguments being those after the word; it answers `--help` itself.
"""

from hdt_fm.cli.main import Options
from hdt_fm.cli.words import run_word

WORDS = {
    "alert": "nights that are unlike the person's own: since when, how far, which indicator",
    "forecast": "glucose in the next hours: a fan, the person's own interval, how far to trust it",
    "what-if": "glucose under one plan of insulin and food against another: the effect, and what speaks against it",
    "create": "a folder that is one person's twin, from a first export or empty",
    "update": "what is new in an export, absorbed into a twin: one version, one line of its ledger",
    "move": "another checkpoint, such as an updated one, in place of the one that a twin was made with",
    "show": "what a twin holds, in words",
    "log": "what made each version of a twin or a model, and how it scored",
    "rollback": "an earlier version of a twin or a model in use again, bit for bit",
    "diff": "two versions side by side: scores, files, how far tensors moved",
    "export": "all that is kept of the person in one file to take away, as plain tables and words",
    "delete": "a twin removed, with every version of it",
}


def run(options: Options, arguments: list[str]) -> int:
    """Find the word and call it."""
    return run_word("twin", WORDS, options, arguments)
