"""`hdt-fm audit WORD`: which audit. A word is a line of `USAGE` and a value of `audit.what`."""

from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.cli.run import run_verb
from hdt_fm.cli.verb_help import verb_help

USAGE = {
    "privacy": """usage: hdt-fm audit privacy [options] [overrides]

  Who taught the model (membership inference: threshold, LiRA-lite, RMIA), and whether its embeddings link a person
  across sessions, both beside chance and floors, with intervals over people. Takes the shards, the seed and the
  experiment that the checkpoint was made with. References are trained as the model was, each on a random half of the
  people: that is what it costs; --dry-run says how long.
""",
    "fairness": """usage: hdt-fm audit fairness [options] [overrides]

  How far apart people are by sex, age band, device or whatever the shards know of them: before the encoder is moved by
  labels (frozen, a linear probe) and after it was fine-tuned; beside hand-made features, a random encoder, a constant,
  and the gap that chance makes among so few. No cell of fewer people than audit.min_people is shown, nor such that one
  could be reckoned. People are scored by models that never saw them: protocol.people=per_fold pretrains anew for each
  fold and scores everyone, held_out asks the checkpoint of those it was kept from, unseen of another cohort.
""",
}


def run(options: Options, arguments: list[str]) -> int:
    """Run the audit that the word names, with the overrides after it."""
    word, rest = arguments[0], arguments[1:]
    if options.help:
        print(USAGE[word])
        # A word of this verb takes a config; the line is for verbs whose words do not.
        print("\n".join(line for line in verb_help("audit").splitlines() if not line.startswith("and without")))
        return EXIT_OK
    return run_verb("audit", options, [f"audit.what={word}", *rest])
