# An image with the `seqae` command. docs/clusters.md has the commands for Kubernetes and SLURM.
#   docker build -t seqae .
#   docker run --rm seqae reconstruct demo "a sentence of your own"
#   docker run --rm --shm-size 1g --stop-timeout 300 --user "$(id -u)" -v "$PWD:/work" \
#     -v seqae-cache:/cache seqae fit -c gru --train my.txt --run_dir runs/mine --resume auto
# For NVIDIA GPUs (then `docker run --gpus all ...`), with PyTorch as PyPI has it, which brings CUDA:
#   docker build -t seqae:cuda --build-arg TORCH_INDEX= \
#     --build-arg BASE_IMAGE=nvidia/cuda:13.0.1-base-ubuntu24.04 .
# A base that has the torch of constraints.txt keeps it (pytorch/pytorch:2.13.0-cuda13.0-...).
ARG BASE_IMAGE=python:3.12-slim
FROM ${BASE_IMAGE}

# Any Debian or Ubuntu with Python 3.10 to 3.13. PACKAGES: "g++" for `model.compiled: true` on CPUs.
ARG PACKAGES=""
RUN if ! python3 -c "import ensurepip, venv"; then python="python3 python3-venv"; fi; \
    if [ -n "${python:-}$PACKAGES" ]; then \
      apt-get update \
      && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ca-certificates ${python:-} $PACKAGES \
      && rm -rf /var/lib/apt/lists/*; \
    fi

ENV PATH=/opt/seqae/bin:$PATH PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1
RUN python3 -m venv --system-site-packages /opt/seqae

# PyTorch first: it is the largest layer, and changes least. Empty: from PyPI, with CUDA.
WORKDIR /src
COPY constraints.txt .
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --constraint constraints.txt ${TORCH_INDEX:+--index-url $TORCH_INDEX} torch

COPY . .
ARG EXTRAS=train
RUN pip install --constraint constraints.txt ".[$EXTRAS]" && rm -rf /src

# OpenShift and `docker run --user` may give any user, so none of them needs a home. /cache keeps
# prepared text and what comes from the hub: mount a volume there.
RUN install -d -m 1777 /work /cache
ENV HOME=/cache USER=seqae XDG_CACHE_HOME=/cache
WORKDIR /work
USER 1000:1000
ENTRYPOINT ["seqae"]
CMD ["--help"]
