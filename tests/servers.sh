#!/bin/sh
# Have the servers that the tests start themselves and that no wheel brings: pgbouncer, from Debian's packages.
set -eu
PATH=$PATH:/usr/sbin
command -v pgbouncer >/dev/null && exit 0
echo "tests: installing Debian's pgbouncer (once)"
as_root=$([ "$(id -u)" = 0 ] || echo sudo)
$as_root apt-get -qq update || true
$as_root apt-get -qq install -y --no-install-recommends pgbouncer >/dev/null || {
    echo "tests: pgbouncer is needed: apt-get install pgbouncer" >&2
    exit 1
}
