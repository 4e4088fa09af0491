// Deliveries: a list, and one with its attempts and an honest retry.
import { get, post } from "../api.js";
import { plain, short, span } from "../format.js";
import { html, useState } from "../html.js";
import { to } from "../place.js";
import { Chips, Confirmed, Done, Paged, Problem, State, Table, Time, useAction, useEvery, useLoaded } from "../ui.js";

const STATES = ["pending", "delivered", "exhausted", "canceled"];

export function Deliveries({ place }) {
  const { query } = place;
  const [turn, again] = useState(0);
  useEvery(15, () => again(turn + 1));
  return html`<h1>Deliveries</h1>
    <${Chips} label="State" chosen=${query.state} options=${[["", "all"], ...STATES.map((one) => [one, one])]} link=${(state) => to("deliveries", { ...query, state })} />
    ${query.endpoint && html`<p>of endpoint <a href=${to(`endpoints/${query.endpoint}`)}>${query.endpoint}</a> <a href=${to("deliveries", { state: query.state })}>all endpoints</a></p>`}
    <${Paged} path="/v1/deliveries" query=${query} reload=${turn} label="Deliveries" empty="no delivery fits"
      head=${["Delivery", "State", "Event", "To", "Attempts", "Last", "Next"]} row=${row} />`;
}

const target = (one) => (one.endpoint ? html`<a href=${to(`endpoints/${one.endpoint}`)}>${short(one.endpoint)}</a>` : plain(one.url, 60));
const last = (one) => (one.last_status || one.last_error ? plain(one.last_status || one.last_error, 60) : "–");

const row = (one) => ({
  key: one.id,
  cells: [
    html`<a href=${to(`deliveries/${one.id}`)}><code>${short(one.id)}</code></a>`,
    html`<${State} state=${one.state} />`,
    html`<a href=${to(`events/${one.event}`)}>${one.type}</a>`,
    target(one),
    one.attempts_made,
    last(one),
    html`<${Time} at=${one.next_attempt_at} />`,
  ],
});

export function Delivery({ id, may }) {
  const { value: one, error, again } = useLoaded(() => get(`/v1/deliveries/${encodeURIComponent(id)}`), [id]);
  const { busy, error: failed, done, run } = useAction();
  useEvery(2, () => one?.state === "pending" && again());
  if (!one) return error ? html`<h1>Delivery</h1><${Problem} error=${error} />` : html`<p class="empty">loading …</p>`;
  const retry = async () => {
    const before = one.attempts_made;
    if ((await run(() => post(`/v1/deliveries/${id}/retry`))) === undefined) return;
    await run(() => settled(id, before), (now) => (now.attempts_made > before ? outcome(now) : now.waits));
    again();
  };
  const cancel = () => run(() => post(`/v1/deliveries/${id}/cancel`), "It is canceled.").then(again);
  return html`<h1>Delivery <code>${short(one.id)}</code> <${State} state=${one.state} /></h1>
    <dl>
      <dt>event</dt><dd><a href=${to(`events/${one.event}`)}>${one.type}</a></dd>
      <dt>to</dt><dd>${target(one)}</dd>
      ${one.job && html`<dt>job</dt><dd><a href=${to(`jobs/${one.job}`)}>${one.job}</a></dd>`}
      ${one.reason && html`<dt>reason</dt><dd>${plain(one.reason)}</dd>`}
      <dt>next attempt</dt><dd><${Time} at=${one.next_attempt_at} /></dd>
    </dl>
    ${may("endpoints:write") && html`<section class="actions" aria-label="Actions">
      <button class="main" disabled=${busy} onClick=${retry}>Retry now</button>
      ${one.state === "pending" && html`<${Confirmed} label="Cancel it" danger disabled=${busy} say="This event is not sent to this target any more." act=${cancel} />`}
    </section>`}
    <${Problem} error=${failed || error} /><${Done} text=${done} />
    <h2>Attempts</h2>
    <${Table} label="Attempts" head=${["Time", "Answer", "Took", "Body"]} empty="none yet"
      rows=${one.attempts.map((attempt) => ({
        key: attempt.id,
        cells: [html`<${Time} at=${attempt.at} />`, plain(attempt.status || attempt.error, 120), span(attempt.latency_ms / 1000), html`<code>${plain(attempt.answer, 300)}</code>`],
      }))} />`;
}

const outcome = (now) => {
  const attempt = now.attempts.at(-1);
  return now.state === "delivered" ? `Delivered: it was answered ${attempt.status}.` : `Not delivered: ${attempt.status ? `it was answered ${attempt.status}` : plain(attempt.error)}.`;
};

/** Return the delivery once it has another attempt, or as it is after some seconds, with what it waits for. */
async function settled(id, before) {
  let one;
  for (let look = 0; look < 40; look++) {
    one = await get(`/v1/deliveries/${id}`);
    if (one.attempts_made > before) return one;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  const endpoint = one.endpoint && (await get(`/v1/endpoints/${one.endpoint}`));
  const held = endpoint && endpoint.state !== "active";
  return { ...one, waits: held ? `It waits: its endpoint is ${endpoint.state}. Resume it there.` : "It is due and waits for its turn." };
}
