"""What starts a training elsewhere: the files for SLURM, Kubernetes, SkyPilot and containers.

Their options are parsed by the real parsers; their shell runs beside stand-ins for srun, scontrol
and Python, which write down how they were called.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from small import ROOT, run_seqae
from torch.distributed.run import get_args_parser

from seqae.training.distributed.exit_status import REQUEUE

CLOUD = ROOT / "scripts" / "cloud"
SBATCH = ROOT / "scripts" / "slurm" / "train.sbatch"


def documents(name: str) -> dict[str, Any]:
    """The documents of a file for Kubernetes, by kind."""
    text = (CLOUD / name).read_text(encoding="utf-8")
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def resolved(options: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What `seqae fit` makes of the options."""
    capsys.readouterr()
    assert run_seqae(*options, "--print_config") == 0
    config: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return config


def stand_in(folder: Path, name: str, script: str) -> None:
    """Put a program into `folder/bin`."""
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(0o755)


def run_script(folder: Path, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run bash in a folder whose `bin` is searched first, with few variables."""
    path = os.pathsep.join([str(folder / "bin"), "/usr/bin", "/bin"])
    return subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={"PATH": path, "HOME": str(folder), **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


# SLURM


@pytest.fixture
def submitted(tmp_path: Path) -> Path:
    """A folder from which the job script can run, with a srun that ends as $STATUS says."""
    stand_in(tmp_path, "srun", 'echo "$@" > srun.txt; echo "$STATUS" > "$SEQAE_STATUS_FILE"')
    stand_in(tmp_path, "scontrol", 'echo "$@" > scontrol.txt')
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").touch()
    return tmp_path


def submit(folder: Path, *options: str, **variables: str) -> tuple[int, str, str]:
    """Run the job script: its status, srun's words and scontrol's."""
    given = {"SLURM_SUBMIT_DIR": str(folder), "SLURM_JOB_ID": "7", "STATUS": "0", **variables}
    done = run_script(folder, shlex.join([str(SBATCH), *options]), **given)
    said = [folder / name for name in ("srun.txt", "scontrol.txt")]
    srun, scontrol = (path.read_text().strip() if path.exists() else "" for path in said)
    return done.returncode, srun, scontrol


def test_job_is_requeued_when_it_has_saved(submitted: Path) -> None:
    assert submit(submitted, "-c", "gru")[::2] == (0, "")
    status, srun, scontrol = submit(
        submitted, "-c", "gru", STATUS=f"{REQUEUE}", SLURM_CPUS_PER_TASK="8"
    )
    assert (status, scontrol) == (REQUEUE, "requeue 7")
    assert srun.startswith("--kill-on-bad-exit=1 --cpus-per-task=8 python -c ")
    assert srun.endswith(" seqae fit -c gru --run_dir runs/slurm-7 --resume auto")


def test_job_that_never_gets_to_a_step_is_not_requeued_for_ever(submitted: Path) -> None:
    stopped = {"STATUS": f"{REQUEUE}"}
    for _ in range(2):
        assert submit(submitted, **stopped)[2] == "requeue 7"
    checkpoints = submitted / "runs" / "slurm-7" / "checkpoints"
    checkpoints.mkdir(parents=True)
    stand_in(submitted, "srun", 'touch $SAVED; echo "$STATUS" > "$SEQAE_STATUS_FILE"')
    submit(submitted, SAVED=f"{checkpoints}/step=2.ckpt", **stopped)
    stand_in(submitted, "srun", 'echo "$STATUS" > "$SEQAE_STATUS_FILE"')
    for expected in ("requeue 7", "requeue 7", ""):
        (submitted / "scontrol.txt").unlink()
        assert submit(submitted, **stopped)[2] == expected


def test_array_of_seeds(submitted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The number of the array's last job is also that of the array."""
    array = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}
    _, srun, scontrol = submit(submitted, "-c", "gru", STATUS=f"{REQUEUE}", **array)
    assert scontrol == "requeue 7_3"
    options = shlex.split(srun.partition(" seqae ")[2])
    assert resolved(options, capsys)["seed_everything"] == 3


def test_job_in_a_container_needs_no_environment(submitted: Path) -> None:
    (submitted / ".venv" / "bin" / "activate").unlink()
    done = run_script(submitted, str(SBATCH), SLURM_SUBMIT_DIR=str(submitted), SLURM_JOB_ID="7")
    assert done.returncode == 1
    assert done.stderr.startswith("seqae: error: .venv/bin/activate must be in ")
    container = {"SEQAE_CONTAINER": "apptainer exec x.sif", "SEQAE_SRUN_OPTIONS": "--a --b"}
    _, srun, _ = submit(submitted, "-c", "gru", **container)
    assert srun.startswith("--kill-on-bad-exit=1 --a --b apptainer exec x.sif python -c ")


# torchrun and SkyPilot


def test_host_by_address(tmp_path: Path) -> None:
    """By its name, a host that knows itself as 127.0.1.1 would be found by nobody, as was tried."""
    stand_in(tmp_path, "python", 'echo "$@ over $GLOO_SOCKET_IFNAME"')
    stand_in(tmp_path, "ip", 'echo "2: eth7    inet $5/24 scope global eth7"')
    script = str(ROOT / "scripts" / "torchrun.sh")
    hosts = {"NODES": "2", "HEAD": "10.0.0.1:29400", "RUN_DIR": "x", "PROCESSES": "1"}
    for address, is_host in (("10.0.0.1", "true"), ("10.0.0.2", "false")):
        said = run_script(tmp_path, script, ADDRESS=address, **hosts).stdout
        assert f"--rdzv-conf=join_timeout=300,is_host={is_host} --local-addr={address} " in said
        assert said.endswith(" over eth7\n")
    assert "is_host" not in run_script(tmp_path, script, **hosts).stdout


@pytest.mark.parametrize(("rank", "gpus", "processes"), [(0, 4, 4), (1, 0, 1)])
def test_skypilot_variables(
    rank: int, gpus: int, processes: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = yaml.safe_load((CLOUD / "skypilot.yaml").read_text(encoding="utf-8"))
    assert task["resources"]["job_recovery"]["recover_on_exit_codes"] == [REQUEUE]
    (mount,) = task["file_mounts"]
    assert task["envs"]["RUN_DIR"].startswith(f"{mount}/")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").touch()
    stand_in(tmp_path, "torchrun.sh", 'echo "$NODES $PROCESSES $HEAD $ADDRESS"; echo "$@"')
    (tmp_path / "scripts").symlink_to(tmp_path / "bin")
    given = {"NUM_NODES": "2", "NODE_RANK": rank, "NUM_GPUS_PER_NODE": gpus}
    given["NODE_IPS"] = "10.0.0.1\n10.0.0.2"  # as SkyPilot 0.14 sets them
    variables = {f"SKYPILOT_{name}": str(value) for name, value in given.items()}
    hosts, options = run_script(
        tmp_path, task["run"], **variables, **task["envs"]
    ).stdout.splitlines()
    assert hosts == f"2 {processes} 10.0.0.1:29400 10.0.0.{rank + 1}"
    if rank == 0:
        assert resolved(["fit", *options.split()], capsys)["trainer"]["accelerator"] == "gpu"


# Kubernetes


def test_trainjob(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """torchrun's options come from the runtime's variables, those of fit are understood."""
    spec = documents("trainjob.yaml")["TrainJob"]["spec"]
    trainer = spec["trainer"]
    set_by_runtime = {
        "PET_NNODES": str(trainer["numNodes"]),
        "PET_NPROC_PER_NODE": str(trainer["numProcPerNode"]),
        "PET_NODE_RANK": "1",
        "PET_MASTER_ADDR": "seqae-node-0-0.seqae",
        "PET_MASTER_PORT": "29500",
    }
    for name, value in set_by_runtime.items():
        monkeypatch.setenv(name, value)
    assert trainer["command"] == ["python", "-m", "seqae.training.distributed.elastic"]
    words = [re.sub(r"\$\((\w+)\)", lambda m: os.environ[m[1]], w) for w in trainer["args"]]
    options = get_args_parser().parse_args(words)
    assert (options.nnodes, options.nproc_per_node) == ("2", "1")
    assert options.rdzv_endpoint == "seqae-node-0-0.seqae:29500"
    assert options.training_script == "seqae"
    assert "--resume=auto" in options.training_script_args
    config = resolved(options.training_script_args, capsys)
    pod = spec["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"][0]
    pod = pod["template"]["spec"]["template"]["spec"]
    mounted = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert str(Path(config["run_dir"]).parent) in mounted
    assert "/dev/shm" in mounted


def test_training_runtime_knows_the_exit_statuses() -> None:
    runtime = documents("training_runtime.yaml")["TrainingRuntime"]
    (job,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    job = job["template"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    actions = {}
    for rule in job["podFailurePolicy"]["rules"]:
        if (codes := rule.get("onExitCodes")) is not None:
            assert codes["containerName"] == container["name"]
            actions |= dict.fromkeys(codes["values"], rule["action"])
    assert actions == {REQUEUE: "Ignore", 2: "FailJob"}


# The image


def test_image_has_what_the_package_is_built_from() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    copied = {line[1:] for line in ignored.splitlines() if line.startswith("!")}
    assert copied == {path for path in copied if (ROOT / path).exists()}
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    needed = {"pyproject.toml", "constraints.txt", "seqae", "configs", "README.md"}
    needed |= set(re.findall(r'"(\w+)"', re.findall(r"license-files = \[(.*)\]", project)[0]))
    assert copied == needed
