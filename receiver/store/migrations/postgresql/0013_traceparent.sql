-- The place of the job in its trace, as W3C's traceparent.
alter table job add column traceparent text;
