.PHONY: setup demo test proof bench lock

setup:
	@deploy/setup.sh

demo: setup
	@.venv/bin/ringback demo --once

test: setup
	@tests/servers.sh
	@.venv/bin/python -m tests

proof: setup
	@PROOF_ROUNDS=50 .venv/bin/python -m pytest tests/proof -q -s --timeout 0

# `make bench --check` compares with the bars: make takes --check for its own -L, and tells us so
bench: setup
	@.venv/bin/python -m tests.bench $(ARGS) $(if $(findstring L,$(firstword -$(MAKEFLAGS))),--check)

# writes the versions and hashes that setup and the image install; needs uv on the path
LOCK = uv pip compile --quiet --no-annotate --generate-hashes --no-header --universal --python-version 3.11 pyproject.toml
lock:
	$(LOCK) --extra dev -o deploy/constraints.txt
	$(LOCK) --extra build -c deploy/constraints.txt -o deploy/image.txt
