#!/usr/bin/env bash
# Train with torchrun: on one host, or on each of several at the same time.
#   scripts/torchrun.sh -c configs/gru.yaml -c configs/overlays/ddp.yaml        all GPUs of this host
#   NODES=2 HEAD=host1:29400 scripts/torchrun.sh ...                            on host1 and on host2
# PROCESSES (gpu: one for each GPU) and RESTARTS (3) may be set too. A process that dies ends all of
# them, and all start again from the newest checkpoint; with NODES=1:2 the other host goes on alone.
set -euo pipefail
cd "$(dirname "$0")/.."

nodes=${NODES:-1} head=${HEAD:-localhost:0} processes=${PROCESSES:-gpu}
rendezvous=(--rdzv-backend=c10d --rdzv-endpoint="$head" --rdzv-id="${RUN_ID:-seqae}")

# Without this, a restart under gloo may meet the store of the processes that have died (torch 2.13).
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
[ "$processes" = gpu ] || export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

exec python -m torch.distributed.run --nnodes="$nodes" --nproc-per-node="$processes" \
  --max-restarts="${RESTARTS:-3}" "${rendezvous[@]}" \
  -m seqae fit "$@" --run_dir "${RUN_DIR:-runs/torchrun}" --resume auto
