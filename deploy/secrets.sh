#!/bin/sh
# Make the secrets that compose.yaml reads, once: passwords for the database's owner and for the role that serves,
# a master key, an admin API key.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
make() { [ -e "secrets/$1" ] || { printf %s "$2" > "secrets/$1" && echo "made secrets/$1"; }; }

[ -e secrets/database_password ] || rm -f secrets/database_url
[ -e secrets/service_password ] || rm -f secrets/service_url
make database_password "$(random)"
make database_url "postgresql://ringback:$(cat secrets/database_password)@database/ringback"
make service_password "$(random)"
make service_url "postgresql://ringback_service:$(cat secrets/service_password)@database/ringback"
make secret_keys "[\"$(random)\"]"
[ ! -e secrets/api_key ] || [ -e secrets/admin_key ] || mv secrets/api_key secrets/admin_key
make admin_key "rb_$(random)"
# for `--profile watch`; a key with the scope metrics:read takes the place of this text
make metrics_key "none: docker compose exec first ringback keys create prometheus --scope metrics:read"
make grafana_password "$(random)"
[ -e ringback.toml ] || { printf '# settings that are no secrets: everybody can read this file\n' > ringback.toml && echo "made ringback.toml"; }
# the container's user must read them; nobody else here can enter the folder
chmod 700 secrets && chmod 444 secrets/* && chmod a+r ringback.toml
