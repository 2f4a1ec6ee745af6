# make demo: everything once, on made-up data.   make test: prove it.   make help: the rest.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test lint docs bench clean

help:
	@echo "make demo    set up, simulate a business, go once round the loop, write a report"
	@echo "make test    lint, then every test, on throwaway databases"
	@echo "make lint    ruff and sqlfluff"
	@echo "make docs    the dbt docs site, as one page: target/static_index.html"
	@echo "make bench   measure ten million predictions, 7.7 million events; BENCH='--predictions 1000000'"
	@echo "make clean   remove .venv, packages and build products; the databases stay"

demo: dbt_packages/.installed
	@$(BIN)/leadlight demo

test: dbt_packages/.installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: dbt_packages/.installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pytest -q -k sqlfluff

docs: dbt_packages/.installed
	@$(BIN)/leadlight docs

bench: dbt_packages/.installed
	@$(BIN)/python -m benchmarks $(BENCH)

clean:
	rm -rf .venv dbt_packages target logs

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "leadlight needs Python 3.11 or newer; set PYTHON=python3.x"; exit 1; }
	@$(PYTHON) -m venv --clear .venv
	@echo "installing $$(grep -c '==' requirements.lock) packages into .venv"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

dbt_packages/.installed: packages.yml .venv/.installed $(shell find offline_packages -type f)
	@rm -rf dbt_packages
	@$(BIN)/dbt deps --quiet >/dev/null 2>&1 || { \
		rm -rf dbt_packages && mkdir dbt_packages \
		&& cp -R offline_packages/dbt_utils offline_packages/dbt_expectations dbt_packages \
		&& echo "the dbt Hub cannot be reached: took the stand-ins of offline_packages/"; }
	@touch $@
