-- What an endpoint chooses beside its events; a null is the settings' own value.
alter table endpoint add column filter text collate "C";
alter table endpoint add column signatures text collate "C" not null default '["v1"]';
alter table endpoint add column retire_at text collate "C" not null default '[]';
alter table endpoint add column retry_schedule text collate "C";
alter table endpoint add column timeout double precision;
alter table endpoint add column rate_limit double precision;
alter table endpoint add column format text collate "C" not null default 'standard';
alter table endpoint add column template text collate "C";

-- What an endpoint took since the event `since`: why an earlier event did not go there stays known.
create table endpoint_version (
    endpoint text collate "C" not null,
    since bigint not null,
    events text collate "C" not null,
    filter text collate "C",
    primary key (endpoint, since)
);
insert into endpoint_version (endpoint, since, events) select id, 0, events from endpoint where deleted_at is null;

-- How an endpoint does: its failures in a row, since the first of them, and its last attempt.
create table endpoint_health (
    endpoint text collate "C" primary key,
    failures bigint not null,
    failing_since bigint,
    announced bigint not null,
    last_at bigint,
    last_status bigint,
    last_error text collate "C"
);
insert into endpoint_health (endpoint, failures, announced) select id, 0, 0 from endpoint where deleted_at is null;

-- The retries that wait, by endpoint: what it is owed is counted by them.
create index due_waiting_lane on due (lane, id) where lane like '%~';

-- Replays: old events delivered again. Those up to the event `place` are looked at, of all up to `last`.
create table replay (
    id text collate "C" primary key,
    endpoint text collate "C" not null,
    state text collate "C" not null,
    which text collate "C" not null,
    since bigint,
    until bigint,
    events text collate "C",
    place bigint not null,
    last bigint not null,
    total bigint not null,
    made bigint not null,
    created_at bigint not null,
    ended_at bigint
);
create index replay_running on replay (id) where state = 'running';
create index delivery_replayed on delivery (origin, state) where origin like 'rpl%';
