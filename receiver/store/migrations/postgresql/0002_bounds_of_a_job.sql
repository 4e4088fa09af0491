alter table job add column guessed_id text;
alter table job add column intents bigint not null default 0;
alter table job add column hinted_polls bigint not null default 0;
alter table job add column hint_after bigint;
alter table job add column heard bigint not null default 0;
alter table job add column heard_bytes bigint not null default 0;
alter table job add column overflow text;
alter table job add column cancel_wanted bigint not null default 0;
alter table job add column waiting text;
