# Every target sets up what it needs. PYTHON=python3.12 make venv takes another interpreter.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready

.PHONY: help venv demo test check slow docs results wheels clean

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/\1\t\2/' | expand -t 8

venv: $(READY) ## Make .venv with the package and all it needs; again only when pyproject.toml has changed

$(READY): pyproject.toml
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: venv ## Train SimSiam with and without stop-gradient on handwritten digits, and write a report (minutes, offline)
	$(VENV)/bin/ssl-zoo demo

# The environment is fresh and is removed at the end; a .venv that exists already is a developer's and is left alone.
test: ## Run all tests in a fresh environment, which is removed at the end
	@venv=$(VENV); [ ! -e "$$venv" ] || venv=.venv-test; rm -rf .venv-test; \
	trap 'rm -rf "$$venv"' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM; \
	echo "setting up $$venv (removed at the end)"; \
	$(PYTHON) -m venv "$$venv"; \
	"$$venv/bin/python" -m pip install --quiet --editable '.[dev]'; \
	env -u PYTHONDONTWRITEBYTECODE OMP_NUM_THREADS=1 "$$venv/bin/python" -m pytest -n 4 --dist loadfile \
	--no-loadscope-reorder -p no:hydra_pytest -p no:anyio

check: venv ## Lint, format, types and the fast tests
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m pytest -q

slow: venv ## Run the longer tests
	$(VENV)/bin/python -m pytest -m slow

docs: venv ## Build the documentation into site/; a warning is an error
	$(VENV)/bin/mkdocs build --strict

results: venv ## Regenerate the README's table and picture from three seeds of the demo (what is done in runs/demo is kept)
	$(VENV)/bin/ssl-zoo demo --seed 0 --seed 1 --seed 2
	cp runs/demo/RESULTS.md experiments/digits/RESULTS.md
	cp runs/demo/demo.png docs/pictures/demo.png
	$(VENV)/bin/python -m ssl_zoo.report.markers README.md experiments/digits/RESULTS.md

wheels: venv ## Collect in wheels/ what a machine without network lacks in addition to torch (PYTHON names its interpreter)
	rm -rf wheels && $(VENV)/bin/python -m pip wheel --quiet --no-deps --wheel-dir wheels .
	$(VENV)/bin/python -m pip download --quiet --no-deps --only-binary :all: --python-version $(patsubst python%,%,$(PYTHON)) \
	  --dest wheels $$($(VENV)/bin/python -m pip freeze | grep -E '^(pydantic|pydantic_core|annotated-types|typing-inspection|pyarrow|lightly|lightly_utils|tqdm|python-dateutil)==')

clean: ## Remove what builds, tests and checks leave behind; environments and runs stay
	rm -rf build dist site .venv-test .pytest_cache .ruff_cache .mypy_cache
	find ssl_zoo tests docs -name __pycache__ -type d -prune -exec rm -rf {} +
