#!/usr/bin/env bash
# make_env.sh ENV PYTHON DEFAULT_TORCH [TORCH]: a virtual environment with torch in it.
# A torch that PYTHON or ENV already has is kept, unless TORCH asks for another.
set -euo pipefail
env=$1 python=$2 default_torch=$3 torch=${4:-}

has_torch() { "$1" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)'; }

if [[ ! -x $env/bin/python ]]; then
    echo "genkern: creating $env"
    if [[ -z $torch ]] && has_torch "$python"; then
        "$python" -m venv --system-site-packages "$env"
    else
        "$python" -m venv "$env"
    fi
fi
if [[ -z $torch ]] && ! has_torch "$env/bin/python"; then
    torch=$default_torch
fi
if [[ -n $torch ]]; then
    echo "genkern: installing $torch"
    "$env/bin/python" -m pip install -q --disable-pip-version-check "$torch"
fi
