# Everything is installed into $(VENV), with the versions of constraints.txt, by the first target that needs it.
# An existing $(VENV) is kept and brought up to date only when pyproject.toml or constraints.txt has changed.
#
#   make demo PYTHON=/opt/python3.12/bin/python3    a certain Python, 3.11 or newer
#   make test VENV=/somewhere/else                  another place for the environment
#   make test TESTS="tests/test_splits.py -k voc5"  some of the tests
#   make bench BENCHES=bench/vilseg_scenes.py       the training runs over seeds, which take long

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON  ?=
VENV    ?= .venv
TESTS   ?=
TRAINED := bench/vilseg_scenes.py bench/generative_scenes.py bench/clip_scenes.py
BENCHES ?= $(filter-out $(TRAINED),$(sort $(wildcard bench/*.py)))

BIN     := $(VENV)/bin
MAPPED  := methods splits reports
INSTALL := "$(BIN)/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help demo test check format bench clean

help:
	@echo 'make demo     train ViL-Seg on drawn scenes twice, leaky and clean captions, and write report/report.html'
	@echo 'make test     the whole test suite'
	@echo 'make check    ruff and mypy'
	@echo 'make format   put the code into shape, as make check wants it'
	@echo 'make bench    the measurements of speed in bench/, results into bench/results/'
	@echo 'make clean    remove caches and build products; keeps $(VENV) and runs/'

# The demo is always about the drawn scenes, whatever data the environment names. Interrupted, it goes on where it was.
demo: $(VENV)/.installed
	ZSBENCH_DATA= "$(BIN)/zsbench" run --method vilseg --split voc5 --captions web --out runs/demo
	ZSBENCH_DATA= "$(BIN)/zsbench" run --method vilseg --split voc5 --captions clean --out runs/demo
	@echo
	@"$(BIN)/zsbench" report runs/demo --out report

test: $(VENV)/.installed-dev
	"$(BIN)/python" -m pytest $(TESTS)

# mypy cannot follow the package map through an editable install, so it reads the tree as the wheel lays it out.
check: $(VENV)/.installed-dev
	"$(BIN)/ruff" check --output-format concise .
	"$(BIN)/ruff" format --check .
	@rm -rf build/typing && mkdir -p build/typing/zsbench
	@ln -s "$(CURDIR)"/zsbench/* $(MAPPED:%="$(CURDIR)"/%) build/typing/zsbench/
	@mypy=$$(cd "$(BIN)" && pwd)/mypy; cd build/typing && "$$mypy" --config-file "$(CURDIR)/pyproject.toml" \
		--cache-dir "$(CURDIR)/.mypy_cache" -p zsbench

format: $(VENV)/.installed-dev
	"$(BIN)/ruff" check --fix-only --quiet .
	"$(BIN)/ruff" format .

bench: $(VENV)/.installed-dev
	@for script in $(BENCHES); do echo "== $$script"; "$(BIN)/python" "$$script" || exit 1; done

clean:
	rm -rf build dist report *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find $(MAPPED) zsbench tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/.python
	@echo 'installing zsbench into $(VENV) (PyTorch is large: some minutes the first time)'
	@$(INSTALL) -e .
	@touch "$@"

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/.python
	@echo 'installing zsbench and its tools into $(VENV) (PyTorch is large: some minutes the first time)'
	@$(INSTALL) -e '.[dev]'
	@touch "$(VENV)/.installed" "$@"

# The first Python on the path that is new enough and can make an environment: Debian's own may lack ensurepip.
$(VENV)/.python:
	@suits='import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))'; \
	candidates() { \
		if [ -n '$(PYTHON)' ]; then echo '$(PYTHON)'; return; fi; \
		for name in python3.11 python3 python3.12 python3.13; do \
			for folder in $$PATH; do [ -x "$$folder/$$name" ] && printf '%s:' "$$folder/$$name"; done; \
		done; \
	}; \
	IFS=:; found=; \
	for python in $$(candidates); do "$$python" -c "$$suits" 2>/dev/null && { found=$$python; break; }; done; \
	if [ -z "$$found" ]; then \
		echo 'zsbench needs Python 3.11 or newer, with venv and ensurepip$(if $(PYTHON),: $(PYTHON) is not such a Python).' >&2; \
		echo 'Install it (Debian, Ubuntu: apt install python3-venv) or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3' >&2; \
		exit 2; \
	fi; \
	"$(BIN)/python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || "$$found" -m venv --clear "$(VENV)"
	@touch "$@"
