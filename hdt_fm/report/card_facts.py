"""`card.yaml`: the only words of a published folder that people type, read strictly; and its template."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from hdt_fm.schema.errors import PublishError, unknown_name
from hdt_fm.schema.preparation import Plain

MOST_BYTES = 2**16
ASKED = Literal["required", "none"]


class CardFacts(Plain):
    """What no record can know. The description of a field is the comment of the template.

    Fields with an empty default were not asked of earlier folders, which can still be read; what is owed today
    stands in `OWED`, and the rule `card_words` asks for it.
    """

    name: str = Field(min_length=1, description="Of the model, as people will cite it.")
    summary: str = Field(min_length=1, description="One sentence: what it is.")
    licence: str = Field("", description="Of the weights: apache-2.0, cc-by-4.0, ... or `other` with licence_link.")
    licence_link: str = Field("", description="Address of the licence's text; needed for `other`.")
    intended_use: str = Field(min_length=1, description="What it is for.")
    workflow: str = Field(
        "", description="Where in somebody's work it has its place, and what follows from its answer."
    )
    users: tuple[str, ...] = Field((), description="Who should use it, a line each.")
    target_population: str = Field("", description="Whose signals it is meant for.")
    out_of_scope: str = Field(min_length=1, description="What it must not be used for.")
    limits: tuple[str, ...] = Field(min_length=1, description="One sentence each.")
    risks: tuple[str, ...] = Field((), description="What may go wrong, and for whom, a sentence each.")
    biases: tuple[str, ...] = Field((), description="Groups of people it may serve worse, a sentence each.")
    bias_mitigation: str = Field("", description="What was done about that; `nothing` is an answer.")
    clinical_risk: str = Field(
        "", description="Clinical risk level: none (research only), low, moderate or high, and why."
    )
    authors: str = Field("", description="People or groups, separated by `;`.")
    contact: str = Field(
        "", description="An address on the web (issue tracker, form). No e-mail: none may stand in a folder."
    )
    stage: str = Field("", description="research, pilot or production.")
    released: str = Field("", description="Day of this release, year-month-day.")
    release: str = Field("", description="Number of this release, such as 1.0.")
    availability: str = Field("", description="Where and to whom it is available.")
    maintenance: str = Field("", description="Who looks after it, how often, and how faults are told.")
    funding: str = Field("", description="Who paid; `none` is an answer.")
    interests: str = Field("", description="Conflicts of interest; `none` is an answer.")
    stakeholders: str = Field(
        "", description="Who was asked while it was made (people concerned, clinicians); or `nobody`."
    )
    ethics: str = Field("", description="Approval by an ethics board, or why none was needed.")
    disclosure: str = Field(
        "", description="What the people in the data agreed to, and what those it is used on are told."
    )
    publications: tuple[str, ...] = Field((), description="Papers on it, a line each; may stay empty.")
    registration: str = Field("", description="Study protocol or registration; may stay empty.")
    regulatory: str = Field("", description="Status with authorities, if any; may stay empty.")
    citation: str = Field("", description="How to cite it; may stay empty.")
    tags: tuple[str, ...] = Field((), description="Further words to find it by; may stay empty.")
    privacy_audit: ASKED = Field(
        "required",
        description="`required` (from `hdt-fm audit privacy`), or `none` with a reason, which is printed.",
    )
    privacy_audit_reason: str = Field("", description="Only with privacy_audit: none.")
    subgroups: ASKED = Field(
        "required",
        description="`required` (evaluate with protocol.also=[subgroups]), or `none` with a reason, which is printed.",
    )
    subgroups_reason: str = Field(
        "", description="Only with subgroups: none, such as facts about the people not known."
    )


# What a folder owes today; the first are those that the CHAI card and TRIPOD+AI ask for.
OWED = (
    *("workflow", "users", "target_population", "risks", "biases", "bias_mitigation", "clinical_risk", "authors"),
    *("contact", "stage", "released", "release", "availability", "maintenance", "funding", "interests"),
    *("stakeholders", "ethics", "disclosure"),
)
_MAY_STAY_EMPTY = ("licence_link", "publications", "registration", "regulatory", "citation", "tags")
_FILLED = {"privacy_audit": "required", "subgroups": "required", "privacy_audit_reason": '""', "subgroups_reason": '""'}


def template() -> str:
    """A commented `card.yaml` whose placeholders block publication until they are filled in."""
    lines = ["# card.yaml: all that people write of a published model; the rest comes from the run's records.", ""]
    for name, field in CardFacts.model_fields.items():
        lines.append(f"# {field.description}")
        lines.append(f"{name}: {_template_value(name, field.annotation)}")
    return "\n".join(lines) + "\n"


def _template_value(name: str, kind: Any) -> str:
    listed = kind == tuple[str, ...]
    if name in _FILLED:
        return _FILLED[name]
    if name in _MAY_STAY_EMPTY:
        return "[]" if listed else '""'
    placeholder = f"<describe {name.replace('_', ' ')}>"
    return f'["{placeholder}"]' if listed else f'"{placeholder}"'


def read_card(paths: Sequence[Path], *, name: str = "") -> CardFacts:
    """The card of one file, or of several of which a later one fills over an earlier one (a lab's, then a model's).

    Args:
        name: Of the model, where no file has one.

    Raises:
        PublishError: If a file is missing, too large, no plain YAML, or has a field that is unknown or of a wrong kind.
        UnknownNameError: For an unknown field, with the nearest known one.
    """
    told: dict[str, Any] = {"name": name} if name else {}
    for path in paths:
        told |= _read(Path(path))
    try:
        return CardFacts.model_validate(told)
    except ValidationError as error:
        first = error.errors()[0]
        raise PublishError(
            "The card is not complete" if first["type"] == "missing" else "A field of the card is of a wrong kind",
            where=f"{', '.join(Path(path).name for path in paths)}: {first['loc'][0]}",
            expected=str(CardFacts.model_fields[str(first["loc"][0])].description),
            fix="`hdt-fm publish card --to FILE` writes a card with all fields and what they mean",
        ) from error


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise PublishError(
            "There is no card at this place",
            where=f"publish.card: {path.name}",
            fix="`hdt-fm publish card --to card.yaml` writes one to fill in",
        )
    if path.stat().st_size > MOST_BYTES:
        raise PublishError("The card is far too large", where=path.name, expected=f"at most {MOST_BYTES} bytes")
    try:
        told = yaml.load(path.read_text(encoding="utf-8"), Loader=_Words)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        raise PublishError(
            "The card is no plain YAML",
            where=f"{path.name}, line {mark.line + 1}" if mark else path.name,
            expected="a field a line: a text, or a list of texts; no tags, anchors or fields twice",
            got=getattr(error, "problem", None) or type(error).__name__,
        ) from None
    if not isinstance(told, Mapping):
        raise PublishError("The card is no list of fields", where=path.name, expected="field: text")
    for key in told:
        if key not in CardFacts.model_fields:
            raise unknown_name("field of a card", str(key), CardFacts.model_fields, where=path.name)
    return dict(told)


class _Words(yaml.SafeLoader):
    """Plain YAML whose scalars stay the texts that were typed: no tags, no anchors, no key twice."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.composer.ComposerError(None, None, "an anchor", event.start_mark)
        if getattr(event, "tag", None):
            raise yaml.composer.ComposerError(None, None, "a tag", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [one.value for one, _ in node.value if isinstance(one, yaml.ScalarNode)]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"the field {twice!r} twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)
