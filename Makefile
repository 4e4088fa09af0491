.PHONY: help setup demo test proof bench lock

help:  ## list these targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup:  ## make .venv from the locked, hashed versions
	@deploy/setup.sh

demo: setup  ## submit a job to every handler against simulated providers
	@.venv/bin/ringback demo --once

test: setup  ## format, lint, types and all tests; ARGS="-k name" or ARGS=path runs some tests alone
	@tests/servers.sh
	@.venv/bin/python -m tests $(ARGS)

proof: setup  ## run the long proofs: kills, pauses, steps of the clock, 20,000 histories (90 minutes)
	@PROOF_ROUNDS=50 .venv/bin/python -m pytest tests/proof -q -s --timeout 0

# `make bench --check` compares with the bars: make takes --check for its own -L, and tells us so
bench: setup  ## measure the speed; `make bench --check` compares with the bars (25 minutes)
	@.venv/bin/python -m tests.bench $(ARGS) $(if $(findstring L,$(firstword -$(MAKEFLAGS))),--check)

# writes the versions and hashes that setup and the image install; needs uv on the path
LOCK = uv pip compile --quiet --no-annotate --generate-hashes --no-header --universal --python-version 3.11 pyproject.toml
lock:  ## write the locked versions anew; needs uv
	$(LOCK) --extra dev -o deploy/constraints.txt
	$(LOCK) --extra build -c deploy/constraints.txt -o deploy/image.txt
