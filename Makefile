# Needs Python >= 3.11 with venv, and make. Everything else is set up in .venv, once.
PYTHON ?= python3
BIN := .venv/bin
OUT ?= results

.PHONY: reproduce reproduce-quick reproduce-full test docs cli-reference bench lint format clean

reproduce: .venv/ready ## Table 1 in full and the recalled digits, into $(OUT)/
	$(BIN)/dispersed reproduce table1 --out $(OUT)
	$(BIN)/dispersed reproduce digits --out $(OUT)

reproduce-quick: .venv/ready ## Every experiment, most of them in quick mode
	$(BIN)/dispersed reproduce all --quick --out $(OUT)

reproduce-full: .venv/ready ## Everything in full, for hours; goes on where it was stopped
	$(BIN)/dispersed reproduce all --out $(OUT)

test: .venv/ready ## What CI runs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto --cov --cov-report=term
	$(MAKE) --no-print-directory docs

docs: .venv/ready ## The site, into site/; every example is run, a warning is an error
	$(BIN)/python -m sphinx --quiet --jobs 2 --fail-on-warning --keep-going docs site

cli-reference: .venv/ready ## docs/cli.md, from the commands
	$(BIN)/python docs/extensions/cli_reference.py

bench: .venv/ready ## Speed and error side by side; keep the machine quiet
	$(BIN)/python -m benchmarks

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,docs]'
	touch $@

clean:
	rm -rf .venv $(OUT) site
