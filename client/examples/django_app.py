"""Receive events with Django, in one file; in a project, take all but the settings.

pip install ringback-client django
WEBHOOK_SECRET=whsec_... python django_app.py runserver 3000
"""

import contextlib
import os
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor

from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

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


@csrf_exempt  # the sender has no CSRF token; the signature takes its place
@require_POST
def hooks(request: HttpRequest) -> HttpResponse:
    """Take a delivery: verify it, keep it, answer at once, and work afterwards."""
    body = request.body  # the raw bytes, which the signature covers
    try:
        event = WEBHOOK.parse(body, request.headers)
    except VerificationError:
        return HttpResponse(status=400)
    if first_time(event.id, body):
        later.submit(work, event)
    return HttpResponse(status=204)


later = ThreadPoolExecutor(max_workers=4)
urlpatterns = [path("hooks", hooks)]
if not settings.configured:
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY=os.urandom(32).hex())
application = get_wsgi_application()

# Work on the events that an earlier process answered but did not get done.
for (left,) in sql("SELECT body FROM inbox WHERE NOT done")[1]:
    later.submit(work, stored_event(left))

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
