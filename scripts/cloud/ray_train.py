"""Train with Ray Train on any Ray cluster; lost workers are replaced, and the run goes on.

    python scripts/cloud/ray_train.py 2 /shared/runs/gru        # two CPU processes
    python scripts/cloud/ray_train.py 8 /shared/runs/gru --gpu

Every node needs `pip install 'seqae[train]' 'ray[train]'` and must see the run's folder. It has
not run yet: docs/clusters.md says why.
"""

import os
import sys

import ray.train
from ray.train.torch import TorchTrainer


def train(options: dict) -> None:
    """Run `seqae fit` as one of the processes, which Ray has started and connected."""
    context = ray.train.get_context()
    hosts = context.get_world_size() // context.get_local_world_size()
    # Ray has set torchrun's other variables: RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR ...
    os.environ |= {"TORCHELASTIC_RUN_ID": "ray", "GROUP_WORLD_SIZE": str(hosts)}
    import seqae

    seqae.fit("wordnet-examples", resume="auto", **options)


if __name__ == "__main__":
    workers, run_dir, on_gpus = int(sys.argv[1]), sys.argv[2], "--gpu" in sys.argv
    TorchTrainer(
        train,
        train_loop_config={"recipe": ["gru", *["overlays/gpu"] * on_gpus], "run_dir": run_dir},
        scaling_config=ray.train.ScalingConfig(num_workers=workers, use_gpu=on_gpus),
        run_config=ray.train.RunConfig(
            storage_path=os.path.dirname(os.path.abspath(run_dir)),
            failure_config=ray.train.FailureConfig(max_failures=3),
        ),
    ).fit()
