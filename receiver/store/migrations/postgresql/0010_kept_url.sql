-- The URL that the provider gave for requests about the job.
alter table job add column kept_url text;
