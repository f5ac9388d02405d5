# `make demo` and `make test` do everything on a fresh machine; each makes .venv when it is missing or stale.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
SUITE := -m pytest -n auto --maxprocesses 4 --dist worksteal

# a copied or half-made environment is as good as none
ifneq ($(shell $(BIN)/python -c "import torch, msg" 2>/dev/null && echo sound),sound)
$(shell rm -f $(READY))
endif

.PHONY: demo test test-slow test-reliability test-extras test-oldest lint docs docs-check linkcheck benchmark release-check clean

demo: $(READY)
	$(BIN)/msg train --dataset digits

# threads that wait do not spin: several processes share the cores
test test-slow test-reliability test-extras test-oldest: export OMP_WAIT_POLICY = PASSIVE
test: $(READY)
	$(BIN)/python $(SUITE)

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow --timeout 1800

test-reliability: $(READY)
	$(BIN)/python -m pytest -m reliability --timeout 3600

# what `make test` skips where no extra is installed, beside all else
EXTRAS := distributed,fast,integrations,neurobench,neuromorphic,onnx
test-extras:
	$(PYTHON) -m venv --clear .venv-extras
	.venv-extras/bin/python -m pip install --quiet -e ".[test,$(EXTRAS)]"
	.venv-extras/bin/python $(SUITE)

# the oldest releases that pyproject.toml allows, which have wheels for Python 3.11; they warn of what is newer
test-oldest:
	$(PYTHON) -m venv --clear .venv-oldest
	.venv-oldest/bin/python tests/oldest.py $(EXTRAS) > .venv-oldest/oldest.txt
	.venv-oldest/bin/python -m pip install --quiet -e ".[test,$(EXTRAS)]" --constraint .venv-oldest/oldest.txt
	.venv-oldest/bin/python $(SUITE) -W default

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

benchmark: $(READY)
	$(BIN)/python benchmarks/bench_training.py --root datasets

docs: $(READY)
	$(BIN)/python -m pip install --quiet -e ".[docs]"
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

# every link within the site leads somewhere, every public name has a page, nothing is loaded from elsewhere
docs-check: docs
	$(BIN)/python -m pytest -m slow --timeout 1800 tests/docs/test_site.py

# asks other hosts, so it is no part of any check
linkcheck: docs
	$(BIN)/python -m sphinx -b linkcheck docs docs/_build/linkcheck

# what is uploaded: both archives are made, their metadata is what the index takes, and the wheel has what it must
release-check: $(READY)
	$(BIN)/python -m pip install --quiet -e ".[release]"
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m zipfile -l dist/*.whl | grep msg/py.typed > /dev/null
	$(BIN)/python -m zipfile -l dist/*.whl | grep msg/datasets/manifest.toml > /dev/null

clean:
	rm -rf .venv .venv-extras .venv-oldest docs/_build docs/api docs/auto_examples

$(READY): pyproject.toml
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet -e ".[test]"
	touch $(READY)
