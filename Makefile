# relay: every command from nothing. Needs Python 3.11 to 3.13, gcc and make; the rest is installed into .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=

# Whatever the calling shell has activated or set must not reach into .venv. Without bytecode each of the hundreds of
# relays that the tests start would compile relay again.
unexport PYTHONHOME PYTHONPATH VIRTUAL_ENV PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# What the installed package is built from; a change of any of these installs again.
SOURCES := pyproject.toml $(wildcard setup.py native/*.[ch] native/binding/*)
PACKAGE := $(shell find relay static -type f -not -name '*.so' -not -path '*/__pycache__/*')

# A .venv that was made elsewhere, because its folder was moved or copied, leads back there: it is made anew.
ifneq ($(shell grep -s '^command = ' $(VENV)/pyvenv.cfg | grep -vF " $$(pwd -P)/$(VENV)"),)
.PHONY: $(BIN)/python
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve test lint bench soak soak-brief attack binary clean ready native-tests pytest gate format

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo '  ARGS="..." goes to relay serve or pytest; PYTHON=python3.12 chooses the Python.'

serve: $(VENV)/.installed ## install what is needed and serve the page: open the address that it prints
	@exec $(BIN)/relay serve $(ARGS)

# Tools are installed beside Python packages. The gate measures, so it runs alone. The rest runs side by side; what has
# deadlines of its own goes before what has none.
test: ## everything that must hold: benchmark gate, C tests, lint, pytest, a soak of 2 minutes
	@$(MAKE) --no-print-directory -j2 ready
	@$(MAKE) --no-print-directory gate
	@$(MAKE) --no-print-directory -j4 pytest soak-brief lint native-tests

lint: $(VENV)/.develop ## ruff and mypy --strict
	@$(BIN)/ruff check relay tests benchmarks native
	@$(BIN)/ruff format --check relay tests benchmarks native
	@nice $(BIN)/mypy relay tests benchmarks

format: $(VENV)/.develop ## let ruff put the code into shape
	@$(BIN)/ruff check --fix relay tests benchmarks native
	@$(BIN)/ruff format relay tests benchmarks native

bench: $(VENV)/.develop ## compare the audio path and the whole relay with others: tables, charts, results/*.json; half an hour
	@$(BIN)/python -m benchmarks.audio_path
	@$(BIN)/python -m benchmarks.relay_path --all
	@$(BIN)/python -m benchmarks.breakdown --record
	@$(BIN)/python -m benchmarks.scale --record
	@$(BIN)/python -m benchmarks.faults --record
	@$(BIN)/python -m benchmarks.document

attack: $(VENV)/.develop ## fuzz a running relay (N=inputs, 2000000) and measure what abuse costs it: half an hour and more
	@$(BIN)/python -m tests.attacks.fuzz --inputs $(or $(N),2000000)
	@$(BIN)/python -m tests.attacks.figures
	@$(BIN)/python -m tests.attacks.fairness

soak: $(VENV)/.develop ## open and close 50,000 sessions in half an hour (S=seconds, 1800): does relay give everything back?
	@$(BIN)/python -m tests.attacks.soak --seconds $(or $(S),1800) --per-s 28 $(if $(S),,--slope-mib-per-h 1)

soak-brief: $(VENV)/.develop
	@$(BIN)/python -m tests.attacks.soak --seconds 120 --per-s 10 --growth-mib 2

binary: dist/relay ## one file with everything inside: dist/relay

clean: ## remove what was built; .venv stays (rm -rf .venv removes it)
	@rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis relay/_native*.so
	@rm -f $(VENV)/.installed $(VENV)/.develop $(VENV)/.tools
	@find relay tests benchmarks -name __pycache__ -type d -exec rm -rf {} +
	@! test -f native/Makefile || $(MAKE) --no-print-directory -C native clean

ready: $(VENV)/.develop $(VENV)/.tools
	@:

native-tests: $(VENV)/.tools
	@nice $(MAKE) --no-print-directory -C native test
	@! ./tools.sh has valgrind || nice $(MAKE) --no-print-directory -C native valgrind
	@! ./tools.sh has clang || nice $(MAKE) --no-print-directory -C native fuzz-brief

gate: $(VENV)/.develop
	@$(BIN)/python -m benchmarks.audio_path --gate
	@$(BIN)/python -m benchmarks.relay_path --gate

# A file's tests stay together, with what they share, and begin in order: those that take long come first.
pytest: $(VENV)/.develop $(VENV)/.tools
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

dist/relay: relay.spec $(SOURCES) $(PACKAGE) | $(VENV)/.develop
	@$(BIN)/python -m PyInstaller --noconfirm --clean --log-level ERROR --workpath build/binary --distpath dist relay.spec
	@ls -l $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "relay needs Python 3.11, 3.12 or 3.13: make PYTHON=python3.12 ..." >&2; exit 1; }
	@PYTHON='$(PYTHON)' ./tools.sh build
	@echo "Setting up $(VENV) (once, about a minute) ..."
	@$(PYTHON) -m venv --clear $(VENV)

$(VENV)/.installed: $(BIN)/python $(SOURCES)
	@$(BIN)/python -m pip install --quiet --quiet --editable .
	@touch $@

# pip would compile all of scipy and matplotlib. What each process of the tests imports is compiled here, for those who
# then run pytest without bytecode; the rest when it is used.
$(VENV)/.develop: $(BIN)/python $(SOURCES)
	@echo "Installing relay with what its tests need ..."
	@$(BIN)/python -m pip install --quiet --quiet --no-compile --editable '.[test,lint,bench]'
	@$(BIN)/python -c 'import relay.server, relay.simulator, hypothesis, playwright.sync_api, pytest'
	@touch $@ $(VENV)/.installed

$(VENV)/.tools: tools.sh | $(BIN)/python
	@./tools.sh test
	@touch $@
