# The two commands: `make demo` and `make test`. Each installs what it needs into .venv and .tools.

PYTHON ?= python3
BIN := .venv/bin
# every worker of the tests would compile all modules again
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test check format generate lock tools install explore simulate mutate bench bench-images wheel clean

help:            ## What can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

demo: .venv/runtime    ## The main job on the embedded cluster, live
	$(BIN)/sealoop demo

test: install tools    ## Every test, against real programs
	$(BIN)/python -m pytest -n auto $(ARGS)

check: install         ## Format, lint, types, import contracts, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/sealoop crds --check deploy/crds
	$(BIN)/sealoop rbac --check --table docs/operations.md
	$(BIN)/sealoop fields --check docs/kinds

format: install        ## Rewrite the code as the formatter wants it
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: install      ## Write the generated files again
	$(BIN)/sealoop crds deploy/crds
	$(BIN)/sealoop rbac --table docs/operations.md
	$(BIN)/sealoop fields docs/kinds

explore: install tools ## The property tests with new examples, and many: make explore ARGS=tests/image_updater
	$(BIN)/python -m pytest -n auto -m hypothesis --hypothesis-profile=explore $(ARGS)

simulate: install      ## More simulated histories: make simulate SEEDS=10000; SEED=n plays one again
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1000))

mutate: install        ## Score the tests by changes that they should notice: make mutate MODULES=gitops_core.domain.sync.plan
	$(BIN)/python tools/mutate.py $(MODULES) $(ARGS)

bench: install tools   ## Measure; prints tables
	$(BIN)/python -m bench

bench-images: install tools    ## The image updater only: make bench-images
	$(BIN)/python -m bench images

tools: install         ## The real programs that tests run against, built once into .tools/bin
	$(BIN)/python tools/build.py

lock: .venv/made       ## Resolve the dependencies again
	$(BIN)/pip install -q uv
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -q -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -q -o requirements-dev.lock

wheel: install         ## dist/*.whl
	$(BIN)/pip wheel -q --no-deps -w dist .

install: .venv/development

clean:                 ## Forget what was installed and built here
	rm -rf .venv .tools dist

.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "sealoop needs Python 3.11 or newer: $(PYTHON) is older; say make PYTHON=python3.12"; exit 1; }
	@command -v git >/dev/null || { echo "sealoop needs the git command: install it (Debian: apt-get install git)"; exit 1; }
	$(PYTHON) -m venv .venv
	touch $@

.venv/runtime: .venv/made requirements.lock pyproject.toml
	$(BIN)/pip install -q --require-hashes -r requirements.lock
	$(BIN)/pip install -q --no-deps -e .
	touch $@

.venv/development: .venv/runtime requirements-dev.lock
	$(BIN)/pip install -q --require-hashes -r requirements-dev.lock
	touch $@
