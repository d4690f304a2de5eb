# The words of this project; `make` alone prints them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
# The tests of a file stay in one process, as they share the services that they start; `tests/conftest.py` orders the files.
# Bytecode is written whatever the machine says: else each of the processes compiles all tests anew, every time.
TESTS = env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest -q -n $(or $(PROCESSES),4) --dist loadfile --no-loadscope-reorder
# Where a package index or a certificate is set for pip, uv takes the same.
SETUP_ENV := UV_PROJECT_ENVIRONMENT=$(VENV) UV_PYTHON_DOWNLOADS=never \
	$(if $(PIP_INDEX_URL),UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$(PIP_INDEX_URL)}") \
	$(if $(PIP_CERT),SSL_CERT_FILE="$${SSL_CERT_FILE:-$(PIP_CERT)}")

.DEFAULT_GOAL := words
.PHONY: words setup demo test test-long test-all test-once test-objects test-busy test-half compile kills outages lint types types-here types-elsewhere advisories licences texts dist install-check check spark node graphiql spark-matrix bench bench-rivals capacity fleet containers serve docs site pictures clean

words: ## print these words
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile | expand -t 16

setup: $(READY) ## make .venv and install everything from the lock

$(READY): pyproject.toml uv.lock supply_chain/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Reelport needs Python 3.11 or newer; make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 2; }
	@test -x $(BIN)/python || { echo "making $(VENV) from the lock: about a minute" >&2; $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r supply_chain/uv.txt
	@$(SETUP_ENV) $(BIN)/uv export --quiet --frozen --only-group build --no-emit-project -o $(VENV)/build.txt
	@$(SETUP_ENV) $(BIN)/uv export --quiet --frozen --all-extras --no-emit-project -o $(VENV)/locked.txt
	@$(SETUP_ENV) VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r $(VENV)/build.txt
	@$(SETUP_ENV) VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode --require-hashes \
		--no-build-isolation-package pyspark-client -r $(VENV)/locked.txt
	@$(SETUP_ENV) VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e .
	@touch $(READY)

demo: $(READY) ## run the main job on sample facts: ask, wait, download, a table and a chart (STUDIO=1: and leave Studio open)
	@$(BIN)/python -m reelport.cli.demo $(if $(STUDIO),--studio)

test: compile ## run the tests but the long ones, in four processes (PROCESSES=4)
	@$(TESTS) -m "not long" --hypothesis-profile few

test-long: compile ## run the long ones alone: drills, and the further cases of families
	@$(TESTS) -m long

test-all: compile ## run all of them, with eight times the examples: at night, and before a release (make spark test-all)
	@$(TESTS)

test-once: compile
	@$(TESTS) -m "not nightly" --hypothesis-profile few

test-busy: compile ## run all tests while another program keeps every core busy
	@$(BIN)/python tests/busy.py $(TESTS)

test-half: compile ## run all tests within half a core
	@$(BIN)/python tests/busy.py --half $(TESTS)

test-objects: $(READY) ## run tests of tables over an object store instead of a folder
	@REELPORT_TEST_TABLES=objects $(BIN)/pytest -q -n 2 --dist load tests/facts/loading/test_restating.py \
		tests/facts/loading/test_superseded.py tests/facts/loading/test_overlap.py

# Where Python is told to write no bytecode, each of the hundreds of processes of the tests would compile all anew.
compile: $(READY)
	@$(BIN)/python -m compileall -q src

kills: $(READY) ## kill the whole service forty times around a hundred reports (KILLS=40)
	@REELPORT_KILLS=$(or $(KILLS),40) $(BIN)/pytest -q -s tests/whole/test_service_kills.py

outages: $(READY) ## stop PostgreSQL for twenty seconds, and fail over to a replica, under a service of five processes (SECONDS=20)
	@REELPORT_OUTAGE_SECONDS=$(or $(SECONDS),20) $(BIN)/pytest -q -s tests/whole/test_several_processes.py \
		tests/server/state/test_postgresql.py

lint: $(READY) ## hold the style
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --quiet --check

types: types-here types-elsewhere ## hold the types, of the client on Windows and macOS too

types-here: $(READY)
	@$(BIN)/mypy --no-error-summary

# What differs there is what Python's own library has. What others' libraries and the service say of their types is
# the same everywhere, and `types-here` reads it: that anew for each system takes four fifths of the time.
types-elsewhere: $(READY)
	@for system in win32 darwin; do \
		$(BIN)/mypy --no-error-summary --platform $$system --follow-imports=skip --allow-subclassing-any \
			--allow-untyped-decorators --no-warn-return-any --no-warn-unused-ignores --cache-dir .mypy_cache/$$system \
			src/reelport/*.py src/reelport/catalog src/reelport/client src/reelport/sync src/reelport/cli \
			src/reelport/testing/vendor || exit 1; \
	done

advisories: $(READY) ## ask a database of advisories about every locked package
	@$(SETUP_ENV) $(BIN)/python supply_chain/advisories.py

licences: $(READY) ## make the list of licences anew from the lock
	@$(BIN)/python supply_chain/licences.py

# A new language: copy fr.po to the code of that language, empty every msgstr, and set the plural forms in its head.
texts: $(READY) ## bring new texts of Studio into each file of a language, and take out old ones
	@texts=$$(mktemp) && $(BIN)/pybabel --quiet extract -F pyproject.toml --no-location --sort-output -o $$texts src/reelport \
		&& for file in src/reelport/server/studio/languages/*.po; do \
			$(BIN)/pybabel --quiet update --no-fuzzy-matching --ignore-obsolete --no-wrap \
				-l $$(basename $$file .po) -i $$texts -o $$file || exit 1; \
		done; rm -f $$texts

dist: $(READY) ## build wheel and sdist into dist/, check them, and install them in an empty environment
	@$(SETUP_ENV) $(BIN)/python supply_chain/distribution.py

install-check: $(READY) ## run the tests of the installation with nothing fetched before; as root, 500 MB
	@$(SETUP_ENV) REELPORT_INSTALL=1 $(BIN)/pytest -q tests/deploy/test_installation.py

# Types are checked while tests wait for services: where that has seen nothing yet, it takes a minute and a half of a core.
check: $(READY) ## lint, types, advisories and every test once, as CI runs them
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory -j 4 types advisories test-once

spark: $(READY) ## unpack the Spark that tests start into .spark (450 MB to fetch; needs Java 17)
	@$(BIN)/python supply_chain/spark.py

node: $(READY) ## install the programs of npm that tests run into .node (140 MB; needs Node.js)
	@$(BIN)/python supply_chain/node.py

graphiql: $(READY) ## copy the pinned GraphiQL into the service's package anew (needs npm)
	@$(BIN)/python supply_chain/graphiql.py

spark-matrix: compile spark ## every oracle case and the whole matrix by Spark (more than half an hour)
	@REELPORT_AGGREGATOR=spark $(BIN)/pytest -q -p no:xdist tests/engine/test_catalog_numbers.py \
		tests/engine/test_mixed_families.py tests/engine/test_meaning.py tests/engine/test_aggregation.py
	@REELPORT_AGGREGATOR=spark $(BIN)/pytest -q -p no:xdist tests/engine/spark

bench: $(READY) ## measure against the bare engine, Polars, chDB, pandas and PostgreSQL, then 100 partners at once (ROWS=10000000)
	@$(BIN)/python benchmarks/run.py --rows $(or $(ROWS),10000000)
	@$(BIN)/python -m benchmarks.throughput --rows $(or $(ROWS),10000000)

bench-rivals: $(READY) ## install engines that the benchmark compares with (chDB: 180 MB to fetch)
	@$(SETUP_ENV) $(BIN)/uv export --quiet --frozen --only-group bench --no-emit-project -o $(VENV)/bench.txt
	@$(SETUP_ENV) VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r $(VENV)/bench.txt

capacity: $(READY) ## what platforms of some sizes need, by measured figures: on paper, and simulated
	@$(BIN)/python -m benchmarks.capacity

fleet: $(READY) ## run PostgreSQL, an object store, nginx, two API processes and three workers here, and kill one of each
	@$(BIN)/python -m deploy.fleet

containers: $(READY) ## run the fleet by podman, kill one of each part, then the pages' commands; as root, ports 80, 443, 8642
	@$(BIN)/python -m deploy.containers
	@$(BIN)/pytest -q -m containers tests/deploy/test_podman_commands.py

serve: $(READY) ## run the service on 127.0.0.1:8642 over ./reelport-data
	@$(BIN)/reelport serve

docs: $(READY) ## make the reference pages anew
	@$(BIN)/python -m supply_chain.reference

site: $(READY) ## build the pages into site/, with search, the client's API and each page as Markdown
	@$(BIN)/python -m supply_chain.pages

pictures: $(READY) ## make the pictures of the tour of Studio anew; needs a Chromium
	@$(BIN)/python docs/tutorial/make_pictures.py

clean: ## remove what the other words made, the environment included
	@rm -rf $(VENV) .spark .node site dist demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis
