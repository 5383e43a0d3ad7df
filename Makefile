# Everything works from nothing: Python 3.11 or newer, make, and a package index.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
JOBS   ?= 2

.PHONY: demo test check battery format clean

# One picture annotated by a real network. MODEL is a .cfg with its .weights beside it; PHOTO any picture.
MODEL ?= ../shared/data/yolo-lite-voc/yolo-lite-voc.cfg
PHOTO ?= ../shared/data/photos/dog.jpg
demo: $(VENV)/core.stamp
	@test -f "$(MODEL)" || { echo "make demo: there is no model at $(MODEL), and none ships with the package yet:" \
	  "name one with MODEL=path/to/network.cfg (its .weights beside it)"; exit 2; }
	@test -f "$(PHOTO)" || { echo "make demo: there is no picture at $(PHOTO): name one with PHOTO=path/to/picture.jpg"; exit 2; }
	$(BIN)/yolo9000 predict "$(PHOTO)" --model "$(MODEL)" --out demo --format jsonl

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile --max-worker-restart 0 -m "not battery"

battery: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile --max-worker-restart 0

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --site-dir build/site

format: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) demo runs build dist *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "yolo9000 needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/core.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable ".[openvino]"
	touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable ".[openvino,train,dev]"
	touch $@ $(VENV)/core.stamp
