-- Counts and sums of the statistics, by interval.
create table rollup (
    metric text collate "C" not null,
    grain bigint not null,
    at bigint not null,
    label1 text collate "C" not null,
    label2 text collate "C" not null,
    label3 text collate "C" not null,
    label4 text collate "C" not null,
    bucket bigint not null,
    count bigint not null,
    total double precision not null,
    primary key (metric, grain, at, label1, label2, label3, label4, bucket)
);
create index rollup_age on rollup (grain, at);
-- Changes that are not folded into the intervals yet.
create table rollup_change (
    id bigint primary key,
    metric text collate "C" not null,
    at bigint not null,
    label1 text collate "C" not null,
    label2 text collate "C" not null,
    label3 text collate "C" not null,
    label4 text collate "C" not null,
    bucket bigint not null,
    count bigint not null,
    total double precision not null
);
