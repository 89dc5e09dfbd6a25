# Two commands are all that a newcomer needs: `make gate` and `make test`. `make` alone lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
TARGET ?= targets/reference.toml
ENVIRONMENT := auto
export GAUNTLET_ENVIRONMENT := $(if $(filter auto,$(ENVIRONMENT)),$(GAUNTLET_ENVIRONMENT),$(ENVIRONMENT))
# An image that forbids Python to keep bytecode would have each of a gate's many processes compile all of it anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help gate test test-commands test-containers fuzz bench bench-audit bench-judge bench-page bench-proxy demo-reports docs tutorial setup servers lock clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

gate: setup  ## boot real stacks, run every scenario, judge it, print the verdict (ARGS="-k race", ENVIRONMENT=containers, TARGET=FILE)
	@$(BIN)/gauntlet gate --target $(TARGET) $(ARGS)

test: setup  ## the gauntlet's own tests
	@$(BIN)/python -m pytest $(ARGS)

test-containers: $(VENV)/.made  ## the tests that need a container engine, and boot stacks in containers (two minutes)
	@$(BIN)/python -m pytest -m containers $(ARGS)

test-commands: setup  ## every command that boots stacks, for real, each in its shortest form (five minutes)
	@$(BIN)/python -m pytest -m commands $(ARGS)

fuzz: setup  ## Schemathesis against a running stack, with all its checks on (ARGS="--seed 1 --requests 5000")
	@$(BIN)/gauntlet fuzz $(ARGS)

bench: setup  ## how fast the reference CRM is, as ratios to what its servers do without it (three minutes)
	@$(BIN)/gauntlet bench $(ARGS)

docs: setup  ## the pages that are made: docs/properties.md from the last whole test and gate, docs/contract/
	@$(BIN)/gauntlet docs $(ARGS)

demo-reports: setup  ## a green and a red run, and their pages (less than a minute)
	@$(BIN)/gauntlet demo-reports $(ARGS)

bench-audit: setup  ## how fast an audit is, beside those who only parse (some minutes; ARGS="--many 0")
	@$(BIN)/gauntlet bench-audit $(ARGS)

bench-judge: $(VENV)/.made  ## how long judging 100,000 operations and a million log lines takes (half a minute)
	@$(BIN)/gauntlet bench-judge $(ARGS)

bench-page: setup  ## how large the page of 100,000 flows is, and how long Chromium takes to open it (a minute)
	@$(BIN)/gauntlet bench-page $(ARGS)

bench-load: setup  ## what the load generator costs, and whose latencies say what (five minutes)
	@$(BIN)/gauntlet bench-load latency
	@$(BIN)/gauntlet bench-load cost

bench-proxy: setup  ## what the fault proxy costs, beside a bare relay and toxiproxy-server (a minute)
	@$(BIN)/gauntlet bench-proxy $(ARGS)

tutorial: setup  ## does what docs/tutorial.md says, line by line, in a fresh clone of what is committed (five minutes)
	@$(BIN)/python -m tests.tutorial

setup: $(VENV)/.made servers  ## .venv from the lock file, and the native servers

servers: $(VENV)/.made  ## PostgreSQL, RabbitMQ and toxiproxy-server, installed where they are missing and needed
	@$(BIN)/gauntlet servers --install

$(VENV)/.made: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "gauntlet needs Python 3.11 or newer, $(PYTHON) is older: make PYTHON=python3.12 …" >&2; exit 4; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq python3-venv; } || { echo "Python's venv module is missing: sudo apt-get install python3-venv" >&2; exit 4; }
	@echo "making $(VENV) from requirements.lock (about a minute) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	@$(BIN)/pip install -qq --no-deps --no-build-isolation --editable .
	@touch $@

lock: $(VENV)/.made  ## compile requirements.lock anew from pyproject.toml
	@$(BIN)/pip-compile --quiet --extra alternative --extra dev --extra scale --strip-extras --allow-unsafe --generate-hashes --no-header \
	    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host -o requirements.lock pyproject.toml

clean:  ## remove the virtual environment and all runs
	@rm -rf $(VENV) runs
