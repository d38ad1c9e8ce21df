"""`hdt-fm publish [--to hub]`: the checkpoint folder with its card, refused unless every line can be stood behind."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hdt_fm.checkpoint import load
from hdt_fm.cli.compose import Config
from hdt_fm.cli.run import Run
from hdt_fm.cli.settings import PublishSettings
from hdt_fm.cli.workflow import encoder_digest, open_cohorts, open_shards
from hdt_fm.data.shards import ShardFolder
from hdt_fm.report.card import CardFacts, data_facts
from hdt_fm.report.check import check
from hdt_fm.report.hub import push_to_hub
from hdt_fm.report.publish import assemble
from hdt_fm.schema.errors import ConfigError, PublishError
from hdt_fm.schema.result import RunRecord

STATIONS = ("shard", "pretrain", "embed", "finetune", "evaluate", "explain")


def run(run: Run) -> RunRecord:
    """Assemble, check, load back, and push when asked."""
    config = run.config
    settings = config.section("publish", PublishSettings)
    target = run.folder / "model"
    assemble(
        Path(settings.checkpoint),
        records=[*_records(Path(config.value("root"))), *_elsewhere(settings.evaluations)],
        data=[data_facts(folder.manifest) for folder in _folders(config)],
        card_facts=_facts(config, settings),
        folder=target,
        reload=lambda folder: {encoder_digest(load(folder))},
    )
    outputs, summary = {"published": target}, {"checked": "every file, digest and number"}
    if config.value("to") == "hub":
        if not settings.repo_id:
            raise PublishError("A hub needs a repository name", where="publish.repo_id", expected="owner/name")
        push = push_to_hub(target, settings.repo_id, private=settings.private)
        summary["pushed"] = push.url
    return run.finish(
        outputs=outputs,
        following=(f"python -c \"import hdt_fm; print(hdt_fm.load('{target}'))\"",),
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
        "records": ", ".join(there),
        "problems": "; ".join(problems) or "none",
    }


def _records(root: Path) -> list[RunRecord]:
    """Records of the verbs that led here, in the order of the path."""
    paths = [root / verb / "result.json" for verb in STATIONS]
    return [RunRecord.model_validate_json(path.read_bytes()) for path in paths if path.is_file()]


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
        found.append(RunRecord.model_validate_json(path.read_bytes()))
    return found


def _folders(config: Config) -> list[ShardFolder]:
    """The cohorts that the encoder was trained on, the evaluated one last."""
    if config.value("cohorts") is None:
        return [open_shards(config)]
    folders = list(open_cohorts(config).folders.values())
    evaluated = Path(config.value("shards"))
    last = ShardFolder.open(evaluated).digest if evaluated.is_dir() else None
    return sorted(folders, key=lambda folder: folder.digest == last)


def _facts(config: Config, settings: PublishSettings) -> CardFacts:
    given = settings.model_dump(exclude={"repo_id", "private", "checkpoint", "evaluations"})
    return CardFacts(name=str(config.value("name")), **given)
