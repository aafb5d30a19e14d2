# Each target is a thin call of an ordinary tool. `make help` lists them.
#
#   make run FOR=120                    stop after two minutes and verify everything
#   make bench ONLY=stream N=1000000    see bench/ for what ONLY, N, ROUNDS and JSON mean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXPRESS := streamapp/runtime/express
.DEFAULT_GOAL := help
.PHONY: help setup run test check docs bench browser lock

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '  make %-8s %s\n' "$$name" "$$text"; done

setup: $(STAMP) $(EXPRESS)/express.so ## Make the environment in .venv, again only when the lock or C sources have changed

$(STAMP): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name it: make setup PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get update && apt-get install -y python3-venv; } \
		|| { echo "Python's venv and ensurepip are missing: install the package python3-venv" >&2; exit 1; }
	[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@touch $@

# The express lane is C. Without a compiler on the machine, one comes as a Python package.
$(EXPRESS)/express.so: $(wildcard $(EXPRESS)/c/*.[ch]) $(EXPRESS)/build.py | $(STAMP)
	@command -v cc gcc clang >/dev/null || $(BIN)/python -m pip install --disable-pip-version-check --quiet ziglang==0.17.1
	$(BIN)/python -m streamapp.runtime.express.build

run: setup ## Start everything on this machine; FOR=120: stop after two minutes and verify
	@$(BIN)/streamapp run $(if $(FOR),--for $(FOR))

# Three at once on two processors: the tests of the broker mostly wait. What they share is made before them.
test: setup browser check ## Check and run every test
	STREAM_CACHE_DIR=.cache $(BIN)/streamapp broker prepare
	PYTHONPATH=. $(BIN)/python tests/real_s3.py
	$(BIN)/pytest -n 3 --dist worksteal

check: setup ## Formatting, lint, types, the import rule, the reference
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/streamapp docs --check

docs: setup ## Write docs/reference.md from the code
	@$(BIN)/streamapp docs

bench: setup ## The job against its peers; ONLY=, GROUP=, N=, ROUNDS=, JSON= are passed on; CAPTURE=1: the front door
	$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY)) $(if $(GROUP),--group $(GROUP)) $(if $(N),--n $(N)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(JSON),--json $(JSON)) $(if $(CAPTURE),capture)

.PHONY: chaos
chaos: setup ## Break everything on purpose, then check every bill; MINUTES=, SEED=, EVENTS= are passed on
	$(BIN)/streamapp chaos $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(if $(EVENTS),--events $(EVENTS))

.PHONY: search
search: setup ## Real workers in random histories, every bill compared; EXAMPLES=, STEPS=, SEED= are passed on
	$(BIN)/pytest tests/broker/test_broker_model.py -k any_history -s --model-examples $(or $(EXAMPLES),20) --model-steps $(or $(STEPS),10) --model-seed $(or $(SEED),1)

.PHONY: fuzz
fuzz: setup clang ## Hostile bytes for the library, under sanitizers, and lanes against models; SECONDS=
	$(BIN)/python tests/fuzz/run.py $(or $(SECONDS),60)

.PHONY: sanitize
sanitize: setup ## The library's tests under gcc's address and undefined-behaviour sanitizers
	$(BIN)/python tests/fuzz/sanitized.py

.PHONY: clang
clang:
	@command -v clang >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get update && apt-get install -y clang libclang-rt-14-dev; } \
		|| { echo "make fuzz needs clang and its sanitizers: install the packages clang and libclang-rt-14-dev" >&2; exit 1; }

browser:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get update && apt-get install -y chromium; } \
		|| { echo "The browser tests need chromium: install the package chromium" >&2; exit 1; }

lock: ## Renew requirements.lock from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --group dev --upgrade -o requirements.lock
