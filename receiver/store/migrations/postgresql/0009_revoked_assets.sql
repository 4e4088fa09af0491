-- The moment from which on no link to a file of the job works.
alter table job add column assets_revoked_at bigint;
