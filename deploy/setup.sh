#!/bin/sh
# Make .venv from the locked, hashed versions; do nothing when it is already that.
set -eu
cd "$(dirname "$0")/.."

stamp=.venv/.locked
began=$(date +%s)
want=$(cat pyproject.toml client/pyproject.toml deploy/constraints.txt deploy/setup.sh | sha256sum | cut -d' ' -f1)-$(pwd | sha256sum | cut -d' ' -f1)
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && exit 0

python=$(command -v python3.11 || command -v python3) || { echo "setup: Python 3.11 or newer is needed" >&2; exit 1; }
# in an activated environment the first Python of the path lies in the .venv that is about to go
python=$("$python" -c 'import os, sys; print(os.path.realpath(sys.executable))')
[ ! -d .venv ] || echo "setup: the .venv that is there is not of these versions; it is made anew"
echo "setup: making .venv with $("$python" --version)"
rm -rf .venv
if ! "$python" -m venv .venv 2>/dev/null; then
    echo "setup: this Python cannot make an environment; installing Debian's python3-venv"
    rm -rf .venv
    as_root=$([ "$(id -u)" = 0 ] || echo sudo)
    $as_root apt-get -qq update && $as_root apt-get -qq install -y python3-venv >/dev/null
    "$python" -m venv .venv
fi
echo "setup: installing $(grep -c '==' deploy/constraints.txt) locked packages (a minute or two, once)"
there() { find .venv/lib/python3*/site-packages -maxdepth 1 -name '*.dist-info' | wc -l; }
first=$(there)
while sleep 3 </dev/null >/dev/null 2>&1; do  # pip says nothing while it unpacks
    now=$(there)
    [ "$now" = "$first" ] || echo "setup:   $((now - first)) unpacked"
done &
watch=$!
trap 'kill $watch 2>/dev/null' EXIT
{
    .venv/bin/python -m pip --disable-pip-version-check install --require-hashes --only-binary :all: \
        --requirement deploy/constraints.txt || touch .venv/failed
} | sed -u -n 's/^Collecting \([^ ;]*\).*/setup:   \1/p; s/^Installing collected packages.*/setup: unpacking them/p'
[ ! -e .venv/failed ] || { echo "setup: pip could not install them; its words stand above" >&2; exit 1; }
.venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --no-index \
    --editable . --editable ./client
echo "$want" > "$stamp"
echo "setup: ready after $(($(date +%s) - began)) s"
