"""Receive events with FastAPI.

pip install ringback-client fastapi uvicorn
WEBHOOK_SECRET=whsec_... uvicorn fastapi_app:app --port 3000
"""

import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator

from fastapi import BackgroundTasks, FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool

from ringback import Event, JobFailed, JobSucceeded, VerificationError, Webhook, stored_event

WEBHOOK = Webhook(os.environ["WEBHOOK_SECRET"])
INBOX = os.environ.get("INBOX", "inbox.db")
TABLE = "CREATE TABLE IF NOT EXISTS inbox (id TEXT PRIMARY KEY, body BLOB, done INTEGER DEFAULT 0)"


def sql(statement: str, *values: object) -> tuple[int, list[tuple[bytes]]]:
    """Run a statement in a transaction of its own. Returns the number of changed rows, and the rows."""
    with contextlib.closing(sqlite3.connect(INBOX)) as database, database:
        database.execute(TABLE)
        done = database.execute(statement, values)
        return done.rowcount, done.fetchall()


def first_time(event_id: str, body: bytes) -> bool:
    """Keep an event before it is answered. Returns whether it is new.

    The same event may come again, under the same id: after a lost answer, a retry by hand or a replay. The
    primary key tells, also after a restart and across processes.
    """
    return sql("INSERT OR IGNORE INTO inbox (id, body) VALUES (?, ?)", event_id, body)[0] == 1


def work(event: Event) -> None:
    """Do the work of an event, and mark it as done. Where that fails, the next start does it again."""
    match event:
        case JobSucceeded():
            print("files of", event.job.id, [asset.url for asset in event.job.assets])
        case JobFailed():
            print("no files of", event.job.id, event.job.error)
    sql("UPDATE inbox SET done = 1 WHERE id = ?", event.id)


@contextlib.asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Work at start on the events that an earlier process answered but did not get done."""
    for (body,) in sql("SELECT body FROM inbox WHERE NOT done")[1]:
        await run_in_threadpool(work, stored_event(body))
    yield


app = FastAPI(lifespan=lifespan)


@app.post("/hooks", status_code=204)
async def hooks(request: Request, later: BackgroundTasks) -> None:
    """Take a delivery: verify it, keep it, answer at once, and work afterwards."""
    body = await request.body()  # the raw bytes, not a model: the signature covers them
    try:
        event = WEBHOOK.parse(body, request.headers)
    except VerificationError:
        raise HTTPException(status_code=400) from None
    if await run_in_threadpool(first_time, event.id, body):
        later.add_task(work, event)
