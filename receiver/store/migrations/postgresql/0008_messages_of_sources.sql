-- The ids of messages by their senders, hashed: the same one twice is one event.
create table source_message (
    id text collate "C" primary key,
    at bigint not null
);
create index source_message_at on source_message (at);
