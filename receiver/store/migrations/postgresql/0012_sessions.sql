-- Sessions of browsers at the dashboard.
create table session (
    id bytea primary key,
    key_hash bytea not null,
    created_at bigint not null,
    expires_at bigint not null
);
create index session_of_key on session (key_hash, created_at);
