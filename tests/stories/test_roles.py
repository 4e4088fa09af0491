"""The database role of the composition: it serves a database of another owner, and may change no table."""

import re
from pathlib import Path

import pytest

from receiver.store import open_driver
from tests.engines import ENGINES
from tests.stories.deployment import asking, deployed

pytestmark = pytest.mark.usefixtures("on_postgres")
SCRIPT = Path(__file__).parents[2] / "deploy" / "roles.sh"


async def test_the_role_that_is_made_before_the_tables_serves_them(tmp_path: Path) -> None:
    server = ENGINES.cluster
    server.sql("postgres", "create database composed")
    found = re.search(r"<<'SQL'\n(.*)\nSQL", SCRIPT.read_text("utf-8"), re.DOTALL)
    assert found is not None
    for _ in ("a new server", "one whose database was restored"):
        server.sql("composed", found[1].replace(":'password'", "'made-up'"))
    owner = open_driver(server.url("composed"), on_fatal=print)
    await owner.open()
    await owner.migrate()
    await owner.close()
    url = server.url("composed").replace("postgres@", "ringback_service@")
    async with deployed(
        tmp_path, database_url=url, migrate_on_start="false", retention_days="1"
    ) as deployment:
        await deployment.subscribe("job.*")
        job = await deployment.submit(asking("apiframe"))
        assert len(await deployment.delivered(job["id"], "job.succeeded")) == 1
        await deployment.services.retention.sweep()
        owned = "select count(*) from pg_class join pg_roles r on r.oid = relowner where rolname = '{}'"
        assert server.sql("composed", owned.format("ringback_service")) == "0"
        rights = "select has_schema_privilege('ringback_service', 'public', 'create')"
        assert server.sql("composed", rights) == "f"
