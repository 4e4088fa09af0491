-- The mark that this feed's places carry, so that a place in another deployment's feed is told from them.
insert into meta values ('feed', lower(hex(randomblob(4))));
