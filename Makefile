# foveal: `make help` lists what there is. Everything happens in .venv, which is made on first use.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.installed-docs
# How many tests run side by side. Each worker keeps to one thread, so that results do not depend on the machine.
WORKERS ?= 2
PYTEST_ARGS ?=
DEMO_ARGS ?=
# Tests start hundreds of processes: they begin sooner, and tests are collected in half of the time, where compiled
# modules are kept, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE
# What makes oneDNN, PyTorch and MKL leave out all that came after AVX2, and the tests whose numbers depend on it.
AVX2 := ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2
NUMERICAL := networks saliency methods/test_methods.py methods/test_sgqn.py learners/test_sac.py learners/test_drqv2.py \
  learners/test_qrdqn.py learners/test_oracle.py learners/test_oracle_drqv2.py training/test_updater.py \
  training/test_resume.py checkpoint/test_checkpoint.py skills/test_resume.py

.DEFAULT_GOAL := help
.PHONY: help install demo test test-quick test-avx2 test-slurm release check-release lint types format docs check clean python egl

help: ## show this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 17

install: $(STAMP) ## make .venv and install foveal with its pinned dependencies

demo: egl install ## train SGQN behind a fovea from pixels, stress it, and write a page about it; says first how long that takes here
	@$(BIN)/foveal demo $(DEMO_ARGS)

test: egl lint types ## run every check of the code: ruff, mypy, import rules, all tests
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope $(PYTEST_ARGS)

test-quick: egl install ## every part of the library in a minute and a half: the tests that are not marked slow
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow" $(PYTEST_ARGS)

test-avx2: egl install ## the numerical tests as on a processor without AVX-512, whatever this one is
	@$(AVX2) $(BIN)/python -m pytest -n $(WORKERS) --dist loadscope $(NUMERICAL:%=tests/%) $(PYTEST_ARGS)

test-slurm: egl install ## the tests that need Slurm, on one that is set up for them (root; apt-get install slurm-wlm munge)
	@sh scripts/test_slurm.sh $(BIN)/python $(PYTEST_ARGS)

release: install ## wheel and sdist in dist/, checked, ready for twine upload
	@rm -rf dist
	@$(BIN)/python -m build --quiet
	@$(BIN)/python -m twine check --strict dist/*
	@$(BIN)/python scripts/check_release.py

check-release: egl release ## install that wheel into an empty environment, and run the README's code there
	@$(BIN)/python scripts/check_release.py --install

lint: install ## ruff: style, and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo "Some files are not formatted: run 'make format'."; exit 1; }

types: install ## mypy, strict
	@$(BIN)/mypy

format: install ## let ruff mend what it can
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

docs: $(DOCS_STAMP) ## build the documentation into docs/_build/html, warnings are errors
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

check: docs test ## everything that must hold before a change goes in

clean: ## remove .venv, caches and builds (runs/ stays)
	rm -rf $(VENV) build dist docs/_build .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find src tests docs -name __pycache__ -type d -prune -exec rm -rf {} +

# ------------------------------------------------------------------------------------------------------- installation
# torch goes first and alone, at the one version that constraints.txt names: together with other packages pip may prefer
# another build of it. What follows finds it satisfied.
$(STAMP): pyproject.toml constraints.txt | python
	@test -x $(BIN)/python && $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { \
	  echo "Could not make $(VENV). On Debian and Ubuntu: sudo apt-get install python3-venv"; exit 1; }
	@echo "Installing foveal into $(VENV) (once; some minutes)"
	@$(BIN)/python -m pip install -qq $$(grep '^torch==' constraints.txt)
	@$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '.[dev,onnx,atari,box2d,sb3,skills,ur,wandb,websocket,lerobot,opencv,onrobot,ik,ray,slurm]'
	@touch $@

$(DOCS_STAMP): $(STAMP)
	@$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '.[docs]'
	@touch $@

python:
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "foveal needs Python 3.11 or newer, and there is no '$(PYTHON)' here."; \
	  echo "Install it (Debian, Ubuntu: sudo apt-get install python3 python3-venv), or name one: make PYTHON=python3.12 ..."; \
	  exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "foveal needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Name a newer one: make PYTHON=python3.12 ..."; \
	  exit 1; }

# The simulator renders through EGL on Linux, with no screen. Any other choice of MUJOCO_GL is the user's own business.
egl: python
	@$(PYTHON) -c 'import ctypes, os, sys; \
	  sys.platform == "linux" and os.environ.get("MUJOCO_GL", "egl") == "egl" and ctypes.CDLL("libEGL.so.1")' \
	  2>/dev/null || { \
	  echo "libEGL is missing: the simulator cannot draw without it."; \
	  echo "Debian, Ubuntu: sudo apt-get install libegl1 libgl1 libgl1-mesa-dri"; \
	  echo "Fedora:         sudo dnf install mesa-libEGL mesa-libGL mesa-dri-drivers"; \
	  exit 1; }
