-- What an endpoint chooses beside its events; a null is the settings' own value.
alter table endpoint add column filter text;
alter table endpoint add column signatures text not null default '["v1"]';
alter table endpoint add column retire_at text not null default '[]';
alter table endpoint add column retry_schedule text;
alter table endpoint add column timeout real;
alter table endpoint add column rate_limit real;

-- What an endpoint took since the event `since`: why an earlier event did not go there stays known.
create table endpoint_version (
    endpoint text not null,
    since integer not null,
    events text not null,
    filter text,
    primary key (endpoint, since)
) strict, without rowid;
insert into endpoint_version (endpoint, since, events) select id, 0, events from endpoint where deleted_at is null;
