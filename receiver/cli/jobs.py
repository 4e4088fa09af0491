"""`ringback jobs`."""

from typing import Any

import click
from rich.console import Console

from receiver.cli.client import ENTRY, JOB, as_json, call, given, json_object, limit, pairs, show


@click.group()
def jobs() -> None:
    """Submit, list, follow, cancel, resolve and erase jobs.

    \b
    Example:
      ringback jobs submit apiframe '{"prompt": "a tide"}' --operation imagine --wait
    """


@jobs.command("submit")
@click.argument("provider")
@click.argument("input", callback=json_object)
@click.option("--operation", help="What to make; default: the handler's first.")
@click.option("--metadata", multiple=True, callback=pairs, help="key=value, returned in every event.")
@click.option("--callback-url", help="Where the terminal event goes, too.")
@click.option("--deadline", type=int, help="Seconds.")
@click.option("--key", help="An Idempotency-Key.")
@click.option("--wait", is_flag=True, help="Wait until the job is final.")
@as_json
def submit(
    provider: str,
    input: dict[str, Any],  # noqa: A002  # the argument is called INPUT
    key: str | None,
    wait: bool,
    as_json: bool,
    **others: Any,
) -> None:
    """Submit a job: the account's name and the provider's own body as JSON."""
    body = {"provider": provider, "input": input} | given(
        operation=others["operation"],
        metadata=others["metadata"],
        callback_url=others["callback_url"],
        deadline_seconds=others["deadline"],
    )
    headers = {"idempotency-key": key} if key else {}
    job = call("POST", "/v1/jobs", json=body, headers=headers)
    if wait:
        with Console(stderr=True).status(f"waiting for {job['id']}"):
            job = _final(job)
    show(job, JOB, plain=as_json)


def _final(job: dict[str, Any]) -> dict[str, Any]:
    while job["completed_at"] is None:
        job = call("GET", f"/v1/jobs/{job['id']}", params={"wait": 30})
    return job


@jobs.command("list")
@click.option("--state", help="Only jobs in this state.")
@click.option("--provider", help="Only jobs of this account.")
@click.option("--metadata", multiple=True, callback=pairs, help="key=value; only jobs that carry it.")
@click.option("--cursor", help="Where the last list ended.")
@limit
@as_json
def list_jobs(metadata: dict[str, str], as_json: bool, **query: Any) -> None:
    """List jobs, newest first."""
    labels = {f"metadata.{name}": value for name, value in metadata.items()}
    show(call("GET", "/v1/jobs", params=given(**query) | labels), JOB, plain=as_json)


@jobs.command("show")
@click.argument("id")
@click.option("--wait", type=click.FloatRange(0, 60), default=0, help="Seconds to wait for it to be final.")
@as_json
def show_job(id: str, wait: float, as_json: bool) -> None:  # noqa: A002  # the argument is called ID
    """Show a job and its assets."""
    job = call("GET", f"/v1/jobs/{id}", params={"wait": wait})
    show(job, JOB, plain=as_json)
    if not as_json and job["assets"]:
        show({"data": job["assets"]}, ("index", "kind", "url", "expires_at"), plain=False)
    if not as_json and job["error"]:
        click.echo(f"{job['error']['code']}: {job['error']['message']}")


@jobs.command("timeline")
@click.argument("id")
@click.option("--cursor", help="Where the last list ended.")
@limit
@as_json
def show_timeline(id: str, as_json: bool, **query: Any) -> None:  # noqa: A002  # the argument is called ID
    """Show everything that happened to a job, oldest first."""
    show(call("GET", f"/v1/jobs/{id}/timeline", params=given(**query)), ENTRY, plain=as_json)


@jobs.command("cancel")
@click.argument("id")
@as_json
def cancel_job(id: str, as_json: bool) -> None:  # noqa: A002  # the argument is called ID
    """Cancel a job."""
    show(call("POST", f"/v1/jobs/{id}/cancel"), JOB, plain=as_json)


@jobs.command("resolve")
@click.argument("id")
@click.option("--provider-job-id", help="The id that the provider gave it.")
@click.option("--resubmit", is_flag=True, help="Send it again; it may have been paid for already.")
@click.option("--fail", is_flag=True, help="Give it up.")
@as_json
def resolve_job(id: str, as_json: bool, **choices: Any) -> None:  # noqa: A002  # the argument is called ID
    """Decide the fate of an unconfirmed job."""
    body = {name: value for name, value in choices.items() if value}
    show(call("POST", f"/v1/jobs/{id}/resolve", json=body), JOB, plain=as_json)


@jobs.command("delete")
@click.argument("id")
def delete_job(id: str) -> None:  # noqa: A002  # the argument is called ID
    """Erase a final job with its events and attempts."""
    call("DELETE", f"/v1/jobs/{id}")
    click.echo(f"erased {id}")
