# Everything that a user or developer of mailbot runs. `make help` lists it.
#
# PYTHON=…        the Python to make the virtual environment with (default: the first one of 3.11 or newer)
# MAILBOT_VENV=…  where that environment is (default: .venv)

MAILBOT_VENV ?= .venv
PYTHON ?=
BIN = $(MAILBOT_VENV)/bin
UV_VERSION = 0.13.9
# Who writes no bytecode reads all of the project's source again at each start of a process, and a run of the tests has some hundreds.
PYTEST = PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest
# Four for two cores, because tests with servers of their own mostly wait (tests/dealing.py).
PARALLEL = -n 4 --dist worksteal
DATABASE_FOR_TESTS = $(or $(DATABASE_URL),postgres://postgres@127.0.0.1:5432/postgres)
REDIS_FOR_TESTS = $(or $(REDIS_URL),redis://127.0.0.1:6379/1)

.DEFAULT_GOAL := help
.PHONY: help run demo test test-production test-browser soak faults fuzz lint types imports migrations-check bench lock format clean \
	venv installed installed-dev

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-24s%s\n", $$1, $$2}'

run: installed ## Start everything on this machine; the first time, install it and make an account
	@exec $(BIN)/python manage.py quickstart

demo: installed ## Tell the story of the product, with real SMTP
	@exec $(BIN)/python manage.py demo

test: installed-dev ## The whole suite on SQLite and files (embedded profile), without the browser
	unset DATABASE_URL REDIS_URL; $(PYTEST) $(PARALLEL) -m "not browser and not soak"

test-production: installed-dev ## The same suite on PostgreSQL and Redis (DATABASE_URL, REDIS_URL)
	DATABASE_URL=$(DATABASE_FOR_TESTS) REDIS_URL=$(REDIS_FOR_TESTS) $(PYTEST) $(PARALLEL) -m "not browser and not soak and not one_profile"

soak: installed-dev ## Kill processes at random for half an hour; on PostgreSQL and Redis with DATABASE_URL and REDIS_URL
	$(PYTEST) -n 0 -m soak

faults: installed-dev ## The ledger test: mail in and out while things break (KILLS=300, MAILBOT_SEED; with DATABASE_URL and REDIS_URL more of them)
	MAILBOT_KILLS=$(or $(KILLS),30) $(PYTEST) -n 0 -s tests/flows/test_ledger.py

fuzz: installed-dev ## Call the API with all that its schema allows, and more (FUZZ_CASES=300 for each operation, FUZZ_SEED)
	FUZZ_CASES=$(or $(FUZZ_CASES),300) FUZZ_SEED=$(FUZZ_SEED) $(PYTEST) -n 0 -s --timeout 0 tests/flows/test_schema.py

test-browser: installed-dev ## The console in Chromium (CHROMIUM=/usr/bin/chromium)
	unset DATABASE_URL REDIS_URL; $(PYTEST) -m browser tests/browser || [ $$? -eq 5 ] # 5: there is no such test

lint: installed-dev ## Style and likely mistakes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: installed-dev ## Types, strictly
	$(BIN)/mypy .

imports: installed-dev ## The import contract: who may import whom
	$(BIN)/lint-imports

migrations-check: installed-dev ## Whether the models and the migrations agree
	unset DATABASE_URL REDIS_URL; $(BIN)/python manage.py makemigrations --check --dry-run

bench: installed-dev ## Every figure of benchmarks/README.md (BENCH=quick: roughly; BENCH=write: into that file)
	DATABASE_URL=$(DATABASE_FOR_TESTS) REDIS_URL=$(REDIS_FOR_TESTS) $(BIN)/python -m benchmarks.suite $(if $(BENCH),--$(BENCH))

format: installed-dev ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: installed-dev ## Write requirements*.txt, with hashes, from requirements*.in
	$(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.11 requirements.in -o requirements.txt
	$(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.11 requirements-dev.in -o requirements-dev.txt

clean: ## Remove the virtual environment and caches; var/ with its mail stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './var/*' -prune -exec rm -rf {} +

# --- Installing -------------------------------------------------------------------------------------------------------

# Does nothing when the environment's Python will do. Shims of version managers exist without working: each candidate is run.
venv:
	@set -e; \
	if $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then exit 0; fi; \
	found=""; \
	for python in $(or $(PYTHON),python3.11 python3.12 python3.13 python3.14 python3 python); do \
		place=$$(command -v "$$python" 2>/dev/null) || continue; \
		version=$$("$$place" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
		if "$$place" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then break; fi; \
		found="$${found:-; found $$version at $$place}"; place=""; \
	done; \
	if [ -z "$$place" ] || [ -z "$$version" ]; then \
		echo "mailbot needs Python 3.11 or newer$${found:-; found none}. PYTHON=/path/to/python3 names another one." >&2; exit 1; \
	fi; \
	if ! "$$place" -c 'import venv, ensurepip' 2>/dev/null; then \
		echo "mailbot needs the venv module of $$place. On Debian and Ubuntu: apt install python$$version-venv" >&2; exit 1; \
	fi; \
	echo "Making $(MAILBOT_VENV) with Python $$version"; \
	"$$place" -m venv --clear "$(MAILBOT_VENV)" >/dev/null 2>&1 || { \
		echo "mailbot cannot make $(CURDIR)/$(MAILBOT_VENV): is the folder writable? MAILBOT_VENV=/another/folder names another place." >&2; exit 1; \
	}

# What was installed is kept beside it, so that nothing is installed again until the pins change.
installed: venv
	@$(call install,requirements.txt)

installed-dev: installed
	@$(call install,requirements-dev.txt)

# uv is quicker by far; where it cannot be had or fails, pip does the same and says why if it fails too. System certificates, as
# pip has them, for networks with a proxy that reads along. Compiling now saves a second at each process's first start.
define install
cmp -s $(1) $(MAILBOT_VENV)/installed-$(1) || { \
	echo "Installing $(1)"; \
	{ $(BIN)/python -m pip install -qq --disable-pip-version-check uv==$(UV_VERSION) && $(BIN)/uv pip install \
		--python $(BIN)/python --quiet --system-certs --compile-bytecode --require-hashes -r $(1); } 2>/dev/null \
	|| $(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r $(1) \
	|| { echo "The packages of $(1) cannot be installed: the reason is above." >&2; exit 1; }; \
	cp $(1) $(MAILBOT_VENV)/installed-$(1); \
}
endef
