alter table job add column guessed_id text;
alter table job add column intents integer not null default 0;
alter table job add column hinted_polls integer not null default 0;
alter table job add column hint_after integer;
alter table job add column heard integer not null default 0;
alter table job add column heard_bytes integer not null default 0;
alter table job add column overflow text;
alter table job add column cancel_wanted integer not null default 0;
alter table job add column waiting text;
