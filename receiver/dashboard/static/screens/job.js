// A job: its waterfall, its end and the reason, its files, and its actions.
import { call, get, post } from "../api.js";
import { between, count, plain, short, span, through } from "../format.js";
import { html, useState } from "../html.js";
import { useEvents } from "../live.js";
import { to } from "../place.js";
import { Confirmed, Copy, Done, Json, Paged, Problem, State, Table, Time, useAction, useEvery, useLoaded } from "../ui.js";
import { Waterfall } from "../waterfall.js";

const FINAL = ["succeeded", "failed", "canceled", "expired"];
const MOST = 2000;
const BY = {
  callback: "the provider's callback",
  poll: "a poll of the provider",
  submit: "the answer to its submission",
  deadline: "its deadline",
  cancel: "a cancellation",
  operator: "an operator",
};

/** Return the sentence that says how a job stands and why. */
export function sentence(job) {
  if (!job.completed_at) {
    if (job.state === "unconfirmed") return "The answer to its submission was lost: the provider may have the job and charge for it. A callback, or you, can resolve it.";
    return job.waiting ? `It waits (${job.waiting.reason.replaceAll("_", " ")}): ${plain(job.waiting.detail)}` : `It is ${job.state} since ${span(between(job.updated_at, new Date().toISOString()))}.`;
  }
  const took = span(between(job.created_at, job.completed_at));
  const why = job.error ? ` ${plain(job.error.message, 500)} (${job.error.code})` : "";
  return `It ${job.state === "succeeded" ? "succeeded" : job.state === "expired" ? "expired" : job.state === "failed" ? "failed" : "was canceled"} after ${took}, as ${BY[job.completed_by] || "the service"} told.${why}`;
}

async function loaded(id) {
  const job = await get(`/v1/jobs/${encodeURIComponent(id)}`);
  const entries = [];
  let cursor;
  do {
    const page = await get(`/v1/jobs/${encodeURIComponent(id)}/timeline`, { limit: 200, cursor });
    entries.push(...page.data);
    cursor = page.next_cursor;
  } while (cursor && entries.length < MOST);
  return { job, entries, more: Boolean(cursor) };
}

export function Job({ id, may }) {
  const { value, error, again } = useLoaded(() => loaded(id), [id]);
  useEvents((event) => event.data?.id === id && again());
  // Polls and attempts make no event.
  useEvery(2, () => value && (!value.job.completed_at || value.entries.some((one) => one.kind === "delivery" && one.state === "pending")) && again());
  if (!value) return error ? html`<h1>Job</h1><${Problem} error=${error} />` : html`<p class="empty">loading …</p>`;
  const { job, entries, more } = value;
  return html`<h1>Job <code>${short(job.id)}</code> <${State} state=${job.state} /></h1>
    <${Problem} error=${error} />
    <p class="sentence">${sentence(job)}</p>
    <${Waterfall} job=${job} entries=${entries} />
    <${Actions} job=${job} may=${may} again=${again} />
    <${Files} job=${job} />
    <div class="columns">
      <section><h2>Facts</h2><${Facts} job=${job} /></section>
      <section><h2>Input</h2><${Json} label="Input" value=${job.input} /></section>
      ${job.result && html`<section><h2>Result</h2><${Json} label="Result" value=${job.result} /></section>`}
    </div>
    <${Messages} id=${job.id} />
    <h2>Timeline</h2>
    ${more && html`<p>The first ${count(MOST)} entries.</p>`}
    <${Table} label="Timeline" head=${["Time", "After", "Kind", "What"]} empty="nothing happened yet" rows=${entries.map((one, place) => ({ key: place, cells: [html`<${Time} at=${one.at} />`, span(between(job.created_at, one.at)), one.kind, said(one)] }))} />`;
}

// The provider's messages as they came, read when they are asked for.
function Messages({ id }) {
  const [open, set] = useState(false);
  const row = (one) => ({
    key: one.id,
    cells: [html`<${Time} at=${one.at} />`, one.outcome, plain(Object.entries(one.headers).map((pair) => pair.join(": ")).join("\n")), html`<pre tabindex="0" aria-label="Body">${plain(one.body, 20_000)}</pre>${one.cut && "cut"}`],
  });
  return html`<details onToggle=${(event) => set(event.target.open)}><summary>Raw messages of the provider</summary>
    ${open && html`<${Paged} path=${`/v1/jobs/${id}/messages`} query=${{}} label="Raw messages" head=${["Time", "Outcome", "Headers", "Body"]} empty="none is kept" row=${row} />`}
  </details>`;
}

function said(entry) {
  const { at, kind, delivery, event, ...rest } = entry;
  const links = [
    event && html`<a href=${to(`events/${event}`)}>event</a> `,
    delivery && html`<a href=${to(`deliveries/${delivery}`)}>delivery</a> `,
  ];
  const words = Object.entries(rest).filter(([, value]) => value !== null && value !== undefined);
  return html`${links}${plain(words.map(([name, value]) => `${name.replaceAll("_", " ")}: ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", "), 400)}`;
}

function Facts({ job }) {
  const facts = [
    ["id", html`<code>${job.id}</code> <${Copy} text=${job.id} what="the id" />`],
    ["account", job.provider],
    ["operation", plain(job.operation, 200)],
    ["id at the provider", plain(job.provider_job_id || "–", 200)],
    ["created", html`<${Time} at=${job.created_at} />`],
    ["deadline", html`<${Time} at=${job.deadline_at} />`],
    ["ended", html`<${Time} at=${job.completed_at} />`],
    ["usage", plain(job.usage ? JSON.stringify(job.usage) : "–")],
    ...Object.entries(job.metadata).map(([key, value]) => [plain(key, 60), plain(value)]),
  ];
  return html`<dl>${facts.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
}

function Files({ job }) {
  if (!job.assets.length) return null;
  return html`<h2>Files</h2><div class="files">
    ${job.assets.map((one) => html`<figure key=${one.index}>
      ${one.url === null ? html`<p class="empty">its link was revoked</p>` : html`<${Shown} asset=${one} />`}
      <figcaption>${one.kind} ${one.index + 1}${one.width ? `, ${one.width} × ${one.height}` : ""}${one.duration ? `, ${span(one.duration)}` : ""} ${one.url && html`<a href=${through(one.url)} download>download</a>`}</figcaption>
    </figure>`)}
  </div>`;
}

function Shown({ asset }) {
  const [bad, set] = useState(false);
  const source = through(asset.url);
  if (bad) return html`<p class="empty">it cannot be shown; the provider may have deleted it</p>`;
  if (asset.kind === "image") return html`<img src=${source} alt=${`image ${asset.index + 1} of the job`} loading="lazy" onError=${() => set(true)} />`;
  if (asset.kind === "video") return html`<video src=${source} controls preload="none" onError=${() => set(true)}></video>`;
  if (asset.kind === "audio") return html`<audio src=${source} controls preload="none" onError=${() => set(true)}></audio>`;
  return html`<p class="empty">a file</p>`;
}

function Actions({ job, may, again }) {
  const { busy, error, done, run } = useAction();
  const [theirs, name] = useState("");
  if (!may("jobs:write")) return null;
  const act = (path, body, text) => run(() => post(`/v1/jobs/${job.id}/${path}`, body), text).then(again);
  const erase = async () => {
    if ((await run(() => call("DELETE", `/v1/jobs/${job.id}`), "It is erased.")) !== undefined) location.hash = to("jobs");
  };
  return html`<section class="actions" aria-label="Actions">
    ${!FINAL.includes(job.state) && html`<${Confirmed} label="Cancel the job" disabled=${busy} danger say="The job becomes canceled. The provider is asked to stop where it can be; it may charge for the work so far." act=${() => act("cancel", undefined, "It is canceled.")} />`}
    ${job.state === "unconfirmed" && html`
      <form class="inline" onSubmit=${(event) => { event.preventDefault(); act("resolve", { provider_job_id: theirs }, "It is bound to the id: polls follow it now."); }}>
        <label>Id at the provider <input value=${theirs} onInput=${(event) => name(event.target.value)} required /></label><button disabled=${busy}>Bind</button>
      </form>
      <${Confirmed} label="Submit again" disabled=${busy} danger say="A second request goes out. If the provider accepted the first one, both are generated and both are charged." act=${() => act("resolve", { resubmit: true }, "It is submitted again.")} />
      <${Confirmed} label="Give it up" disabled=${busy} danger say="The job fails with the code lost. If the provider accepted it, it charges for a result that is not fetched." act=${() => act("resolve", { fail: true }, "It failed.")} />`}
    ${FINAL.includes(job.state) && html`<${Confirmed} label="Erase the job" disabled=${busy} danger say="The job goes with its events, deliveries and files' links. Nothing brings it back." act=${erase} />`}
    <${Problem} error=${error} /><${Done} text=${done} />
  </section>`;
}
