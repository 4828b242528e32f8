# Two commands matter: `make lab` opens the course, `make test` checks all of it. `make setup` is what both need.
# `make results` measures again, from nothing, every figure that the README and the notebooks read from a file;
# what was stopped goes on.
PYTHON ?= python3
PORT ?= 8888
BROWSER ?= default
# Tests that run side by side, each on one core: faster than one after the other on all cores.
JOBS ?= 2
CLASSROOM ?= $(COURSE_CLASSROOM)
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: lab test test-colab results setup lock

# `helpers` comes first: the kernels inherit what it says about idle threads, whatever a notebook imports first.
lab: setup
	COURSE_CLASSROOM="$(CLASSROOM)" "$(RUN)" -c 'import helpers; from jupyterlab.labapp import main; main()' --ServerApp.ip=127.0.0.1 --ServerApp.port=$(PORT) $(if $(filter 0,$(shell id -u)),--allow-root) \
		$(if $(filter none,$(BROWSER)),--no-browser) --ServerApp.root_dir="$(CURDIR)" --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb

test: setup
	"$(RUN)" -m ruff check .
	"$(RUN)" -m ruff format --check .
	OMP_NUM_THREADS=1 "$(RUN)" -m pytest tests --numprocesses $(JOBS)
	OMP_NUM_THREADS=1 "$(RUN)" -m pytest --nbval-lax --nbval-current-env --nbval-sanitize-with tests/notebooks/sanitize.cfg \
		--numprocesses $(JOBS) --dist loadfile notebooks

# Some chapters or all, as Colab runs them: make test-colab CHAPTERS="00 05" COLAB_PYTHON=python3.13; 6 GB, an hour.
test-colab: setup
	OMP_NUM_THREADS=1 "$(RUN)" tests/colab.py $(if $(COLAB_PYTHON),--base "$(COLAB_PYTHON)") $(CHAPTERS)

results: setup
	"$(RUN)" benchmarks/all_results.py

# The stamp is newer than everything it was made from, so a second call does no work.
setup: $(VENV)/ready

$(VENV)/ready: requirements.lock pyproject.toml data/assets.txt data/files.toml helpers/assets.py helpers/conversion.py
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: the course needs Python 3.11 or newer, found $$("$(PYTHON)" --version 2>&1); install it, or name one: make setup PYTHON=python3.12" >&2; exit 2; }
	"$(PYTHON)" -m venv $(VENV) || { echo "error: $(PYTHON) could not make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 2; }
	@echo "Installing the packages of requirements.lock: a few minutes, 1 to 7 GB depending on the system."
	"$(RUN)" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	"$(RUN)" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	"$(RUN)" -m helpers fetch
	touch $@

# After a change of pyproject.toml or requirements.txt; needs uv.
lock:
	uv pip compile pyproject.toml --extra lab --universal --generate-hashes --python-version 3.11 --no-header --upgrade --refresh --output-file requirements.lock
