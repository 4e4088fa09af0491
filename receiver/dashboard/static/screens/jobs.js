// Jobs: one list with filters in the address, live until it is paused.
import { moment, plain, short } from "../format.js";
import { html, useRef, useState } from "../html.js";
import { useEvents } from "../live.js";
import { to } from "../place.js";
import { Chips, Paged, Problem, State, Time, useEvery } from "../ui.js";

const STATES = ["pending", "submitting", "unconfirmed", "queued", "running", "succeeded", "failed", "canceled", "expired"];
const MOST = 300;
const FIELDS = [
  ["provider", "Account"],
  ["provider_job_id", "Id at the provider"],
  ["metadata", "Metadata (key=value)"],
  ["created_after", "Created after"],
  ["created_before", "Created before"],
];

/** Return the query of the API for the filters in the address. */
export function asked(query) {
  const [key, ...rest] = (query.metadata || "").split("=");
  const { metadata, ...others } = query;
  const times = Object.fromEntries(
    ["created_after", "created_before"].filter((name) => others[name]).map((name) => [name, moment(others[name])]),
  );
  return { ...others, ...times, ...(key ? { [`metadata.${key}`]: rest.join("=") } : {}) };
}

/** Return whether a filter cannot be asked for: it would be left out, and every job would seem to fit. */
export const unfit = (query) => Boolean(query.metadata) && !/^[^=]+=./.test(query.metadata);

/** Return the newer of two states of a job: an event may be older than the list that was read after it. */
const newer = (event, job) => (event && event.updated_at >= job.updated_at ? event : job);

/**
 * Return a list with the newest states: jobs of events replace theirs, new ones stand in front. One that events told
 * of before the last two readings of the list and that is not in it was erased.
 */
export function merged(jobs, fresh, query, turn = 0) {
  const known = new Set(jobs.map((one) => one.id));
  const plainList = !Object.entries(query).some(([name, value]) => value && name !== "state" && name !== "provider");
  const fits = (job) => (!query.state || job.state === query.state) && (!query.provider || job.provider === query.provider);
  const added = plainList ? [...fresh.values()].filter((one) => !known.has(one.id) && (one.heard ?? turn) >= turn - 1) : [];
  return [...added, ...jobs.map((one) => newer(fresh.get(one.id), one))].filter(fits).sort((a, b) => (a.id < b.id ? 1 : -1));
}

/** Return the jobs that events told of, with one more: the latest ones of a bounded number. */
function newest(jobs, job) {
  const kept = new Map(jobs);
  kept.delete(job.id);
  kept.set(job.id, job);
  if (kept.size > MOST) kept.delete(kept.keys().next().value);
  return kept;
}

export function Jobs({ place, may }) {
  const { query } = place;
  const [paused, pause] = useState(false);
  const [fresh, set] = useState(new Map());
  const [turn, again] = useState(0);
  const present = useRef(turn);
  present.current = turn;
  useEvents((event) => {
    if (event.data?.object === "job") set((before) => newest(before, { ...event.data, heard: present.current }));
  }, paused);
  // No event tells of a job that waits: the list is read again, often where there is no event stream at all.
  useEvery(may("events:read") ? 15 : 5, () => paused || again(turn + 1));
  const toggle = () => {
    pause(!paused);
    // What came before the pause may be outdated, or erased.
    set(new Map());
    again(turn + 1);
  };
  const filter = (event) => {
    event.preventDefault();
    location.hash = to("jobs", { ...Object.fromEntries(new FormData(event.target)), state: query.state });
  };
  return html`<h1>Jobs</h1>
    <${Chips} label="State" chosen=${query.state} options=${[["", "all"], ...STATES.map((one) => [one, one])]} link=${(state) => to("jobs", { ...query, state })} />
    <p><button type="button" aria-pressed=${paused} onClick=${toggle}>${paused ? "Go on live" : "Pause"}</button></p>
    <details class="filter" open=${FIELDS.some(([name]) => query[name])}><summary>Filters</summary>
    <form class="filters" onSubmit=${filter}>
      ${FIELDS.map(([name, label]) => html`<label>${label}<input name=${name} type=${name.startsWith("created") ? "datetime-local" : "text"} value=${query[name] || ""} /></label>`)}
      <button>Filter</button> <a href="#/jobs">Clear</a>
    </form></details>
    ${unfit(query) ? html`<${Problem} error=${new Error("Metadata: write key=value, both of them.")} />`
      : html`<${Paged} path="/v1/jobs" query=${asked(query)} reload=${turn} merge=${(jobs) => merged(jobs, fresh, query, turn)} label="Jobs"
      head=${["Job", "State", "Account", "Operation", "Metadata", "Created", "Updated"]}
      empty="no job fits" row=${row} />`}`;
}

const row = (job) => ({
  key: job.id,
  cells: [
    html`<a href=${to(`jobs/${job.id}`)} title=${job.id}><code>${short(job.id)}</code></a>`,
    html`<${State} state=${job.state} />${job.progress !== null && job.state === "running" ? ` ${Math.round(job.progress)} %` : ""}`,
    job.provider,
    plain(job.operation, 60),
    plain(Object.entries(job.metadata).map(([key, value]) => `${key}=${value}`).join(" "), 80),
    html`<${Time} at=${job.created_at} />`,
    html`<${Time} at=${job.updated_at} />`,
  ],
});
