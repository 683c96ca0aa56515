#!/usr/bin/env bash
# Train with torchrun: on one host, or on each of several at the same time.
#   scripts/torchrun.sh -c gru -c overlays/gpu                           all GPUs of this host
#   PROCESSES=2 scripts/torchrun.sh -c gru                               two processes on CPUs
#   NODES=2 HEAD=host1:29400 RUN_DIR=runs/x scripts/torchrun.sh ...      on host1 and on host2
# The arguments are those of `seqae fit`. If a process dies, all end and start again from the newest
# checkpoint, up to RESTARTS times (3). With NODES=1:2, if one host dies the other continues alone.
# The script ends with 75 when it was asked to stop (SIGTERM, SIGUSR1, --trainer.max_time) and has
# saved: the same command with the same RUN_DIR resumes. WAIT: seconds (300) to wait for other hosts.
# ADDRESS: this host's IP address, where the others do not know its name; HEAD has an address then.
set -euo pipefail
cd "$(dirname "$0")/.."

nodes=${NODES:-1} processes=${PROCESSES:-gpu}
if [ "$nodes" != 1 ] && [ -z "${HEAD:-}" -o -z "${RUN_DIR:-}" ]; then
  echo "HEAD and RUN_DIR must be given, the same on all hosts, because NODES is $nodes." >&2
  exit 2
fi
rendezvous=join_timeout=${WAIT:-300} local_address=()
if [ -n "${ADDRESS:-}" ]; then
  local_address=(--local-addr="$ADDRESS")
  [ "${HEAD%:*}" = "$ADDRESS" ] && rendezvous+=,is_host=true || rendezvous+=,is_host=false
  # gloo would listen at the address of the host's name, which on Debian and Ubuntu is 127.0.1.1.
  interface=$(ip -o addr show to "$ADDRESS" 2>/dev/null | awk 'NR == 1 {print $2}') || true
  [ -z "$interface" ] || export GLOO_SOCKET_IFNAME=${GLOO_SOCKET_IFNAME:-$interface}
fi
[ "$processes" = gpu ] || export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

exec python -m seqae.training.distributed.elastic --nnodes="$nodes" --nproc-per-node="$processes" \
  --max-restarts="${RESTARTS:-3}" --rdzv-backend=c10d --rdzv-endpoint="${HEAD:-localhost:0}" \
  --rdzv-id="${RUN_ID:-seqae}" --rdzv-conf="$rendezvous" ${local_address[@]+"${local_address[@]}"} \
  -m seqae fit "$@" --run_dir "${RUN_DIR:-runs/torchrun-$(date +%Y-%m-%dT%H-%M-%S)}" --resume auto
