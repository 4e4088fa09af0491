-- The mark that this feed's places carry, so that a place in another deployment's feed is told from them.
insert into meta values ('feed', substr(md5(random()::text || clock_timestamp()::text), 1, 8));
