"""`hdt-fm VERB --help`, read from the config files themselves, without Hydra."""

from hdt_fm.cli.config_files import config_root, group_names, groups
from hdt_fm.cli.main import SWEPT, VERBS

SEVERAL = (
    "One run for each combination, one after another: `hdt-fm {} --multirun loss=info_nce,sigmoid_pairs seed=0,1`."
)


def verb_help(name: str) -> str:
    """The groups with their names, and the settings with their comments."""
    verb = VERBS[name]
    choices = [f"  {group}={' | '.join(group_names(group))}" for group in groups()]
    section = _section_text(name)
    return "\n".join(
        [
            f"hdt-fm {name}: {verb.summary}",
            f"example: {verb.example}" if verb.example else "",
            *([f"and in words: `hdt-fm {name} {' | '.join(verb.words)}` (see --help of each)"] if verb.words else []),
            "",
            "Groups:",
            *choices,
            "",
            "Shared settings (with their defaults) and this verb's own:",
            section,
            "",
            "Settings of cohort, encoder, projection, loss and head are the arguments of the part they name.",
            "`--cfg job` prints the composed whole; `--dry-run` tries it on one batch.",
            *([SEVERAL.format(name)] if name in SWEPT else []),
        ]
    )


def _section_text(name: str) -> str:
    """Scalars of base.yaml and the verb's own block, with their comments, as they stand in the file."""
    lines, keep = [], False
    for line in (config_root() / "base.yaml").read_text().splitlines():
        if line and not line.startswith((" ", "#")):
            key, _, value = line.partition(":")
            keep = key == name or (bool(value.split("#")[0].strip()) and key != "defaults")
        if keep and line and not line.startswith("#"):
            lines.append(f"  {line}")
    return "\n".join(lines)
