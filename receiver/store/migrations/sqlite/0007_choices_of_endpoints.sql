-- What an endpoint chooses beside its events; a null is the settings' own value.
alter table endpoint add column filter text;
alter table endpoint add column signatures text not null default '["v1"]';
alter table endpoint add column retire_at text not null default '[]';
alter table endpoint add column retry_schedule text;
alter table endpoint add column timeout real;
alter table endpoint add column rate_limit real;
alter table endpoint add column format text not null default 'standard';
alter table endpoint add column template text;

-- What an endpoint took since the event `since`: why an earlier event did not go there stays known.
create table endpoint_version (
    endpoint text not null,
    since integer not null,
    events text not null,
    filter text,
    primary key (endpoint, since)
) strict, without rowid;
insert into endpoint_version (endpoint, since, events) select id, 0, events from endpoint where deleted_at is null;

-- How an endpoint does: its failures in a row, since the first of them, and its last attempt.
create table endpoint_health (
    endpoint text primary key,
    failures integer not null,
    failing_since integer,
    announced integer not null,
    last_at integer,
    last_status integer,
    last_error text
) strict, without rowid;
insert into endpoint_health (endpoint, failures, announced) select id, 0, 0 from endpoint where deleted_at is null;

-- The retries that wait, by endpoint: what it is owed is counted by them.
create index due_waiting_lane on due (lane, id) where lane like '%~';

-- Replays: old events delivered again. Those up to the event `place` are looked at, of all up to `last`.
create table replay (
    id text primary key,
    endpoint text not null,
    state text not null,
    which text not null,
    since integer,
    until integer,
    events text,
    place integer not null,
    last integer not null,
    total integer not null,
    made integer not null,
    created_at integer not null,
    ended_at integer
) strict, without rowid;
create index replay_running on replay (id) where state = 'running';
create index delivery_replayed on delivery (origin, state) where origin like 'rpl%';
