-- The ids of messages by their senders, hashed: the same one twice is one event.
create table source_message (
    id text not null primary key,
    at integer not null
) strict, without rowid;
create index source_message_at on source_message (at);
