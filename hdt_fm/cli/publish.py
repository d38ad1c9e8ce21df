"""`hdt-fm publish [--to hub]`: checkpoint and documents as one folder, refused unless every line can be stood by."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hdt_fm.checkpoint import load, model_digest
from hdt_fm.cli.compose import Config
from hdt_fm.cli.config_files import config_root
from hdt_fm.cli.run import Run
from hdt_fm.cli.settings import PublishSettings
from hdt_fm.cli.workflow import encoder_digest, open_cohorts, open_shards
from hdt_fm.consent.register import is_register
from hdt_fm.consent.remedies import withdrawn_in_lineage
from hdt_fm.data.shards import ShardFolder
from hdt_fm.report.card_facts import CardFacts, read_card
from hdt_fm.report.check import check
from hdt_fm.report.data_facts import data_facts
from hdt_fm.report.evidence import AUDIT_NAME, EXPLANATION_JSON, FAIRNESS_NAME
from hdt_fm.report.facts import digest_of
from hdt_fm.report.hub import push_to_hub
from hdt_fm.report.publish import assemble
from hdt_fm.schema.errors import ConfigError, PublishError
from hdt_fm.schema.result import RunRecord

STATIONS = ("shard", "pretrain", "embed", "finetune", "evaluate", "explain", "audit/privacy", "audit/fairness")
# Cards of the experiments that come with hdt_fm; `house` has what they have in common.
CARDS = Path("experiment", "cards")


def run(run: Run) -> RunRecord:
    """Assemble, check, load back, and push when asked."""
    config = run.config
    settings = config.section("publish", PublishSettings)
    root, target = Path(config.value("root")), run.folder / "model"
    explanation = root / "explain" if settings.attribution and (root / "explain" / EXPLANATION_JSON).is_file() else None
    audit, fairness = root / "audit" / "privacy" / AUDIT_NAME, root / "audit" / "fairness" / FAIRNESS_NAME
    explained = _explained(root) if explanation else {}
    assemble(
        Path(settings.checkpoint),
        records=[*_records(root), *_elsewhere(settings.evaluations)],
        data=[data_facts(folder.manifest) for folder in _folders(config)],
        card_facts=card_of(settings, str(config.value("name"))),
        folder=target,
        reload=lambda folder: _names(folder, explained),
        audit=audit if audit.is_file() else None,
        fairness=fairness if fairness.is_file() else None,
        explanation=explanation,
        withdrawn=partial(still_in_lineage, config, settings.consent),
    )
    outputs, summary = {"published": target}, {"checked": "every file, digest and number"}
    if config.value("to") == "hub":
        if not settings.repo_id:
            raise PublishError("A hub needs a repository name", where="publish.repo_id", expected="owner/name")
        push = push_to_hub(target, settings.repo_id, private=settings.private)
        summary["pushed"] = push.url
    return run.finish(
        outputs=outputs,
        following=(
            f"hdt-fm publish check {target}",
            f"python -c \"import hdt_fm; print(hdt_fm.load('{target}'))\"",
        ),
        summary=summary,
        provenance={"published": encoder_digest(load(target))},
    )


def plan(config: Config) -> dict[str, Any]:
    """Say which records are there, and what an already published folder still lacks."""
    settings = config.section("publish", PublishSettings)
    there = [record.verb for record in _records(Path(config.value("root")))]
    target = Path(config.value("root")) / "publish" / "model"
    problems = check(target) if target.is_dir() else ["nothing published yet"]
    return {
        "checkpoint": "loads" if load(settings.checkpoint) else "",
        "card": card_of(settings, str(config.value("name"))).summary,
        "records": ", ".join(there),
        "problems": "; ".join(problems) or "none",
    }


def card_of(settings: PublishSettings, name: str) -> CardFacts:
    """The card that `publish.card` names: files, or names of cards that come with hdt_fm.

    Raises:
        ConfigError: If it names none.
    """
    if not settings.card:
        raise ConfigError(
            "There is no card: nobody has said what this model is for",
            where="publish.card",
            expected="a card.yaml, or the name of a card of an experiment",
            fix="`hdt-fm publish card --to card.yaml` writes one to fill in; then publish.card=card.yaml",
        )
    cards = (settings.card,) if isinstance(settings.card, str) else settings.card
    return read_card([_card_path(one) for one in cards], name=name)


def _card_path(told: str) -> Path:
    ours = config_root() / CARDS / f"{told}.yaml"
    return ours if Path(told).name == told and ours.is_file() else Path(told)


def _names(folder: Path, explained: dict[str, str]) -> set[str]:
    """Digests by which results, an audit or a report may name the model of a folder.

    A report may be of the same encoder with a head beside it, since heads are taught after the encoder is done.
    """
    model = load(folder)
    encoder = encoder_digest(model)
    return {encoder, model_digest(model), *(whole for whole, body in explained.items() if body == encoder)}


def _explained(root: Path) -> dict[str, str]:
    """Digest of the checkpoint with heads, to that of its encoder; empty where the run has none."""
    folder = root / "finetune" / "checkpoint"
    if not folder.is_dir():
        return {}
    model = load(folder)
    return {model_digest(model): encoder_digest(model)}


def _records(root: Path) -> list[RunRecord]:
    """Records of the verbs that led here, in the order of the path."""
    paths = [root / verb / "result.json" for verb in STATIONS]
    return [_record(path) for path in paths if path.is_file()]


def _elsewhere(folders: Sequence[str]) -> list[RunRecord]:
    """Records of evaluations that lie in run folders of their own."""
    found = []
    for folder in map(Path, folders):
        path = folder / "result.json"
        if not path.is_file():
            raise ConfigError(
                "There is no record of an evaluation",
                where=f"publish.evaluations: {folder}",
                expected="the folder of an `evaluate` run, with its result.json",
                fix="run `hdt-fm evaluate` there first, or leave the folder out",
            )
        found.append(_record(path))
    return found


def _record(path: Path) -> RunRecord:
    """A record, where the settings beside it are those that it was made by.

    Raises:
        PublishError: If the verb was started again with others and left no record. Records older than the digest pass.
    """
    record = RunRecord.model_validate_json(path.read_bytes())
    told, beside = record.provenance.get("config_file"), path.with_name("config.yaml")
    if told and beside.is_file() and digest_of(beside) != told:
        raise PublishError(
            "A record is not of the settings beside it: its verb was started again and left no new record",
            where=str(path.parent),
            expected=f"config.yaml with digest {str(told)[:12]}, as result.json says",
            got=digest_of(beside)[:12],
            fix=f"run `hdt-fm {record.verb}` there to its end",
        )
    return record


def still_in_lineage(config: Config, register: str | None) -> list[str]:
    """Why people who left are still in the lineage, by a register; a consent table knows of nobody who left."""
    if register is None or not is_register(Path(register)):
        return []
    shards = [Path(one) for one in config.value("cohorts") or [config.value("shards")]]
    return withdrawn_in_lineage(Path(register), Path(config.value("checkpoint")), shards)


def _folders(config: Config) -> list[ShardFolder]:
    """The cohorts that the encoder was trained on, the evaluated one last."""
    if config.value("cohorts") is None:
        return [open_shards(config)]
    folders = list(open_cohorts(config).folders.values())
    evaluated = Path(config.value("shards"))
    last = ShardFolder.open(evaluated).digest if evaluated.is_dir() else None
    return sorted(folders, key=lambda folder: folder.digest == last)
