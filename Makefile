# Two commands matter: `make lab` opens the course, `make test` checks all of it. `make setup` is what both need.
# `make results` measures again, from nothing, every figure that the README and the notebooks read from a file;
# what was stopped goes on.
PYTHON ?= python3
PORT ?= 8888
BROWSER ?= default
# Tests that run side by side, each on one core: faster than one after the other on all cores.
JOBS ?= 2
CLASSROOM ?= $(COURSE_CLASSROOM)
# A folder that `make stick DEST=...` filled: pip then takes everything from it and nothing from an index.
STICK ?=
SYSTEMS ?= linux macos windows
PYTHONS ?= 3.11 3.12 3.13
VENV := .venv
SITE := build/site-venv
RUN := $(VENV)/bin/python
# As an address, since pip cuts a path at a space.
FROM_STICK = $(if $(STICK),PIP_NO_INDEX=1 PIP_FIND_LINKS="$$("$(PYTHON)" -c 'import pathlib, sys; print(pathlib.Path(sys.argv[1]).resolve().as_uri())' "$(STICK)/wheels")")

NOTEBOOKS := OMP_NUM_THREADS=1 "$(RUN)" -m pytest -p lessons.chapter_runs --nbval-lax --nbval-current-env \
	--nbval-sanitize-with tests/notebooks/sanitize.cfg

.PHONY: lab test browser test-colab durations results slides cheat-sheet site site-lock setup lock stick classroom

# `helpers` comes first: the kernels inherit what it says about idle threads, whatever a notebook imports first.
lab: setup
	COURSE_CLASSROOM="$(CLASSROOM)" "$(RUN)" -c 'import helpers; from jupyterlab.labapp import main; main()' --ServerApp.ip=127.0.0.1 --ServerApp.port=$(PORT) $(if $(filter 0,$(shell id -u)),--allow-root) \
		$(if $(filter none,$(BROWSER)),--no-browser) --ServerApp.root_dir="$(CURDIR)" --LabApp.app_settings_dir="$(CURDIR)/.jupyterlab" --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb

test: setup
	"$(RUN)" -m ruff check .
	"$(RUN)" -m ruff format --check .
	OMP_NUM_THREADS=1 "$(RUN)" -m pytest tests --ignore tests/browser --numprocesses $(JOBS) --dist loadfile
	OMP_NUM_THREADS=1 "$(RUN)" -m pytest tests/browser --numprocesses $(JOBS)
	$(NOTEBOOKS) --numprocesses $(JOBS) --dist loadfile notebooks

# What the tests in a real browser need besides Chromium, and the site that they open; without it they are skipped.
browser: setup site
	"$(RUN)" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement tests/browser/requirements.lock

# Some chapters or all, as Colab runs them: make test-colab CHAPTERS="00 05" COLAB_PYTHON=python3.13; 6 GB, an hour.
test-colab: setup
	OMP_NUM_THREADS=1 "$(RUN)" tests/colab.py $(if $(COLAB_PYTHON),--base "$(COLAB_PYTHON)") $(CHAPTERS)

# How long each section computes where the tests run it, of some chapters or all: make durations CHAPTERS="00 05"
durations: setup
	COURSE_DURATIONS=benchmarks/results/durations.json $(NOTEBOOKS) --numprocesses $(JOBS) --dist loadfile $(or $(CHAPTERS:%=notebooks/%_*.ipynb),notebooks)
	cd notebooks && "$(abspath $(RUN))" -m lessons.chapter_runs

results: setup
	"$(RUN)" benchmarks/all_results.py

# Slides of every chapter from its notebook: open build/slides/index.html.
slides: setup
	"$(RUN)" docs/slides/make_slides.py

# docs/cheat_sheet.pdf from docs/cheat_sheet.md, by Chromium or Chrome: make cheat-sheet CHROMIUM=/path/to/one
cheat-sheet: setup
	CHROMIUM="$(CHROMIUM)" "$(RUN)" docs/print_cheat_sheet.py

# README, docs and all notebooks with their stored outputs as a site with search: open build/site/index.html.
site: $(SITE)/ready
	"$(SITE)/bin/python" -m sphinx -q -c docs/site -d build/site-pages . build/site
	@echo "open build/site/index.html"

# The site's tools in an environment of their own; they need no torch and no data.
$(SITE)/ready: docs/site/requirements.lock
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: the site needs Python 3.11 or newer; name one: make site PYTHON=python3.12" >&2; exit 2; }
	"$(PYTHON)" -m venv $(SITE)
	"$(SITE)/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement docs/site/requirements.lock
	touch $@

# After a change of docs/site/requirements.in; needs uv.
site-lock:
	uv pip compile docs/site/requirements.in --universal --generate-hashes --python-version 3.11 --no-header --upgrade --output-file docs/site/requirements.lock

# The stamp is newer than everything it was made from, so a second call does no work.
setup: $(VENV)/ready

$(VENV)/ready: requirements.lock pyproject.toml data/assets.txt data/files.toml helpers/assets.py helpers/conversion.py
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: the course needs Python 3.11 or newer, found $$("$(PYTHON)" --version 2>&1); install it, or name one: make setup PYTHON=python3.12" >&2; exit 2; }
	@test -z "$(STICK)" || test -d "$(STICK)/wheels" || { \
		echo "error: STICK must be the folder that \`make stick\` filled; there is no folder $(STICK)/wheels" >&2; exit 2; }
	"$(PYTHON)" -m venv $(VENV) || { echo "error: $(PYTHON) could not make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 2; }
	@echo "Installing the packages of requirements.lock: a few minutes, 1 to 7 GB depending on the system."
	$(FROM_STICK) "$(RUN)" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(FROM_STICK) "$(RUN)" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(FROM_STICK) "$(RUN)" -m helpers fetch
	touch $@

# What a course without a network needs (docs/classroom.md): make stick DEST=/media/stick
stick: setup
	@test -n "$(DEST)" || { echo "error: name the folder to fill: make stick DEST=/media/stick" >&2; exit 2; }
	@"$(RUN)" classroom/stick.py "$(DEST)" --systems $(SYSTEMS) --pythons $(PYTHONS)

# A JupyterLab for each learner, on this machine; Ctrl-C ends them all: make classroom N=30
N ?=
ADDRESS ?= 127.0.0.1
FOLDER ?= runs/classroom
PROXY ?=
# PORT is that of `make lab` where nobody said one.
classroom: FIRST = $(if $(filter-out default undefined file,$(origin PORT)),$(PORT),9000)
classroom: setup
	@"$(RUN)" classroom/servers.py "$(N)" --port "$(FIRST)" --host "$(ADDRESS)" --folder "$(FOLDER)" --proxy "$(PROXY)"

# After a change of pyproject.toml or requirements.txt; needs uv.
lock:
	uv pip compile pyproject.toml --extra lab --universal --generate-hashes --python-version 3.11 --no-header --upgrade --refresh --output-file requirements.lock
