"""The command group `ringback jobs`."""

import uuid
from pathlib import Path
from typing import Any

import click

from receiver.cli.client import Away, call, path
from receiver.cli.download import download
from receiver.cli.follow import follow
from receiver.cli.groups import INTERRUPTED, Group
from receiver.cli.output import (
    ENTRY,
    ENTRY_SHORT,
    JOB,
    JOB_SHORT,
    formed,
    is_json,
    is_quiet,
    show_list,
    show_one,
)
from receiver.cli.params import (
    STATES,
    Id,
    NearestChoice,
    Real,
    Whole,
    cursor,
    given,
    limit,
    pairs,
    read_input,
)
from receiver.cli.terminal import say
from receiver.cli.watch import watch

BECAME = {
    "lost": "answer lost",
    "restore": "will retry",
    "transient": "will retry",
    "miss": "not found",
    "reject": "rejected",
}
"""The texts that a table shows for timeline entries that did not update the job, by verdict."""


@click.group(cls=Group)
def jobs() -> None:
    """Submit, list, follow, cancel, resolve and erase jobs, download their files.

    \b
    Example:
      ringback jobs submit apiframe --prompt "a tide" --operation imagine --wait
      ringback jobs list --state running
    """


@jobs.command("submit")
@click.argument("provider")
@click.argument("input", required=False, callback=read_input)
@click.option("--prompt", help="Sets `prompt` of the input.")
@click.option("--operation", help="What to make (see `ringback providers`); default: the handler's first.")
@click.option(
    "--metadata", multiple=True, callback=pairs, help="key=value, returned in every event; repeatable."
)
@click.option("--callback-url", help="The job's terminal event goes there, too.")
@click.option("--callback-secret", help="Signs for --callback-url; made and printed when missing.")
@click.option("--deadline", type=Whole(1, 604800), help="Seconds until the job expires.")
@click.option("--key", help="The Idempotency-Key: the same one gives the same job.")
@click.option("--wait", is_flag=True, help="Wait until the job is final; exit code 1 unless it succeeded.")
@formed
def submit(
    provider: str,
    input: dict[str, Any] | None,  # noqa: A002  # the argument is called INPUT
    wait: bool,
    **options: Any,
) -> None:
    """Submit a job to an account of a provider.

    INPUT is the provider's own request body: a JSON object, @file, or - for standard input. It may be left
    out with --prompt.

    \b
    Example:
      ringback jobs submit apiframe --prompt "a tide" --operation imagine --wait
      ringback jobs submit apiframe @body.json --metadata order=42
      ringback jobs submit getimg - --operation video < body.json
    """
    prompt = options.pop("prompt")
    if input is None and prompt is None:
        raise click.UsageError("give INPUT (JSON, @file or -) or --prompt")
    whole = (input or {}) | ({} if prompt is None else {"prompt": prompt})
    job = _submitted({"provider": provider, "input": whole}, **options)
    secret = given(callback_secret=job.get("callback_secret"))
    if wait:
        job = _followed(job, secret)
    show_one(job)
    if wait and job["state"] != "succeeded":
        error = job.get("error") or {}
        why = ": ".join(str(error[name]) for name in ("code", "message") if error.get(name))
        raise click.ClickException(f"the job is {job['state']}" + (f": {why}" if why else ""))


def _submitted(
    body: dict[str, Any], *, key: str | None, deadline: int | None, **options: Any
) -> dict[str, Any]:
    """Submit a job, under a generated idempotency key when none is given.

    When the answer is lost, the command can be repeated with that key and returns the same job.
    """
    body |= given(deadline_seconds=deadline, **options)
    chosen = key or f"cli-{uuid.uuid4().hex}"
    again = f"the job may exist: repeat with --key {chosen} to get the same one"
    if not chosen.isascii() or not chosen.isprintable() or " " in chosen or len(chosen) > 255:
        raise click.UsageError("--key must be at most 255 visible ASCII characters")
    try:
        job: dict[str, Any] = call("POST", "/v1/jobs", body=body, headers={"idempotency-key": chosen})
    except KeyboardInterrupt:
        say(again, err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    except Away as error:
        raise click.ClickException(f"{error.message}; {again}" if error.sent else error.message) from None
    return job


def _followed(job: dict[str, Any], secret: dict[str, str]) -> dict[str, Any]:
    """Wait for the job. Its secret, shown only once, is printed first: an interruption would lose it."""
    if secret:
        say(f"callback_secret: {secret['callback_secret']}", err=True)
    return follow(job) | secret


@jobs.command("list")
@click.option(
    "--state",
    metavar="STATE",
    type=NearestChoice(STATES),
    help=f"Only jobs in this state: {', '.join(STATES)}.",
)
@click.option("--provider", help="Only jobs of this account.")
@click.option("--provider-job-id", help="Only the job with this id at the provider.")
@click.option("--metadata", multiple=True, callback=pairs, help="key=value; only jobs with it; repeatable.")
@cursor
@limit
@formed
def list_jobs(metadata: dict[str, str], **query: Any) -> None:
    """List jobs, newest first.

    \b
    Example:
      ringback jobs list --state failed --metadata order=42
      ringback jobs list -q --state unconfirmed
    """
    labels = {f"metadata.{name}": value for name, value in metadata.items()}
    show_list(call("GET", "/v1/jobs", params=given(**query) | labels), JOB, short=JOB_SHORT)


@jobs.command("show")
@click.argument("id", type=Id())
@click.option("--wait", type=Real(0, 60), default=0, help="Seconds to wait for it to be final.")
@formed
def show_job(id: str, wait: float) -> None:  # noqa: A002  # the argument is called ID
    """Show a job: its state, why it waits, its error and its assets.

    \b
    Example:
      ringback jobs show job_... --wait 30
    """
    show_one(call("GET", path("jobs", id), params={"wait": wait}))


@jobs.command("timeline")
@click.argument("id", type=Id())
@cursor
@limit
@formed
def show_timeline(id: str, **query: Any) -> None:  # noqa: A002  # the argument is called ID
    """Show everything that happened to a job, oldest first.

    \b
    Example:
      ringback jobs timeline job_... --limit 200
    """
    page = call("GET", path("jobs", id, "timeline"), params=given(**query))
    if not is_json():
        for entry in page["data"]:
            entry["outcome"] = BECAME.get(entry.get("verdict"), entry.get("outcome"))
    show_list(page, ENTRY, short=ENTRY_SHORT)


@jobs.command("watch")
@click.argument("id", type=Id())
@click.option("--once", is_flag=True, help="Draw it once, and end.")
def watch_job(id: str, once: bool) -> None:  # noqa: A002  # the argument is called ID
    """Draw a job on one time axis, until it is final and its deliveries have ended.

    \b
    Example:
      ringback jobs watch job_...
    """
    watch(id, once=once)


@jobs.command("cancel")
@click.argument("id", type=Id())
@formed
def cancel_job(id: str) -> None:  # noqa: A002  # the argument is called ID
    """Cancel a job that is not final, at the provider too where that is possible.

    \b
    Example:
      ringback jobs cancel job_...
    """
    show_one(call("POST", path("jobs", id, "cancel")))


@jobs.command("token")
@click.argument("id", type=Id())
@click.option("--seconds", type=Whole(1, 86_400), help="How long it reads the job.  [default: 900]")
@formed
def job_token(id: str, seconds: int | None) -> None:  # noqa: A002  # the argument is called ID
    """Create a token with which a browser reads this job and its stream, nothing else.

    \b
    Example:
      ringback jobs token job_... --seconds 3600
    """
    made = call("POST", path("jobs", id, "token"), body=given(seconds=seconds))
    if is_quiet():
        say(made["token"])
    else:
        show_one(made)


@jobs.command("revoke-assets")
@click.argument("id", type=Id())
@formed
def revoke_assets(id: str) -> None:  # noqa: A002  # the argument is called ID
    """Revoke the links to a job's files, those handed out before included.

    \b
    Example:
      ringback jobs revoke-assets job_...
    """
    show_one(call("POST", path("jobs", id, "revoke-assets")))


@jobs.command("download")
@click.argument("id", type=Id())
@click.option("--index", type=Whole(0), default=0, help="Which of the job's files.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to; default: a name from the job's id.",
)
def download_file(id: str, index: int, output: Path | None) -> None:  # noqa: A002  # the argument is called ID
    """Download a file of a job through the service.

    An interrupted download goes on where it stopped when the same command is given again.

    \b
    Example:
      ringback jobs download job_... --output tide.mp4
    """
    assets = call("GET", path("jobs", id))["assets"]
    if index >= len(assets):
        raise click.UsageError(f"the job has {len(assets)} files; they are counted from 0")
    if assets[index]["url"] is None:
        raise click.ClickException("the links to the files of this job were revoked")
    say(f"saved {download(assets[index]['url'], f'{id}-{index}', output)}")


@jobs.command("resolve")
@click.argument("id", type=Id())
@click.option("--provider-job-id", help="The job exists at the provider, under this id.")
@click.option("--resubmit", is_flag=True, help="Send it again; it may have been paid for already.")
@click.option("--fail", is_flag=True, help="Let it fail.")
@formed
def resolve_job(id: str, **choices: Any) -> None:  # noqa: A002  # the argument is called ID
    """Resolve an unconfirmed job: its submission was sent, and the answer was lost.

    \b
    Example:
      ringback jobs resolve job_... --provider-job-id 5f1c
      ringback jobs resolve job_... --resubmit
    """
    body = {name: value for name, value in choices.items() if value}
    if len(body) != 1:
        raise click.UsageError("give exactly one of --provider-job-id, --resubmit and --fail")
    show_one(call("POST", path("jobs", id, "resolve"), body=body))


@jobs.command("delete")
@click.argument("id", type=Id())
def delete_job(id: str) -> None:  # noqa: A002  # the argument is called ID
    """Erase a final job with its events and attempts.

    \b
    Example:
      ringback jobs delete job_...
    """
    call("DELETE", path("jobs", id))
    say(f"erased {id}")
