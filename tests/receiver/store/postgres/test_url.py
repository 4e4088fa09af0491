"""`postgresql://` URLs: the part for the server, the parameters of this service, and no password anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.errors import Misconfigured
from receiver.store.postgres.url import (
    CONNECTIONS,
    FEWEST,
    MOST,
    PostgresTarget,
    addresses,
    is_postgres,
    target,
    without_password,
)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u@h/db", True),
        ("postgres://u@h/db", True),
        ("postgresql:db", True),
        ("postgresql", True),
        ("postgresqls://u@h/db", False),
        ("sqlite:///x.db", False),
        ("", False),
    ],
)
def test_a_url_of_postgresql_is_known_by_its_scheme(url: str, expected: bool) -> None:
    assert is_postgres(url) is expected


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("postgresql://u:p@h:5/db", PostgresTarget("postgresql://u:p@h:5/db", CONNECTIONS, pooled=False)),
        (
            "postgresql://h/db?sslmode=require&connections=3&application_name=a+b",
            PostgresTarget("postgresql://h/db?sslmode=require&application_name=a+b", 3),
        ),
        ("postgresql://h/db?pooler=transaction", PostgresTarget("postgresql://h/db", pooled=True)),
        (
            "postgresql://a:1,b:2/db?pooler=transaction&connections=1000",
            PostgresTarget("postgresql://a:1,b:2/db", 1000, pooled=True),
        ),
        ("postgresql://h/db?options=", PostgresTarget("postgresql://h/db?options=")),
    ],
)
def test_our_parameters_are_taken_out_of_the_url(url: str, found: PostgresTarget) -> None:
    assert target(url) == found


def test_a_folder_of_sockets_stays_in_the_url() -> None:
    found = target("postgresql:///db?host=/run/postgresql&connections=5")
    assert (addresses(found.dsn), found.connections) == (["/run/postgresql"], 5)


WRONG = {
    "postgresql://u:hunter2@h": "must name the database: postgresql://user@host/database",
    "postgresql://u:hunter2@h/": "must name the database: postgresql://user@host/database",
    "postgresql://u:hunter2@h/db#x": "must name the database: postgresql://user@host/database",
    "postgresql://u:hunter2@[::1/db": "is no URL",
    "postgresql://u:hunter2@h/db?sslmode": "is no URL",
    "postgresql://u:hunter2@h/db?pooler=session": "knows one pooler: pooler=transaction",
    "postgresql://u:hunter2@h/db?pooler=": "knows one pooler: pooler=transaction",
    **{
        f"postgresql://u:hunter2@h/db?connections={number}": f"needs connections={FEWEST} to {MOST}"
        for number in ("", "2", "1001", "-3", "8.5", "\u0663", "00008", "hunter2")
    },
}


@pytest.mark.parametrize(("url", "problem"), WRONG.items())
def test_a_wrong_url_is_refused_in_words_without_its_password(url: str, problem: str) -> None:
    with pytest.raises(Misconfigured) as error:
        target(url)
    assert str(error.value) == f"database_url: {problem}"


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("postgresql://u:p@h:5/db", ["h:5"]),
        ("postgresql://u:p%40@a:1,b/db", ["a:1", "b"]),
        ("postgresql://[::1]:5432/db", ["[::1]:5432"]),
        ("postgresql:///db?host=/run/postgresql", ["/run/postgresql"]),
        ("postgresql://h/db?host=a,b&host=c", ["h", "a", "b", "c"]),
        ("postgresql:///db", []),
    ],
)
def test_every_server_of_a_url_is_listed(url: str, found: list[str]) -> None:
    assert addresses(url) == found


@given(
    st.text(st.characters(codec="ascii", exclude_characters="*"), min_size=6, max_size=12),
    st.sampled_from(["postgresql://user:{}@host/db", "postgres:user:{}@host/db?a=b"]),
)
def test_no_password_is_shown_whatever_its_signs(password: str, url: str) -> None:
    assert without_password(url.format(password)) == url.format("***")


@given(
    st.text(st.characters(codec="ascii", exclude_characters="&#*@:"), min_size=6, max_size=12),
    st.sampled_from(["password", "PASSWORD", "sslpassword", "passfile"]),
)
def test_no_password_among_the_options_is_shown(password: str, name: str) -> None:
    url = f"postgresql://host/db?sslmode=require&{name}={{}}&x=y"
    assert without_password(url.format(password)) == url.format("***")
