-- Retries that wait lie in the order of their moments, all other due work by its lane: a claim looks only at
-- lanes in which something is due. A row is in one of the two.
drop index due_next;
create index due_next on due (work, lane, at) where lane not like '%~';
create index due_waiting on due (work, at) where lane like '%~';

-- Ends that are seldom, for lists of one state.
create index job_ended on job (state, id) where state in ('failed', 'canceled', 'expired');
create index delivery_ended on delivery (state, id) where state in ('exhausted', 'canceled');

-- Places in the feed of events that were erased by hand.
create table erased (
    id text collate "C" primary key,
    place bigint not null,
    at bigint not null
);
create index erased_at on erased (at);

-- Until when a lane is left alone, for every replica and over a restart.
create table hold (
    lane text collate "C" primary key,
    until bigint not null
);

-- Removed endpoints whose deliveries are canceled by and by.
create index endpoint_deleting on endpoint (id) where state = 'deleting';
update endpoint set state = 'deleting' where deleted_at is not null;

-- The master keys that a replica has.
alter table replica add column kids text collate "C" not null default '';
