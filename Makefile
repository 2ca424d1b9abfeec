# Two commands do everything on a fresh Debian-like machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
COMPARED := .venv-compared
AUDITORS := .venv-gixy-ng .venv-gixy-next
TEST ?= tests
N ?= 20
RUNS ?= 1
# Programs that the tests run against, each with its Debian package if that has another name.
PEERS := bash curl nginx pgrep=procps ip=iproute2 unshare=util-linux nsenter=util-linux systemd-socket-activate=systemd systemd-analyze=systemd openssl \
	redis-server postgres=postgresql logrotate ab=apache2-utils javac=default-jdk-headless mvn=maven chromium chromedriver=chromium-driver

.DELETE_ON_ERROR:
.PHONY: help demo test check unit repeat soak bench bench-reliability bench-rolling docs format clean

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

# exec: Ctrl-C reaches the supervisor itself, and nothing stands between it and the terminal.
demo: $(VENV)/.installed  ## serve the demo app on http://127.0.0.1:8888 with 2 workers
	@$(if $(DUBBO),,$(BIN)/python -m tornado_multi.testing.dubbo --leave-with-parent >/dev/null &) \
	exec $(BIN)/tornado-multi serve demo_app:make_app --workers 2 --bind 127.0.0.1:8888$(if $(DUBBO), -- --dubbo=$(DUBBO))

test: check $(AUDITORS:%=%/.installed)  ## everything: system packages, style, types, contracts, all tests
	@sh tests/support/prepare_machine.sh $(PYTHON) $(PEERS)
	$(BIN)/python -m pytest $(TEST)

check: $(VENV)/.installed-test  ## style, types and contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

unit: $(VENV)/.installed-test  ## the fast tests only
	$(BIN)/python -m pytest tests/unit tests/demo_app

repeat: $(VENV)/.installed-test  ## run one test N times: make repeat TEST=tests/integration/test_x.py N=20
	@for i in $$(seq $(N)); do echo "run $$i of $(N)"; $(BIN)/python -m pytest -q $(TEST) || exit 1; done

soak: $(VENV)/.installed-test  ## 4 workers x 50,000 log records through rotations and reloads; 50,000 Dubbo calls through a restart; damaged bytes
	DUBBO_CALLS=50000 $(BIN)/python -m pytest tests/integration/test_dubbo_client_java.py tests/integration/test_dubbo_demo.py -k "comes_back or real"
	FUZZ_CASES=400000 $(BIN)/python -m pytest tests/unit/dubbo/test_hessian.py
	LOG_RECORDS=50000 $(BIN)/python -m pytest tests/integration/test_logs.py

bench: $(VENV)/.installed-test  ## measure what the docs claim
	@sh tests/support/prepare_machine.sh $(PYTHON) wrk
	$(BIN)/python -m benchmarks

bench-reliability: $(VENV)/.installed-test $(COMPARED)/.installed  ## compare failures with those of other servers; writes a page of the docs
	$(BIN)/python -m benchmarks.reliability --page docs/reference/reliability.md

bench-rolling: $(VENV)/.installed-test  ## ways to replace instances behind nginx, under load; RUNS=5 does each five times; writes a page of the docs
	@sh tests/support/prepare_machine.sh $(PYTHON) nginx
	$(BIN)/python -m benchmarks.rolling --runs $(RUNS) --write

docs: $(VENV)/.installed-test  ## write the generated pages
	$(BIN)/python -c "from tornado_multi.settings.reference import render_reference as r; print(r(), end='')" > docs/reference/options.md
	$(BIN)/python -c "from tornado_multi.settings.reference import render_nginx_reference as r; print(r(), end='')" > docs/reference/nginx-options.md
	WRITE_GOLDEN=1 $(BIN)/python -m pytest -q tests/unit/deploy/test_golden.py
	WRITE_HOOKS_PAGE=1 $(BIN)/python -m pytest -q tests/integration/test_hooks.py -k test_the_page_says

format: $(VENV)/.installed-test  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/bin/python:
	@sh tests/support/prepare_machine.sh $(PYTHON)
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/bin/python setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,lint]'
	@touch $@ $(VENV)/.installed

# The others never get into our environment: their versions must not depend on ours.
$(COMPARED)/.installed: benchmarks/reliability/compared.txt
	@sh tests/support/prepare_machine.sh $(PYTHON)
	$(PYTHON) -m venv $(COMPARED)
	$(COMPARED)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

# Each owns the import package gixy: in one environment the second would overwrite the first.
.venv-gixy-%/.installed: tests/support/gixy-%.txt
	@sh tests/support/prepare_machine.sh $(PYTHON)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

clean:  ## remove what make has made
	rm -rf $(VENV) $(COMPARED) $(AUDITORS) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
