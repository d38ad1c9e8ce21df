"""`hdt-fm exposure WORD`: what exposures of weeks do, learned from many people, for twins to be told of.

A word is a line of `WORDS` and a file `hdt_fm/cli/exposure/<word>.py` with `run(options, arguments) -> int`, the
arguments being those after the word; it answers `--help` itself.
"""

from hdt_fm.cli.main import Options
from hdt_fm.cli.words import run_word

WORDS = {
    "learn": "how long each exposure is kept, from which dose on it counts and how much, with what speaks against it",
    "show": "what was learned, again",
}
AFTER = """ What was learned is told a person's twin by
`hdt-fm twin update FOLDER PATH exposures=true law=FOLDER`."""


def run(options: Options, arguments: list[str]) -> int:
    """Find the word and call it."""
    return run_word("exposure", WORDS, options, arguments, after=AFTER)
