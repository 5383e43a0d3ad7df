# Each target sets up what it needs in .venv. Required: Python 3.11 or newer, make, a POSIX shell, and a package index.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
JOBS   ?= 2

.PHONY: demo test check battery coverage mutants fuzz kills format clean

# Annotate photographs with the bundled model and write an HTML page of them. PHOTO is an image, a folder or a video;
# default: the photographs in scikit-image.
PHOTOGRAPHS = $(VENV)/photographs
PHOTO ?= $(PHOTOGRAPHS)
MODEL ?= yolo9000-small
demo: $(VENV)/core.stamp $(if $(filter file,$(origin PHOTO)),$(PHOTOGRAPHS))
	rm -rf demo
	$(BIN)/yolo9000 predict "$(PHOTO)" --model "$(MODEL)" --out demo --format html --format jsonl
	@echo "Open demo/index.html"

$(PHOTOGRAPHS): | $(VENV)/python.stamp
	$(PIP) --no-deps --target $(VENV)/scikit-image scikit-image
	mkdir -p $@.new
	cd $(VENV)/scikit-image/skimage/data && cp astronaut.png camera.png chelsea.png coffee.png motorcycle_left.png rocket.jpg $(abspath $@.new)
	mv $@.new $@

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile --max-worker-restart 0 -m "not battery"

battery: $(VENV)/dev.stamp $(if $(shell command -v npm),$(VENV)/web.stamp)
	YOLO9000_BATTERY=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile --max-worker-restart 0

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/check_words.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --site-dir build/site

# Which lines and branches no test runs: a summary on the terminal, and build/coverage/index.html.
coverage: $(VENV)/dev.stamp
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q -n $(JOBS) --dist loadfile -m "not battery"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage html --quiet
	$(BIN)/coverage report

# Which changes to a module its tests do not notice.
MODULE ?= boxes.py
TESTS  ?= tests/unit/test_boxes.py
COUNT  ?= 20
mutants: $(VENV)/dev.stamp
	$(BIN)/python scripts/mutants.py src/yolo9000/$(MODULE) --tests $(TESTS) --count $(COUNT)

# Mutants of all that is read, for SECONDS or MUTANTS of each kind of file; those that break a reader are kept in tests/corpus.
SECONDS ?= 300
fuzz: $(VENV)/dev.stamp
	$(BIN)/python scripts/fuzz.py $(if $(MUTANTS),--mutants $(MUTANTS),--seconds $(SECONDS))

# Each of four commands killed KILLS times by each of four signals, and eight commands on DISKS disks that become full.
KILLS ?= 20
DISKS ?= 8
kills: $(VENV)/dev.stamp
	YOLO9000_BATTERY=1 YOLO9000_KILLS=$(KILLS) YOLO9000_DISKS=$(DISKS) $(BIN)/python -m pytest -s -q tests/integration/test_disks_and_kills.py

format: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) demo runs build dist *.egg-info

$(VENV)/python.stamp:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "yolo9000 needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/core.stamp: pyproject.toml constraints.txt | $(VENV)/python.stamp
	$(PIP) --editable ".[openvino,report,video]"
	touch $@

# For tests in a browser, which are skipped without npm or Chromium.
$(VENV)/web.stamp: | $(VENV)/python.stamp
	npm install --silent --no-audit --no-fund --prefix $(VENV)/web onnxruntime-web@1.30.0 axe-core@4.14.1
	touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(VENV)/python.stamp
	$(PIP) --editable ".[openvino,train,dev]"
	touch $@ $(VENV)/core.stamp
