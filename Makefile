.PHONY: setup demo test bench lock

setup:
	@deploy/setup.sh

demo: setup
	@.venv/bin/ringback demo --once

test: setup
	@.venv/bin/python -m tests

# make bench ARGS=--check compares with the bars
bench: setup
	@.venv/bin/python -m tests.bench $(ARGS) $(if $(findstring --check,$(MAKEFLAGS)),--check)

# writes the versions and hashes that setup installs; needs uv on the path
lock:
	uv pip compile --quiet --extra dev --generate-hashes --no-header --universal --python-version 3.11 pyproject.toml -o deploy/constraints.txt
