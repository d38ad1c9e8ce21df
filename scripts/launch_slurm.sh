#!/usr/bin/env bash
# Pretraining under SLURM: one torchrun a node, one process a GPU. Not yet run on a cluster; read it before you use it.
#   sbatch --nodes=2 --gpus-per-node=8 scripts/launch_slurm.sh experiment=stress_predict training.batch_size=4096
# Several settings at once are several jobs, each with its own run folder; this submits them with this file:
#   hdt-fm pretrain --multirun launcher=slurm launcher.nodes=2 launcher.gpus_per_node=8 training.learning_rate=1e-3,2e-3
# Two minutes before the time limit the run saves itself and the job queues again; it ends when the checkpoint is there.
# The working folder must be one that all nodes see (the run folder and the shards lie in it), the shards made before.
#SBATCH --job-name=hdt-fm
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
# Not through `head`: it may leave before all names are said, which pipefail takes for a failure.
nodes="$(scontrol show hostnames "$SLURM_JOB_NODELIST")"
head_node="${nodes%%$'\n'*}"
# One port for each job, so that two jobs may share a node.
port=$((20000 + SLURM_JOB_ID % 20000))

stopped=0
stop() {
    stopped=1
    kill -TERM "$step"
}
trap stop TERM

srun torchrun --nnodes "$SLURM_NNODES" --nproc-per-node "${SLURM_GPUS_ON_NODE:?ask for GPUs: --gpus-per-node}" \
    --rdzv-backend c10d --rdzv-endpoint "$head_node:$port" --rdzv-id "$SLURM_JOB_ID" \
    -m hdt_fm.cli.main pretrain "$@" &
step=$!
code=0
wait "$step" || code=$?
if ((stopped)); then
    # The signal ended the first wait; the second one is for the step to save and end.
    wait "$step" || true
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
