#!/usr/bin/env bash
# Pretraining on all GPUs of one machine, one process each (device=cpu: processes that share the cores).
#   scripts/launch_torchrun.sh PROCESSES [overrides as for hdt-fm pretrain]
#   scripts/launch_torchrun.sh 4 experiment=stress_predict training.batch_size=1024
# training.batch_size is of all processes together and must be divisible by their number; the loss sees all of it. Where
# the GPUs' memory is short of it, training.piece=N encodes N windows of a process at a time; where it is short of the
# model, training.sharded=true shares its weights out, and training.activation_checkpointing=true keeps less. After a stop,
# also with another number of processes, it goes on at the same windows (under other draws of augmentation and dropout).
# Ctrl-C and SIGTERM save first; torchrun gives the processes 30 s for that. Make the shards before (`hdt-fm shard`).
set -euo pipefail
processes="${1:?usage: launch_torchrun.sh PROCESSES [overrides]}"
shift
exec torchrun --standalone --nproc-per-node "$processes" -m hdt_fm.cli.main pretrain "$@"
