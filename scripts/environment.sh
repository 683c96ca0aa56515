# Sourced by the scripts: make or reuse the virtual environment in .venv, from pinned versions. It is
# made again when pyproject.toml or constraints.txt change. SEQAE_PYTHON names another Python.
python=${SEQAE_PYTHON:-python3}
"$python" - <<'CHECK' || exit 1
import sys
if not (3, 10) <= sys.version_info[:2] <= (3, 13):
    sys.exit(f"seqae needs Python 3.10 to 3.13, but {sys.executable} is "
             f"{sys.version.split()[0]}. Set SEQAE_PYTHON to another one.")
CHECK
stamp=$(cat pyproject.toml constraints.txt <("$python" --version) | cksum)
if [ "$(cat .venv/.stamp 2>/dev/null)" != "$stamp" ]; then
    if [ -e .venv ] && [ ! -e .venv/.stamp ] && [ ! -e .venv/.unfinished ]; then
        echo ".venv must be one that this script made, but it is not. Move it elsewhere." >&2
        exit 1
    fi
    echo "setting up .venv (once; a few minutes, mostly downloading PyTorch) ..."
    rm -rf .venv
    "$python" -m venv .venv
    touch .venv/.unfinished
    .venv/bin/python -m pip install --quiet --upgrade pip --constraint constraints.txt
    .venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
    echo "$stamp" > .venv/.stamp
fi
export PATH="$PWD/.venv/bin:$PATH"
