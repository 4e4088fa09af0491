// Providers: the work of each account, its speed and its errors.
import { get } from "../api.js";
import { count, plain, span } from "../format.js";
import { html } from "../html.js";
import { to } from "../place.js";
import { Problem, Table, Time, useEvery, useLoaded } from "../ui.js";

const DAY = 86_400_000;

async function loaded(may) {
  const providers = await get("/v1/providers", { limit: 200 });
  if (!may("metrics:read")) return { providers: providers.data };
  const since = new Date(Date.now() - DAY).toISOString();
  const [took, open] = await Promise.all([
    get("/v1/stats", { metric: "job_duration_seconds", by: "account", since }),
    get("/v1/stats", { metric: "jobs_open", by: "account,state" }),
  ]);
  return { providers: providers.data, took: took.data, open: open.data };
}

export function Providers({ may }) {
  const { value, error, again } = useLoaded(() => loaded(may), []);
  useEvery(10, again);
  const used = (value?.providers || []).filter((one) => one.on).sort((a, b) => b.health.submissions - a.health.submissions || (a.id < b.id ? -1 : 1));
  return html`<h1>Providers</h1>
    <${Problem} error=${error} />
    ${value && html`<p>The counts, p50 and p95 are those of the last hour, the distribution that of the last day; calls and jobs are those under way, of the most at once.</p>
    <${Table} label="Providers" empty="no account has an API key"
      head=${["Account", "State", "Submitted", "Callbacks", "Missed", "Polls", "Errors", "Calls", "Jobs", "p50", "p95", "Time to finish"]}
      rows=${used.map((one) => row(one, value))} />`}`;
}

function row(one, { took, open }) {
  const mine = took?.find((series) => series.labels.account === one.id);
  const running = open?.filter((series) => series.labels.account === one.id && ["queued", "running"].includes(series.labels.state)).reduce((sum, series) => sum + series.value, 0);
  const { health } = one;
  return {
    key: one.id,
    cells: [
      html`<a href=${to("jobs", { provider: one.id })}>${one.id}</a> <small>${one.handler === one.id ? "" : one.handler}</small>`,
      one.blocked ? html`<span class="state failed">blocked</span> since <${Time} at=${one.blocked_at} />: ${plain(one.blocked_reason, 120)}` : html`<span class="state succeeded">works</span>`,
      count(health.submissions),
      `${count(health.callbacks)}${health.callbacks_refused ? `, ${count(health.callbacks_refused)} refused` : ""}`,
      count(health.callbacks_missed),
      count(health.polls),
      `${(health.error_rate * 100).toFixed(1)} %`,
      `${count(one.in_flight)} of ${count(one.limits.max_in_flight)}`,
      running === undefined ? "–" : one.limits.max_jobs ? `${count(running)} of ${count(one.limits.max_jobs)}` : count(running),
      span(health.seconds_to_finish.p50),
      span(health.seconds_to_finish.p95),
      mine ? html`<${Distribution} buckets=${mine.buckets} />` : "–",
    ],
  };
}

const bound = (le) => (le === null ? "longer" : `up to ${span(le)}`);

function Distribution({ buckets }) {
  const most = Math.max(...buckets.map((one) => one.count));
  return html`<span class="bars" role="img" aria-label=${buckets.map((one) => `${bound(one.le)}: ${one.count}`).join(", ")}>
    ${buckets.map((one) => html`<i title=${`${bound(one.le)}: ${one.count}`} style=${{ height: `${Math.max(8, (100 * one.count) / most)}%` }}></i>`)}
  </span>`;
}
