"""`hdt-fm audit WORD`: what a model tells of people (privacy), and for whom it is worse (fairness)."""

from importlib import import_module
from types import ModuleType
from typing import Any

from hdt_fm.cli.compose import Config
from hdt_fm.cli.run import Run
from hdt_fm.cli.settings import AuditSettings
from hdt_fm.report.tables import markdown
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.result import Result, RunRecord


def run(run: Run) -> RunRecord:
    """The audit that the word after the verb names."""
    return _room(run.config).run(run)


def plan(config: Config) -> dict[str, Any]:
    """What it would look at, and how long that takes."""
    return _room(config).plan(config)


def page(title: str, said: tuple[str, ...], *results: Result) -> str:
    """The findings in words, then every number."""
    words = "\n".join(f"- {sentence}" for sentence in said)
    return "\n".join([f"# {title}", "", words, "", *(markdown(result) for result in results)])


def without_audit(config: Config) -> str:
    """The overrides for other verbs, which are asked for no audit."""
    return " ".join(word for word in config.chosen.split(" ") if not word.startswith("audit."))


def _room(config: Config) -> ModuleType:
    """The module of `audit.what`, whose values are the words."""
    what = config.section("audit", AuditSettings).what
    if what is None:
        raise ConfigError(
            "It is not said which audit is asked for",
            where="hdt-fm audit",
            expected="hdt-fm audit privacy, or hdt-fm audit fairness",
        )
    return import_module(f"hdt_fm.cli.audit.{what}")
