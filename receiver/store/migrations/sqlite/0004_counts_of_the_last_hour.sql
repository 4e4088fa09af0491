create table tally (
    account text not null,
    minute integer not null,
    what text not null,
    count integer not null,
    primary key (account, minute, what)
) strict, without rowid;
