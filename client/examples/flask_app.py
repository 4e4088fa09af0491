"""Receive events with Flask.

pip install ringback-client flask
WEBHOOK_SECRET=whsec_... flask --app flask_app run --port 3000
"""

import contextlib
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor

from flask import Flask, request

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


app = Flask(__name__)
later = ThreadPoolExecutor(max_workers=4)


@app.post("/hooks")
def hooks() -> tuple[str, int]:
    """Take a delivery: verify it, keep it, answer at once, and work afterwards."""
    body = request.get_data()  # the raw bytes, which the signature covers
    try:
        event = WEBHOOK.parse(body, request.headers)
    except VerificationError:
        return "", 400
    if first_time(event.id, body):
        later.submit(work, event)
    return "", 204


# Work on the events that an earlier process answered but did not get done.
for (left,) in sql("SELECT body FROM inbox WHERE NOT done")[1]:
    later.submit(work, stored_event(left))
