-- Counts and sums of the statistics, by interval.
create table rollup (
    metric text not null,
    grain integer not null,
    at integer not null,
    label1 text not null,
    label2 text not null,
    label3 text not null,
    label4 text not null,
    bucket integer not null,
    count integer not null,
    total real not null,
    primary key (metric, grain, at, label1, label2, label3, label4, bucket)
) strict, without rowid;
create index rollup_age on rollup (grain, at);
-- Changes that are not folded into the intervals yet.
create table rollup_change (
    id integer primary key,
    metric text not null,
    at integer not null,
    label1 text not null,
    label2 text not null,
    label3 text not null,
    label4 text not null,
    bucket integer not null,
    count integer not null,
    total real not null
) strict;
