#!/bin/sh
# Have the servers that the tests start themselves and that no wheel brings: pgbouncer, from Debian's packages.
set -eu
PATH=$PATH:/usr/sbin
command -v pgbouncer >/dev/null && exit 0
echo "tests: installing Debian's pgbouncer (once)"
as_root=$([ "$(id -u)" = 0 ] || echo sudo)
{ $as_root apt-get -qq update && $as_root apt-get -qq install -y --no-install-recommends pgbouncer; } >/dev/null 2>&1 \
    || echo "tests: it cannot be installed; what needs it is skipped" >&2
