"""What a build follows: the config's own preparation, or that of a plan that `hdt-fm inspect` wrote."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_pipelines.build_plan import read_plan
from hdt_fm.cli.compose import Config
from hdt_fm.schema import registry
from hdt_fm.schema.preparation import Preparation


@dataclass(frozen=True)
class Planned:
    """A cohort and what is made of it; `plan_digest` is empty where no plan was named."""

    cohort: Any
    preparation: Preparation
    plan_digest: str = ""


def planned(config: Config) -> Planned:
    """The cohort and preparation that a config names, or its `plan`.

    A plan stands for the whole preparation, and for the reader of a folder where none is named.

    Raises:
        ConfigError: If the plan, the preparation or the cohort cannot be.
    """
    part, path = config.part("cohort"), config.value("plan")
    if path is None:
        return Planned(registry.build("cohorts", part.name, part.args), config.section("preparation", Preparation))
    plan = read_plan(Path(path))
    reader = {"reader": plan.reader} if part.name == "folder" else {}
    cohort = registry.build("cohorts", part.name, {**reader, **part.args})
    return Planned(cohort, plan.preparation, plan.digest)
