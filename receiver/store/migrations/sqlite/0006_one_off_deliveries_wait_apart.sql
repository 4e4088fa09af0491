-- Deliveries that wait lie in the order of their moments, those to one-off callback origins apart: they wait for
-- a place as well, and hold up none to an endpoint.
drop index due_waiting;
create index due_waiting on due (work, at) where lane like '%~' and lane not like '%://%';
create index due_waiting_origin on due (work, at) where lane like '%://%~';
