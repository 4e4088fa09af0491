create table tally (
    account text collate "C" not null,
    minute bigint not null,
    what text collate "C" not null,
    count bigint not null,
    primary key (account, minute, what)
);
