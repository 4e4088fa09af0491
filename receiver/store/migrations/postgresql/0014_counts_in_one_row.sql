-- The changes of the statistics so far are added to their intervals, each of the three widths.
insert into rollup
select
    metric, grain, at - at % grain as slot, label1, label2, label3, label4, bucket, sum(count), sum(total)
from rollup_change, (select 60 as grain union all select 600 union all select 3600) as grains
where true
group by metric, grain, slot, label1, label2, label3, label4, bucket
on conflict (metric, grain, at, label1, label2, label3, label4, bucket)
do update set count = rollup.count + excluded.count, total = rollup.total + excluded.total;
drop table rollup_change;
-- From now on the counts of a transaction are one row of JSON until they are added to the intervals.
create table rollup_change (
    id bigint primary key,
    at bigint not null,
    counts text not null
);
