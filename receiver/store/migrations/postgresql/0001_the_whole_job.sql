create table job (
    id text collate "C" primary key,
    account text collate "C" not null,
    operation text collate "C" not null,
    state text collate "C" not null,
    created_at bigint not null,
    updated_at bigint not null,
    deadline_at bigint not null,
    completed_at bigint,
    provider_job_id text collate "C",
    progress double precision,
    progressed_at bigint,
    metadata text collate "C" not null,
    assets text collate "C",
    result text collate "C",
    error text collate "C",
    usage text collate "C",
    completed_by text collate "C",
    sequence bigint not null,
    misses bigint not null,
    missing_since bigint,
    quiet_poll text collate "C",
    expects_callback bigint not null,
    callback_url text collate "C",
    callback_secret bytea,
    callback_off bigint not null,
    poll_wanted bigint not null,
    input bytea,
    input_shown bytea
) with (fillfactor = 80);
create unique index job_provider_id on job (provider_job_id, account) where provider_job_id is not null;
create index job_open on job (deadline_at) where completed_at is null;
create index job_busy on job (account, state) where completed_at is null;
create index job_done on job (completed_at) where completed_at is not null;

create table job_label (
    label bytea not null,
    job text collate "C" not null,
    primary key (label, job)
);
create index job_label_job on job_label (job);

create table idempotency (
    owner text collate "C" not null,
    key text collate "C" not null,
    job text collate "C" not null,
    digest bytea not null,
    primary key (owner, key)
);
create index idempotency_job on idempotency (job);

create table evidence (
    id text collate "C" not null,
    job text collate "C" not null,
    at bigint not null,
    kind text collate "C" not null,
    outcome text collate "C" not null,
    told text collate "C" not null,
    headers bytea,
    body bytea,
    count bigint not null,
    last_at bigint,
    primary key (job, id)
) partition by range (job);

create sequence event_seq;
create table event (
    seq bigint not null default nextval('event_seq'),
    id text collate "C" primary key,
    type text collate "C" not null,
    job text collate "C",
    at bigint not null,
    sequence bigint not null,
    body bytea not null,
    result bytea
) partition by range (id);
alter sequence event_seq owned by event.seq;
create index event_order on event (seq);
create index event_job on event (job, at) where job is not null;
create index event_own on event (at) where job is null;

create table delivery (
    id text collate "C" primary key,
    event text collate "C" not null,
    target text collate "C" not null,
    origin text collate "C" not null,
    job text collate "C",
    state text collate "C" not null,
    created_at bigint not null,
    updated_at bigint not null,
    tries bigint not null,
    reason text collate "C"
) partition by range (id);
create index delivery_event on delivery (event, target, origin);
create index delivery_target on delivery (target, id);

create table attempt (
    id text collate "C" not null,
    delivery text collate "C" not null,
    at bigint not null,
    status bigint,
    latency_ms double precision not null,
    error text collate "C",
    answer bytea,
    primary key (delivery, id)
) partition by range (delivery);

create table due (
    id text collate "C" primary key,
    work text collate "C" not null,
    lane text collate "C" not null,
    at bigint not null,
    leased bigint not null,
    fence bigint not null,
    tries bigint not null,
    owner text collate "C" not null
) with (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0, autovacuum_vacuum_threshold = 1000);
create index due_next on due (work, lane, at);
create index due_held on due (owner) where leased = 1;

create table endpoint (
    id text collate "C" primary key,
    url text collate "C" not null,
    events text collate "C" not null,
    created_at bigint not null,
    updated_at bigint not null,
    state text collate "C" not null,
    disabled_reason text collate "C",
    description text collate "C" not null,
    headers bytea,
    include text collate "C" not null,
    max_in_flight bigint not null,
    secrets bytea not null,
    from_file bigint not null,
    deleted_at bigint
);

create table api_key (
    id text collate "C" primary key,
    name text collate "C" not null,
    hash bytea not null unique,
    scopes text collate "C" not null,
    created_at bigint not null,
    expires_at bigint
);

create table account (
    name text collate "C" primary key,
    blocked_at bigint,
    reason text collate "C",
    blocks bigint not null
);

create table meta (
    key text collate "C" primary key,
    value text collate "C" not null
);
insert into meta values ('generation', '1');

create table taken (
    target text collate "C" not null,
    reason text collate "C" not null,
    count bigint not null,
    first_at bigint not null,
    last_at bigint not null,
    primary key (target, reason)
);

create table receipt (
    replica text collate "C" not null,
    number bigint not null,
    written_at timestamptz not null default now(),
    primary key (replica, number)
);

create table replica (
    id text collate "C" primary key,
    role text collate "C" not null,
    seen_at bigint not null
);

create table migration (
    version bigint primary key,
    name text collate "C" not null
);

-- Orders transactions from here to their commit, then reads: each statement of a volatile function sees what
-- was committed before it began, so the generation is the one that holds for as long as the lock is held.
create function in_order() returns text language plpgsql volatile as $$
begin
    perform pg_advisory_xact_lock(1380087345);
    return (select value from meta where key = 'generation');
end $$;

-- History lies in parts by time, because the ids by which it is kept begin with it: to remove old history is to
-- drop a part. What has no such id, or comes from before the first part, lies in `rest` and is deleted by rows.
-- These run as the owner of the tables, so that the service needs no right to make any.
create table history (
    low bigint primary key,
    high bigint not null
);

create function part_of(kept text, low bigint) returns text language sql immutable as $$
    select kept || '_' || to_char(to_timestamp(low / 1000) at time zone 'UTC', 'YYYYMMDD');
$$;

create function make_history(from_ms bigint, to_ms bigint) returns void
language plpgsql security definer as $$
declare
    kept record;
begin
    perform pg_advisory_xact_lock(1380087346);
    if exists (select from history where high > from_ms and low < to_ms) then
        return;
    end if;
    for kept in values ('event', 'evt_', ''), ('evidence', 'job_', ''), ('attempt', 'dlv_', ''),
            ('delivery', 'dlv_', ' with (fillfactor = 80)') loop
        execute format(
            'create table %I partition of %I for values from (%L) to (%L)' || kept.column3,
            part_of(kept.column1, from_ms), kept.column1,
            kept.column2 || lpad(to_hex(from_ms), 12, '0'), kept.column2 || lpad(to_hex(to_ms), 12, '0')
        );
    end loop;
    insert into history values (from_ms, to_ms);
exception when check_violation then
    -- there is such history already, in `rest`: it stays there
    insert into history values (from_ms, to_ms);
end $$;

create function drop_history(from_ms bigint) returns void
language plpgsql security definer as $$
declare
    kept text;
begin
    if not exists (select from history where low = from_ms) then
        return;
    end if;
    foreach kept in array array['event', 'evidence', 'attempt', 'delivery'] loop
        execute format('drop table if exists %I', part_of(kept, from_ms));
    end loop;
    delete from history where low = from_ms;
end $$;

revoke execute on function make_history, drop_history from public;
do $$ begin
    execute format('alter function make_history set search_path = %I, pg_temp', current_schema());
    execute format('alter function drop_history set search_path = %I, pg_temp', current_schema());
end $$;

create table event_rest partition of event default;
create table evidence_rest partition of evidence default;
create table attempt_rest partition of attempt default;
create table delivery_rest partition of delivery default with (fillfactor = 80);
