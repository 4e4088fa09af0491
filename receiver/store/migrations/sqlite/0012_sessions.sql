-- Sessions of browsers at the dashboard.
create table session (
    id blob not null primary key,
    key_hash blob not null,
    created_at integer not null,
    expires_at integer not null
) strict, without rowid;
create index session_of_key on session (key_hash, created_at);
