-- Inputs that are too large for the job's row, which then holds a mark.
create table input_piece (
    job text collate "C" not null,
    number bigint not null,
    piece bytea not null,
    primary key (job, number)
);
