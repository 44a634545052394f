# Each target sets up .venv by itself; it takes Python 3.11 or later with venv, git and make.
# Arguments go through ARGS: make bench ARGS="polling websocket --seed 7"

BIN := .venv/bin
READY := .venv/.ready
PYTHONS := python3.13 python3.12 python3.11 python3
FIT := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
CLIENT := labs/web/vendor/socket.io.js

.PHONY: help bench test chat scorecard notebooks outputs lint clean

help: ## show this
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' Makefile

bench: $(READY) ## compare the five transports, and write a report to results/
	@$(BIN)/labs bench $(ARGS)

test: $(READY) ## run every test, a file on each core; benchmarks are tried, not measured
	@$(BIN)/pytest --numprocesses logical --dist loadfile $(ARGS)

chat: $(READY) ## serve the chat over each of the five, until Ctrl-C
	@$(BIN)/labs run all $(ARGS)

scorecard: $(READY) ## try every claim, and write docs/SCORECARD.md anew
	@$(BIN)/labs reproduce all --markdown docs/SCORECARD.md $(ARGS)

notebooks: $(BIN)/jupyter-lab ## open the notebooks in JupyterLab
	@$(BIN)/jupyter lab --ServerApp.root_dir=notebooks $(ARGS)

outputs: $(READY) ## run the notebooks anew, and save what they show and what they measured
	@$(BIN)/python notebooks/write.py $(ARGS)

lint: $(READY) ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

clean: ## remove what was installed and cached; results/ stays
	rm -rf .venv dist labs/web/vendor .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt hatch_build.py
	@test -x $(BIN)/pip || for python in $(PYTHONS) none; do \
	    if [ $$python = none ]; then \
	        echo "Python 3.11 or later with venv is needed (Debian: apt install python3-venv)." >&2; \
	        exit 1; \
	    fi; \
	    if $$python -c '$(FIT)' 2>/dev/null; then $$python -m venv .venv && break || exit 1; fi; \
	done
	@echo "Installing into .venv, which is done once ..." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@test -f $(CLIENT) || echo "Note: npm could not be reached, so the socketio page has no client \
	yet; the rest works. When npm can be reached: touch pyproject.toml, and make again." >&2
	@touch $@

$(BIN)/jupyter-lab: $(READY)
	@echo "Installing JupyterLab into .venv, which is done once ..." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	    -e '.[notebooks]'
	@touch $@
