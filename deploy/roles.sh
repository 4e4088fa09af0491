#!/bin/sh
# Make the role that serves: it reads and writes rows and may change no table. PostgreSQL's image runs this once,
# for a new database; for one that is there: docker compose exec database sh /docker-entrypoint-initdb.d/roles.sh
set -eu
psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -v password="$(cat /run/secrets/service_password)" <<'SQL'
do $$ begin create role ringback_service login; exception when duplicate_object then null; end $$;
alter role ringback_service password :'password';
grant usage on schema public to ringback_service;
grant select, insert, update, delete on all tables in schema public to ringback_service;
grant usage on all sequences in schema public to ringback_service;
grant execute on all functions in schema public to ringback_service;
alter default privileges in schema public grant select, insert, update, delete on tables to ringback_service;
alter default privileges in schema public grant usage on sequences to ringback_service;
alter default privileges in schema public grant execute on functions to ringback_service;
SQL
