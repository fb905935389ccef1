# Each target installs what it needs into .venv by itself. `make help` lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
CORPORA ?= $(if $(RAFTORAL_CORPORA),$(RAFTORAL_CORPORA),../shared/corpora)
SEED   ?=
LAYER  ?=
TRACE  ?=
MINUTES ?= 20
JOBS   ?= 2

.PHONY: help demo test check bench corpora conformance sim mutants soak fuzz chaos netns rewrite golden clean install
help:            ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

install: $(STAMP)
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Raftoral needs Python 3.11 or later; found %d.%d. Try: make PYTHON=python3.12" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing Raftoral and its tools into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dev --editable .
	@touch $@

demo: $(STAMP)   ## three processes, sixty runs, one killed owner, everything verified
	@$(BIN)/python -m raftoral demo

test: check      ## format, lint, types, imports and every test (under 10 minutes on 2 cores)
	$(if $(wildcard $(CORPORA)),RAFTORAL_CORPORA=$(abspath $(CORPORA))) \
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup

check: $(STAMP)  ## format, lint, types, imports
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(STAMP)  ## the table of speeds; also build/bench.jsonl
	@$(BIN)/python -m tests.bench

# LANG is in most environments too, where it means something else.
conformance: $(STAMP) ## requirements for durable execution that others wrote: make conformance LANG=rwf CORPORA=DIR
	@$(BIN)/python -m tests.conformance $(CORPORA) $(if $(filter command,$(origin LANG)),--lang $(LANG))

corpora: $(STAMP) ## what others wrote to test systems like this one
	@RAFTORAL_CORPORA=$(CORPORA) $(BIN)/python -m tests.corpora

sim: $(STAMP)    ## one simulated cluster: make sim SEED=7 TRACE=steps.ndjson
	@$(BIN)/python -m raftoral.sim $(if $(SEED),--seed $(SEED)) $(if $(TRACE),--trace $(TRACE)) $(if $(LAYER),--layer $(LAYER))

mutants: $(STAMP) ## planted bugs: does the simulator catch each?
	@$(BIN)/python -m raftoral.sim --mutants

soak: $(STAMP)   ## simulated clusters for MINUTES=20; LAYER=workflows: whole nodes
	@$(BIN)/python -m raftoral.sim --minutes $(MINUTES) $(if $(LAYER),--layer $(LAYER))

fuzz: $(STAMP)   ## programs of the language by chance: make fuzz MINUTES=10
	@$(BIN)/python -m tests.lang.fuzz --minutes $(if $(filter file,$(origin MINUTES)),10,$(MINUTES)) $(if $(SEED),--seed $(SEED))

chaos: $(STAMP)  ## three processes, eight clients, a kill -9 every two seconds: make chaos MINUTES=5
	@$(BIN)/python -m tests.chaos --minutes $(if $(filter file,$(origin MINUTES)),5,$(MINUTES)) $(if $(LAYER),--layer $(LAYER))

netns: $(STAMP)  ## five nodes in network namespaces, bad lines, killed leaders (root): make netns MINUTES=2
	@$(BIN)/python -m tests.chaos --netns --minutes $(if $(filter file,$(origin MINUTES)),2,$(MINUTES)) $(if $(SEED),--seed $(SEED))

rewrite: $(STAMP) ## rewrite the transcripts; read the diff and explain it in the commit
	$(BIN)/python -m pytest -q --rewrite tests

golden: $(STAMP) ## store the histories of new scenarios; stored ones are never touched
	$(BIN)/python -m pytest -q --golden tests/golden -k has_its_file

clean:           ## remove what was built
	rm -rf build dist $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
