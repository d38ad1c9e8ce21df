"""`hdt-fm embed`: every window through the frozen encoder once, cached for heads and probes."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hdt_fm.checkpoint import load, load_preprocess
from hdt_fm.cli.compose import Config
from hdt_fm.cli.contract import check_contract, summary_of
from hdt_fm.cli.run import Run
from hdt_fm.cli.settings import EmbedSettings
from hdt_fm.cli.workflow import device_of, embed, open_shards, prepare_machine
from hdt_fm.data.embeddings import save_table
from hdt_fm.data.stream import OrderedBatches
from hdt_fm.schema.result import RunRecord


def run(run: Run) -> RunRecord:
    """Embed and cache."""
    config = run.config
    prepare_machine(config)
    folder = open_shards(config)
    model = load(config.value("checkpoint"), device=device_of(config))
    unlike = check_contract(model.config, load_preprocess(config.value("checkpoint")), folder, say=run.say)
    table = embed(config, model, folder, run.progress("embed"))
    target = Path(config.value("table"))
    save_table(table, target)
    return run.finish(
        outputs={"table": target},
        following=(f"hdt-fm finetune {config.chosen}", f"hdt-fm finetune {config.chosen} head=forecast"),
        summary={
            "windows": len(table),
            "modalities": ", ".join(table.modalities),
            **({"beside": "fused"} if table.fused is not None else {}),
            "width": table.embeddings.shape[2],
            **summary_of(unlike),
        },
        provenance={"model": table.model_digest, "shards": table.data_digest},
    )


def plan(config: Config) -> dict[str, Any]:
    """Embed one batch and say what the whole would take."""
    prepare_machine(config)
    folder = open_shards(config)
    model = load(config.value("checkpoint"), device=device_of(config))
    size = config.section("embed", EmbedSettings).batch_size
    folder = folder.with_static(model.config.covariates)
    batch = OrderedBatches(folder, np.arange(min(size, folder.windows)), batch_size=size)
    start = time.monotonic()
    with torch.no_grad():
        embedded = model.embed(next(iter(batch)).to(device_of(config)))
    seconds = time.monotonic() - start
    return {
        "windows": folder.windows,
        "width": embedded.values.shape[2],
        "estimated seconds": round(seconds * folder.windows / max(len(embedded.values), 1), 1),
        "table MB": round(folder.windows * embedded.values[0].numel() * 4 / 2**20, 1),
    }
