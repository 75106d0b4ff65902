# Needs Python >= 3.11 with venv, and make. Everything else is set up in .venv, once.
PYTHON ?= python3
BIN := .venv/bin
OUT ?= results

.PHONY: reproduce reproduce-full results test test-slow fuzz coverage docs cli-reference bench lint format clean

reproduce: .venv/ready ## Every experiment in quick mode, Table 1 in full; ends with the path of $(OUT)/report.html
	$(BIN)/dispersed reproduce all --quick --out $(OUT)

reproduce-full: .venv/ready ## Everything in full, for hours; goes on where it was stopped
	$(BIN)/dispersed reproduce all --out $(OUT)

results: reproduce-full ## The same, and its page becomes that of the site
	mkdir -p docs/results
	cp $(OUT)/report.html docs/results/report.html

docs/images/report.png: $(OUT)/report.html ## The picture in the README; needs Chromium
	chromium --headless --no-sandbox --disable-gpu --disable-background-networking --hide-scrollbars \
	  --user-data-dir=$$(mktemp -d) --window-size=1280,1900 --screenshot=$@ file://$(abspath $<)

test: .venv/ready ## What CI runs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) --no-print-directory docs
	DISPERSED_SITE=$(CURDIR)/site $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test-slow: .venv/ready ## The tests that are too slow for every change
	$(BIN)/python -m pytest -n auto -m slow

fuzz: .venv/ready ## Over 10,000 damaged files, beside what other libraries make of them, and 5,000 requests
	$(BIN)/python -m tests.reading.fuzz
	$(BIN)/python -m tests.explorer.fuzz

coverage: .venv/ready ## Which lines and branches all tests reach
	$(BIN)/python -m pytest -n auto -m 'slow or not slow' --cov --cov-report=term

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
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all,test,docs]'
	touch $@

clean:
	rm -rf .venv .pytest_cache $(OUT) site
