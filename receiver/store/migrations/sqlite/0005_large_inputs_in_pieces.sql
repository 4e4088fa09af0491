-- Inputs that are too large for the job's row, which then holds a mark.
create table input_piece (
    job text not null,
    number integer not null,
    piece blob not null,
    primary key (job, number)
) strict, without rowid;
