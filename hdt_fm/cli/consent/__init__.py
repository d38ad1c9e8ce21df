"""`hdt-fm consent WORD`: who agreed to what, who left, and what is to be done about it.

A word is a line of `WORDS` and a file `hdt_fm/cli/consent/<word>.py` with `run(options, arguments) -> int`, the
arguments being those after the word; it answers `--help` itself.
"""

from hdt_fm.cli.main import Options
from hdt_fm.cli.words import run_word

WORDS = {
    "new": "an empty register of consent",
    "give": "people agreed, to what, by which form, until when",
    "withdraw": "a person leaves: written down, and what they touched is listed with its remedy",
    "settle": "who was told of copies of a publication that left the lab",
    "status": "who may be used for what today; what is still to be done for people who left",
    "export": "one person's data, labels, embeddings and consent, in open formats, for them to take away",
    "fhir": "the register as HL7 FHIR Consent resources, written or read",
}
AFTER = """ Shards keep to a register by
`shard.consent=REGISTER shard.purpose=DUO:0000042`."""


def run(options: Options, arguments: list[str]) -> int:
    """Find the word and call it."""
    return run_word("consent", WORDS, options, arguments, after=AFTER)
