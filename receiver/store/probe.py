"""The write of the readiness probe."""

from receiver.store.statements import Transaction, query


def write() -> Transaction[None]:
    """Write a value without meaning, to find out whether the store takes writes.

    The value changes each time, because an engine writes nothing for a row that stays as it is.
    """
    yield query(
        "insert into meta values ('probe', '0') on conflict (key) do update set "
        "value = case meta.value when '0' then '1' else '0' end"
    )
