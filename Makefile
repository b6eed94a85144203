# Two commands do the work on a fresh clone: `make train` and `make test`. `make` lists the rest.

PIPELINE ?= fast
BENCH ?= speed
VENV := .venv
INSTALLED := $(VENV)/.installed

# What TensorFlow writes of itself hides the progress bar; real errors come as exceptions.
export TF_CPP_MIN_LOG_LEVEL ?= 3
# STYLE, CONTENT and STEPS reach the recipe through the environment, so that values with spaces survive.
export STYLE CONTENT STEPS

.DEFAULT_GOAL := help
.PHONY: help train test test-slow lint bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

train: $(INSTALLED) ## train: PIPELINE=fast|gan|fusion|style_class|clahe|dcgan_mnist STYLE=image CONTENT=folder|tfds:NAME STEPS=n ARGS='--flag=value ...'
	@test -f pipelines/$(PIPELINE).py || { \
	  echo "make train: no pipeline '$(PIPELINE)'; give PIPELINE= one of:" \
	    $(filter-out __init__,$(basename $(notdir $(wildcard pipelines/*.py)))) >&2; exit 2; }
	@$(VENV)/bin/python -m pipelines.$(PIPELINE) $${STYLE:+"--style=$$STYLE"} \
	  $${CONTENT:+"--content=$$CONTENT"} $${STEPS:+"--steps=$$STEPS"} $(ARGS)

# One process for each core, four at most: each holds TensorFlow. A file's tests stay in one process, which shares what
# they are set up with; which files come first, tests/conftest.py says.
test: $(INSTALLED) ## run the tests, without those marked slow; ARGS='-k name' chooses
	@$(VENV)/bin/python -m pytest -m "not slow" -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder \
	  $(ARGS)

test-slow: $(INSTALLED) ## run the tests marked slow
	@$(VENV)/bin/python -m pytest -m slow $(ARGS)

lint: $(INSTALLED) ## check the code with ruff, its format too, and with mypy
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check --quiet .
	@$(VENV)/bin/mypy

bench: $(INSTALLED) ## measure: BENCH=speed (shipped model and its peer)|quality (its pictures too)|train_step|input_pipeline|gatys|memory|gallery|health|serve|fuzz|jury ARGS='--flag=value ...'
	@test -f benchmarks/$(BENCH).py || { \
	  echo "make bench: no benchmark '$(BENCH)'; give BENCH= one of:" \
	    $(notdir $(basename $(wildcard benchmarks/*.py))) >&2; exit 2; }
	@$(VENV)/bin/python benchmarks/$(BENCH).py $(ARGS)

clean: ## remove builds and caches; .venv, runs and models stay
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

# PYTHON=/path/to/python chooses; otherwise the first of these that runs and that TensorFlow 2.21
# has wheels for. The stamp is the last thing written: an interrupted install starts again.
$(INSTALLED): setup.py pyproject.toml
	@for python in $${PYTHON:-python3.11 python3.12 python3.13 python3}; do \
	  "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	    2>/dev/null && found=$$python && break; \
	done; \
	test -n "$$found" || { \
	  echo "make: no Python 3.11, 3.12 or 3.13 found (tried: $${PYTHON:-python3.11 python3.12" \
	    "python3.13 python3}). Install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 2; }; \
	echo "Installing into $(VENV) with $$("$$found" --version) (about 2.5 GB, some minutes)"; \
	"$$found" -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@
