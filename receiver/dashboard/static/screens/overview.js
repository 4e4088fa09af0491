// Overview: the numbers that need attention, each a link to the list behind it, and plots of the last time.
import { get } from "../api.js";
import { count, span } from "../format.js";
import { html } from "../html.js";
import { to } from "../place.js";
import { Plot } from "../plot.js";
import { Chips, Problem, Time, useEvery, useLoaded } from "../ui.js";
import { FirstSteps } from "./first.js";

const RANGES = { hour: 3600, day: 86_400, week: 604_800 };

const stats = (metric, by, since) => get("/v1/stats", { metric, by, since });
const sum = (found, label, value) =>
  (found?.data || []).filter((one) => !label || one.labels[label] === value).reduce((total, one) => total + (one.value ?? one.count), 0);

async function loaded(seconds, may) {
  if (!may("metrics:read")) return { providers: may("jobs:read") ? await get("/v1/providers", { limit: 200 }) : null };
  const since = new Date(Date.now() - seconds * 1000).toISOString();
  const [open, ended, missed, owed, oldest, states, events, took, providers, recent] = await Promise.all([
    stats("jobs_open", "state"),
    stats("jobs", "outcome", since),
    stats("callbacks_missed", "account", since),
    stats("deliveries_owed", "endpoint"),
    stats("delivery_oldest_due_seconds", "endpoint"),
    stats("endpoint_state", "endpoint,state"),
    stats("events", "type", since),
    stats("job_duration_seconds", "", since),
    may("jobs:read") ? get("/v1/providers", { limit: 200 }) : null,
    may("jobs:read") ? get("/v1/jobs", { limit: 1 }) : null,
  ]);
  return { open, ended, missed, owed, oldest, states, events, took, providers, recent };
}

/** A number, and a link to the list behind it where the key may read that. */
function Tile({ label, value, note, link, bad }) {
  const inner = html`<span>${label}</span><strong>${value}</strong>${note && html`<small>${note}</small>`}`;
  const look = `tile ${bad ? "bad" : ""}`;
  return link ? html`<a class=${look} href=${link}>${inner}</a>` : html`<div class=${look}>${inner}</div>`;
}

export function Overview({ place, may }) {
  const range = Object.hasOwn(RANGES, place.query.range) ? place.query.range : "hour";
  const { value, error, again } = useLoaded(() => loaded(RANGES[range], may), [range]);
  useEvery(10, again);
  // Without the scope for it nothing is known of the accounts, which is not the same as none.
  const blocked = value?.providers && value.providers.data.filter((one) => one.blocked);
  if (value?.recent && !value.recent.data.length) return html`<${FirstSteps} providers=${value.providers} may=${may} done=${again} />`;
  return html`<h1>Overview</h1>
    <${Problem} error=${error} />
    ${!may("metrics:read") && html`<p class="empty">Numbers and plots need a key with the scope metrics:read.</p>`}
    ${value && value.open && html`<${Tiles} value=${value} blocked=${blocked} range=${range} may=${may} />`}
    ${value && value.ended && html`<${Chips} label="Time" chosen=${range} options=${Object.keys(RANGES).map((one) => [one, `last ${one}`])} link=${(one) => to("", { range: one })} />
      <div class="plots">
        <${Plot} stats=${value.ended} title="Jobs that ended" name=${(labels) => labels.outcome} />
        <${Plot} stats=${value.events} title="Events" name=${(labels) => labels.type} />
      </div>`}
    ${blocked?.length > 0 && html`<h2>Blocked accounts</h2>
      <ul>${blocked.map((one) => html`<li><a href=${to("providers")}>${one.id}</a>: ${one.blocked_reason}</li>`)}</ul>`}`;
}

function Tiles({ value, blocked, range, may }) {
  const at = (scope, path, query) => may(scope) && to(path, query);
  const jobs = (state) => at("jobs:read", "jobs", { state });
  const unconfirmed = sum(value.open, "state", "unconfirmed");
  const [failed, expired] = ["failed", "expired"].map((one) => sum(value.ended, "outcome", one));
  const missed = sum(value.missed);
  const troubled = value.states.data.filter((one) => one.labels.state !== "active");
  const oldest = Math.max(0, ...value.oldest.data.map((one) => one.value));
  const took = value.took.data[0];
  return html`<section class="tiles" aria-label="Now">
    ${["pending", "submitting", "queued", "running"].map((one) => html`<${Tile} label=${one} value=${count(sum(value.open, "state", one))} link=${jobs(one)} />`)}
    <${Tile} label="unconfirmed" value=${count(unconfirmed)} note="money at risk" bad=${unconfirmed} link=${jobs("unconfirmed")} />
    <${Tile} label="succeeded" value=${count(sum(value.ended, "outcome", "succeeded"))} note=${`last ${range}`} link=${jobs("succeeded")} />
    <${Tile} label="failed" value=${count(failed)} note=${`last ${range}`} bad=${failed} link=${jobs("failed")} />
    <${Tile} label="expired" value=${count(expired)} note=${`last ${range}`} bad=${expired} link=${jobs("expired")} />
    <${Tile} label="time to finish" value=${took ? span(took.p50) : "–"} note=${took ? `p95 ${span(took.p95)}` : "p50"} link=${at("jobs:read", "providers")} />
    <${Tile} label="missed callbacks" value=${count(missed)} note=${`last ${range}`} bad=${missed} link=${at("jobs:read", "providers")} />
    <${Tile} label="deliveries owed" value=${count(sum(value.owed))} note=${oldest ? `oldest due for ${span(oldest)}` : "none past due"} bad=${oldest > 60} link=${at("endpoints:read", "deliveries", { state: "pending" })} />
    <${Tile} label="endpoints in trouble" value=${count(troubled.length)} bad=${troubled.length} link=${at("endpoints:read", "endpoints")} />
    ${blocked && html`<${Tile} label="accounts blocked" value=${count(blocked.length)} bad=${blocked.length} link=${to("providers")} />`}
  </section>`;
}
