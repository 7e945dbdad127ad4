# Two commands for a newcomer:   make demo   and   make test
# ARGS="..." goes to the program that is run:   make demo ARGS="--data digits"
#
# PYTHON  the interpreter that .venv is made from; inside a virtual environment that has torch, that one is used
# TORCH   the torch to install, e.g. TORCH=torch==2.11.0; unset, a torch that is there is kept
# For `make cuda-build`, which has an environment of its own: VENV_CUDA where it lies, TORCH_CUDA a torch built with CUDA
PYTHON ?= python3
TORCH ?=
DEFAULT_TORCH := torch==2.13.0

ifndef VENV
# An interpreter of a virtual environment that has torch names that environment; any other, nothing.
VENV := $(if $(TORCH),,$(shell $(PYTHON) -c 'import sys, importlib.util as u; \
    print(sys.prefix if sys.prefix != sys.base_prefix and u.find_spec("torch") else "")'))
VENV := $(or $(VENV),$(CURDIR)/.venv)
endif
PY := $(VENV)/bin/python
PIP_INSTALL := $(PY) -m pip install -q --disable-pip-version-check
# What the checkout is installed into; the stamps lie in the checkout because its binary does.
ENV_KEY := $(VENV) $(TORCH)
STAMPS := build/stamps
VENV_CUDA ?= $(CURDIR)/.venv-cuda
TORCH_CUDA ?= torch
CUDA_TREE := build/cuda-tree
COPIED := $(wildcard .clang-format .gitignore CHANGELOG.md CONTRIBUTING.md LICENSE MANIFEST.in Makefile README.md \
    SECURITY.md benchmarks csrc docs examples genkern pyproject.toml scripts setup.py tests)
SOURCES := setup.py pyproject.toml scripts/build_plan.py genkern/_version.py $(shell find csrc -type f 2>/dev/null)

.PHONY: demo test sanitize neon lint docs bench instructions cuda-check cuda-tables cuda-build wheels sdist clean FORCE

demo: $(STAMPS)/installed
	@$(VENV)/bin/genkern demo $(ARGS)

# A process a core; ARGS="-n 0" for one, ARGS=--full for every combination (docs/adding-an-op.md#how-much-is-run).
# Bytecode is kept, so that the tests' assertions are rewritten once, not by every process.
test: $(STAMPS)/installed
	@PYTHONDONTWRITEBYTECODE= $(PY) -m pytest -n auto --dist worksteal --failed-first $(ARGS)

# The CUDA kernels, emulated, under AddressSanitizer and UndefinedBehaviorSanitizer.
sanitize: $(STAMPS)/installed
	@PYTHONPATH=tests $(PY) -m cuda_emulator.sanitized $(ARGS)

bench: $(STAMPS)/installed
	@$(VENV)/bin/genkern bench $(ARGS)

# Instructions of every CPU kernel, counted, against those that are kept.
instructions: $(STAMPS)/installed
	@$(PY) -m benchmarks.instructions --check

# The CPU's kernels compiled for 64-bit Arm and run by qemu: a table, and tests; ARGS=--all for all that take a backend.
# On Debian and Ubuntu it needs g++-aarch64-linux-gnu and qemu-user-static, and without them says so.
neon: $(STAMPS)/installed
	@PYTHONPATH=tests $(PY) -m aarch64.check $(ARGS)

lint: $(STAMPS)/lint
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/clang-format --dry-run -Werror $$(find csrc scripts tests -name '*.h' -o -name '*.cuh' -o -name '*.cpp' -o -name '*.cu')
	$(PY) scripts/check_native.py cpp
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

# build/docs: the site, notebooks run, every warning an error; then every page is checked and opened in a browser.
docs: $(STAMPS)/docs
	@$(PY) -m sphinx -q -W --keep-going -j auto -b html docs build/docs
	@$(PY) -m pytest -q docs/checks $(ARGS)

cuda-check:
	@$(PYTHON) scripts/check_native.py cuda

# benchmarks/results/cuda.md: what the CUDA kernels take of an SM, brought up to date.
cuda-tables:
	@$(PYTHON) scripts/check_native.py cuda --write

# A copy of the checkout is built with CUDA and tested, so that the binary and the record of the checkout stay as they are.
# Needs nvcc, no GPU, and several GB for torch.
cuda-build:
	@rm -rf $(addprefix $(CUDA_TREE)/,$(COPIED)) && mkdir -p $(CUDA_TREE)
	@tar -c --exclude=__pycache__ --exclude='_C*.so' --exclude=_build.json $(COPIED) | tar -x -C $(CUDA_TREE)
	@GENKERN_CUDA=1 $(MAKE) --no-print-directory -C $(CUDA_TREE) VENV='$(VENV_CUDA)' TORCH='$(TORCH_CUDA)' build/stamps/installed
	@cd $(CUDA_TREE) && $(VENV_CUDA)/bin/python scripts/check_cuda_build.py
	@cd $(CUDA_TREE) && $(VENV_CUDA)/bin/python -m pytest $(ARGS)

# dist/: a wheel with a binary for each torch release of scripts/build_wheel.py, installed and tested beside each.
wheels:
	@$(PYTHON) scripts/build_wheel.py $(ARGS)
	@$(PYTHON) scripts/check_wheel.py "$$(ls -t dist/*manylinux*.whl | head -n 1)"

# dist/: the source archive, built and tested as a wheel is.
sdist: $(STAMPS)/env
	@$(PIP_INSTALL) build "setuptools>=77" ninja
	@$(PY) -m build --sdist --no-isolation
	@$(PY) scripts/check_wheel.py --env $(PY) -- "$$(ls -t dist/*.tar.gz | head -n 1)"

clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks
	rm -f genkern/_C*.so genkern/_build.json

$(STAMPS)/installed: $(STAMPS)/env $(SOURCES)
	@echo "genkern: building and installing into $(VENV) (a few minutes the first time)"
	@$(PIP_INSTALL) "setuptools>=77" ninja
	@$(PIP_INSTALL) --no-build-isolation -e ".[demo,test]"
	@$(PY) -c 'import json; b = json.load(open("genkern/_build.json")); \
	    print("genkern: pure Python," if b["reason"] else "genkern: native; no CUDA," if b["cuda"]["reason"] else "genkern: native, CUDA", \
	          b["reason"] or b["cuda"]["reason"] or b["cuda"]["archs"])'
	@touch $@

$(STAMPS)/lint: $(STAMPS)/installed
	@$(PIP_INSTALL) --no-build-isolation -e ".[lint]"
	@touch $@

$(STAMPS)/docs: $(STAMPS)/installed
	@$(PIP_INSTALL) --no-build-isolation -e ".[docs]"
	@$(PY) scripts/get_browser.py
	@touch $@

# Remade only when the environment is gone or another one, or another torch, is asked for.
$(STAMPS)/env: FORCE
	@test -x $(PY) && echo '$(ENV_KEY)' | cmp -s - $@ || { \
	    scripts/make_env.sh '$(VENV)' '$(PYTHON)' '$(DEFAULT_TORCH)' '$(TORCH)' && \
	    mkdir -p $(STAMPS) && echo '$(ENV_KEY)' > $@; }
