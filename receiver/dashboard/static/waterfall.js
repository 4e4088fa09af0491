// A job on one time axis. `laid` is pure: entries of the timeline into rows of marks and bars.
import { span, time } from "./format.js";
import { html, useMemo } from "./html.js";

const LEAST_GAP = 2;

/** Return a function from a moment (ms) to its place from 0 to 1, and the idle times that were shortened. */
export function scale(moments) {
  const sorted = [...new Set(moments)].sort((a, b) => a - b);
  const gaps = sorted.slice(1).map((at, index) => at - sorted[index]);
  const busy = [...gaps].sort((a, b) => a - b);
  const cap = Math.max(busy[Math.floor(busy.length * 0.75)] || 0, LEAST_GAP * 1000);
  const widths = gaps.map((gap) => Math.min(gap, cap));
  const total = widths.reduce((sum, width) => sum + width, 0) || 1;
  const places = [0];
  for (const width of widths) places.push(places.at(-1) + width / total);
  const idle = gaps.flatMap((gap, index) =>
    gap > cap ? [{ from: places[index], to: places[index + 1], seconds: gap / 1000 }] : [],
  );
  const place = (at) => {
    let low = 0;
    let high = sorted.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (sorted[middle] <= at) low = middle;
      else high = middle - 1;
    }
    const gap = gaps[low];
    return gap ? places[low] + (Math.min(Math.max(at - sorted[low], 0), gap) / gap) * (places[low + 1] - places[low]) : places[low];
  };
  return { place, idle };
}

const ms = (moment) => Date.parse(moment);
const ROWS = { submission: "submission", callback: "callbacks", poll: "polls", note: "notes", event: "events" };

/** Return an entry in words. */
function told(one) {
  if (one.kind === "delivery") return `${one.state} delivery, due ${time(one.at)}`;
  if (one.kind === "attempt") return `attempt at ${time(one.at)}: ${one.status || one.error} in ${span(one.latency_ms / 1000)}`;
  const words = [one.type, one.outcome, one.phase].filter(Boolean).join(", ");
  return `${one.kind} at ${time(one.at)}: ${words}${one.count > 1 ? `, ${one.count} times` : ""}`;
}

/** Return the rows of a job's waterfall: states as bars, entries as marks, and a row for each target. */
export function laid(job, entries, now) {
  const end = job.completed_at ? ms(job.completed_at) : now;
  const at = entries.map((one) => ms(one.at));
  const moments = [ms(job.created_at), end, ...at, ...entries.filter((one) => one.last_at).map((one) => ms(one.last_at))];
  const { place, idle } = scale(moments);
  const states = [];
  let from = ms(job.created_at);
  let state = "pending";
  for (const one of entries.filter((entry) => entry.kind === "update")) {
    states.push({ from: place(from), to: place(ms(one.at)), state });
    [from, state] = [ms(one.at), one.to];
  }
  states.push({ from: place(from), to: place(Math.max(end, from)), state });
  const rows = new Map([["state", { name: "state", bars: states, marks: [] }]]);
  const row = (name) => {
    if (!rows.has(name)) rows.set(name, { name, bars: [], marks: [] });
    return rows.get(name);
  };
  const targets = new Map();
  for (const [index, one] of entries.entries()) {
    const mark = { at: place(at[index]), entry: one };
    if (one.kind === "delivery") {
      const name = one.endpoint || "callback URL";
      targets.set(one.delivery, { name, last: mark.at });
      row(name).marks.push({ ...mark, kind: `delivery ${one.state}` });
    } else if (one.kind === "attempt") {
      const target = targets.get(one.delivery) || { name: "deliveries", last: mark.at };
      const good = one.status >= 200 && one.status < 300;
      row(target.name).bars.push({ from: target.last, to: mark.at, state: "wait" });
      row(target.name).marks.push({ ...mark, kind: good ? "good" : "bad" });
      targets.set(one.delivery, { ...target, last: mark.at });
    } else if (ROWS[one.kind]) {
      const bad = ["refused", "error", "unparsed", "contradiction", "mismatch"].includes(one.outcome);
      row(ROWS[one.kind]).marks.push({ ...mark, kind: bad ? "bad" : one.kind });
      if (one.last_at) row(ROWS[one.kind]).bars.push({ from: mark.at, to: place(ms(one.last_at)), state: "wait" });
    }
  }
  return { rows: [...rows.values()], idle, last: moments.reduce((latest, one) => Math.max(latest, one)) };
}

/** Give the mark under the pointer its title: to write all of them took a third of the time to draw. */
function explain({ target }, rows) {
  if (!target.matches(".mark")) return;
  const lane = target.closest(".lane");
  const { marks } = rows[[...lane.parentNode.children].indexOf(lane)];
  target.title = told(marks[[...lane.querySelectorAll(".mark")].indexOf(target)].entry);
}

const percent = (share) => `${(share * 100).toFixed(3)}%`;

/** The waterfall of a job. The list below it says the same in words. */
export function Waterfall({ job, entries }) {
  const { rows, idle, last } = useMemo(() => laid(job, entries, Date.now()), [job, entries]);
  const took = job.completed_at ? (ms(job.completed_at) - ms(job.created_at)) / 1000 : null;
  return html`<div class="waterfall" role="img" onMouseOver=${(event) => explain(event, rows)} aria-label=${`Time axis of the job: ${entries.length} entries${took === null ? "" : ` in ${span(took)}`}`}>
    ${rows.map(
      (row) => html`<div class="lane" key=${row.name}>
        <span class="name" title=${row.name}>${row.name}</span>
        <span class="track">
          ${row.bars.map((bar) => html`<i class=${`bar ${bar.state}`} title=${bar.state} style=${{ left: percent(bar.from), width: percent(Math.max(bar.to - bar.from, 0)) }}></i>`)}
          ${row.marks.map((mark) => html`<b class=${`mark ${mark.kind}`} style=${{ left: percent(mark.at) }}></b>`)}
        </span>
      </div>`,
    )}
    <div class="lane axis"><span class="name"></span><span class="track">
      <span class="first">${time(job.created_at)}</span>
      ${idle.map((one) => html`<em title=${`${span(one.seconds)} without anything, shortened`} style=${{ left: percent(one.from), width: percent(one.to - one.from) }}>⋯ ${span(one.seconds)}</em>`)}
      <span class="last">${job.completed_at ? time(new Date(last).toISOString()) : "now"}</span>
    </span></div>
  </div>`;
}
