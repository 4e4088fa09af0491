create table job (
    id text primary key,
    account text not null,
    operation text not null,
    state text not null,
    created_at integer not null,
    updated_at integer not null,
    deadline_at integer not null,
    completed_at integer,
    provider_job_id text,
    progress real,
    progressed_at integer,
    metadata text not null,
    assets text,
    result text,
    error text,
    usage text,
    completed_by text,
    sequence integer not null,
    misses integer not null,
    missing_since integer,
    quiet_poll text,
    expects_callback integer not null,
    callback_url text,
    callback_secret blob,
    callback_off integer not null,
    poll_wanted integer not null,
    input blob,
    input_shown blob
) strict;
create unique index job_provider_id on job (provider_job_id, account) where provider_job_id is not null;
create index job_open on job (deadline_at) where completed_at is null;
create index job_busy on job (account, state) where completed_at is null;
create index job_done on job (completed_at) where completed_at is not null;

create table job_label (
    label blob not null,
    job text not null,
    primary key (label, job)
) strict, without rowid;
create index job_label_job on job_label (job);

create table idempotency (
    owner text not null,
    key text not null,
    job text not null,
    digest blob not null,
    primary key (owner, key)
) strict, without rowid;
create index idempotency_job on idempotency (job);

create table evidence (
    id text not null,
    job text not null,
    at integer not null,
    kind text not null,
    outcome text not null,
    told text not null,
    headers blob,
    body blob,
    count integer not null,
    last_at integer,
    primary key (job, id)
) strict;

create table event (
    seq integer primary key autoincrement,
    id text not null unique,
    type text not null,
    job text,
    at integer not null,
    sequence integer not null,
    body blob not null,
    result blob
) strict;
create index event_job on event (job, at) where job is not null;
create index event_own on event (at) where job is null;

create table delivery (
    id text primary key,
    event text not null,
    target text not null,
    origin text not null,
    job text,
    state text not null,
    created_at integer not null,
    updated_at integer not null,
    tries integer not null,
    reason text,
    unique (event, target, origin)
) strict, without rowid;
create index delivery_target on delivery (target, id);

create table attempt (
    id text not null,
    delivery text not null,
    at integer not null,
    status integer,
    latency_ms real not null,
    error text,
    answer blob,
    primary key (delivery, id)
) strict, without rowid;

create table due (
    id text primary key,
    work text not null,
    lane text not null,
    at integer not null,
    leased integer not null,
    fence integer not null,
    tries integer not null,
    owner text not null
) strict, without rowid;
create index due_next on due (work, lane, at);
create index due_held on due (owner) where leased = 1;

create table endpoint (
    id text primary key,
    url text not null,
    events text not null,
    created_at integer not null,
    updated_at integer not null,
    state text not null,
    disabled_reason text,
    description text not null,
    headers blob,
    include text not null,
    max_in_flight integer not null,
    secrets blob not null,
    from_file integer not null,
    deleted_at integer
) strict, without rowid;

create table api_key (
    id text primary key,
    name text not null,
    hash blob not null unique,
    scopes text not null,
    created_at integer not null,
    expires_at integer
) strict, without rowid;

create table account (
    name text primary key,
    blocked_at integer,
    reason text,
    blocks integer not null
) strict, without rowid;

create table meta (
    key text primary key,
    value text not null
) strict, without rowid;
insert into meta values ('generation', '1');

create table replica (
    id text primary key,
    role text not null,
    seen_at integer not null
) strict, without rowid;

create table taken (
    target text not null,
    reason text not null,
    count integer not null,
    first_at integer not null,
    last_at integer not null,
    primary key (target, reason)
) strict, without rowid;
