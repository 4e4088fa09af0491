// Endpoints: health, owed deliveries, and every action of the API on one.
import { call, get, post } from "../api.js";
import { count, moment, plain, short, span } from "../format.js";
import { html, useState } from "../html.js";
import { to } from "../place.js";
import { Plot } from "../plot.js";
import { Confirmed, Copy, Done, Json, Paged, Problem, State, Table, Time, useAction, useEvery, useLoaded } from "../ui.js";

export function Endpoints({ may }) {
  const [made, again] = useState(0);
  useEvery(15, () => again(made + 1));
  const { value, again: look } = useLoaded(() => may("metrics:read") && standing(), []);
  useEvery(10, look);
  return html`<h1>Endpoints</h1>
    ${may("endpoints:write") && html`<${Create} made=${() => again(made + 1)} />`}
    <${Paged} path="/v1/endpoints" query=${{}} reload=${made} label="Endpoints" empty="no endpoint yet: events are kept in the feed only"
      head=${["Endpoint", "State", "Owed", "URL", "Events", "Description"]} row=${(one) => row(one, value)} />`;
}

/** Return the endpoints in trouble, and the deliveries that each is owed. */
async function standing() {
  const [states, owed] = await Promise.all([
    get("/v1/stats", { metric: "endpoint_state", by: "endpoint,state" }),
    get("/v1/stats", { metric: "deliveries_owed", by: "endpoint" }),
  ]);
  const open = states.data.filter((one) => one.labels.state === "breaker open").map((one) => one.labels.endpoint);
  return { open: new Set(open), owed: new Map(owed.data.map((one) => [one.labels.endpoint, one.value])) };
}

const row = (one, known) => ({
  key: one.id,
  cells: [
    html`<a href=${to(`endpoints/${one.id}`)}><code>${short(one.id)}</code></a>`,
    html`<${State} state=${one.state} />${one.disabled_reason ? ` ${plain(one.disabled_reason, 80)}` : ""}${known?.open?.has(one.id) ? html` <span class="state failed">breaker open</span>` : ""}`,
    known ? count(known.owed.get(one.id)) : "–",
    plain(one.url, 80),
    plain(one.events.join(", "), 80),
    plain(one.description, 80),
  ],
});

function Create({ made }) {
  const { busy, error, done, run } = useAction();
  const submit = async (event) => {
    event.preventDefault();
    const form = event.target;
    const { url, events } = Object.fromEntries(new FormData(form));
    const names = events.split(/[\s,]+/).filter(Boolean);
    const endpoint = await run(() => post("/v1/endpoints", { url, events: names }), (one) => html`Created <code>${one.id}</code>. Its secret, which is shown on its page, too: <code>${one.secret}</code> <${Copy} text=${one.secret} what="the secret" />`);
    if (endpoint) {
      form.reset();
      made();
    }
  };
  return html`<form class="filters" onSubmit=${submit}>
    <label>URL<input name="url" type="url" required placeholder="https://shop.example/hooks" /></label>
    <label>Events<input name="events" value="job.*" required /></label>
    <button class="main" disabled=${busy}>Create</button>
    <${Problem} error=${error} /><${Done} text=${done} />
  </form>`;
}

async function loaded(id, may) {
  const path = `/v1/endpoints/${encodeURIComponent(id)}`;
  const [one, replays, attempts] = await Promise.all([
    get(path),
    get("/v1/replays", { endpoint: id, limit: 20 }),
    may("metrics:read") ? get("/v1/stats", { metric: "delivery_attempts", by: "class", endpoint: id }) : null,
  ]);
  return { one, replays: replays.data, attempts };
}

export function Endpoint({ id, may }) {
  const { value, error, again } = useLoaded(() => loaded(id, may), [id]);
  useEvery(3, again);
  if (!value) return error ? html`<h1>Endpoint</h1><${Problem} error=${error} />` : html`<p class="empty">loading …</p>`;
  const { one, replays, attempts } = value;
  const attempt = one.last_attempt;
  return html`<h1>Endpoint <code>${short(one.id)}</code> <${State} state=${one.state} /></h1>
    <${Problem} error=${error} />
    <dl>
      <dt>URL</dt><dd>${plain(one.url, 300)}</dd>
      <dt>events</dt><dd>${plain(one.events.join(", "))}</dd>
      <dt>owed</dt><dd><a href=${to("deliveries", { endpoint: id, state: "pending" })}>${count(one.owed)}</a>${one.oldest_owed_at ? html`, the oldest since <${Time} at=${one.oldest_owed_at} />` : ""}</dd>
      <dt>breaker</dt><dd>${one.breaker}</dd>
      <dt>failing since</dt><dd><${Time} at=${one.failing_since} /></dd>
      <dt>last attempt</dt><dd>${attempt ? html`<${Time} at=${attempt.at} />: ${plain(attempt.status || attempt.error, 120)}` : "–"}</dd>
      <dt>in flight at most</dt><dd>${one.max_in_flight}${one.rate_limit ? `, ${one.rate_limit} a second` : ""}</dd>
      ${one.disabled_reason && html`<dt>disabled, because</dt><dd>${plain(one.disabled_reason)}</dd>`}
    </dl>
    ${may("endpoints:write") && html`<${Actions} one=${one} again=${again} />`}
    ${attempts && html`<${Plot} stats=${attempts} title="Attempts of the last hour" name=${(labels) => labels.class} />`}
    <h2>Replays</h2>
    ${may("endpoints:write") && html`<${Replay} id=${id} again=${again} />`}
    <${Table} label="Replays" head=${["Started", "State", "Only", "Progress", "Outcome", "Action"]} empty="none yet" rows=${replays.map((replay) => ({
      key: replay.id,
      cells: [
        html`<${Time} at=${replay.created_at} />`,
        html`<${State} state=${replay.state} />`,
        replay.only,
        html`<progress max=${Math.max(replay.total, 1)} value=${ended(replay)} aria-label="Progress"></progress> ${ended(replay)} of ${replay.total}`,
        `${replay.delivered} delivered, ${replay.failed} failed${replay.canceled ? `, ${replay.canceled} canceled` : ""}`,
        replay.state === "running" && may("endpoints:write") && html`<${CancelReplay} id=${id} replay=${replay.id} again=${again} />`,
      ],
    }))} />
    ${may("events:read") && html`<h2>Why did an event not arrive here?</h2><${Why} id=${id} />`}
    ${one.filter && html`<h2>Filter</h2><${Json} label="Filter" value=${one.filter} />`}
    <p><a href=${to("deliveries", { endpoint: id })}>Deliveries to this endpoint</a></p>`;
}

function Actions({ one, again }) {
  const { busy, error, done, run } = useAction();
  const act = (path, text, body) => run(() => post(`/v1/endpoints/${one.id}/${path}`, body), text).then(again);
  const remove = async () => {
    if ((await run(() => call("DELETE", `/v1/endpoints/${one.id}`))) !== undefined) location.hash = to("endpoints");
  };
  const tested = (attempt) =>
    attempt.status ? `It answered the test with ${attempt.status} in ${span(attempt.latency_ms / 1000)}.` : `The test failed: ${plain(attempt.error)}.`;
  const secret = (value) => html`The new secret: <code>${value.secret}</code> <${Copy} text=${value.secret} what="the secret" />. The old one signs beside it until it ends.`;
  return html`<section class="actions" aria-label="Actions">
    <button disabled=${busy} onClick=${() => act("test", tested)}>Send a test</button>
    ${one.state === "active"
      ? html`<button disabled=${busy} onClick=${() => act("pause", "It is paused: its deliveries wait.")}>Pause</button>`
      : html`<button class="main" disabled=${busy} onClick=${() => act("resume", "It takes deliveries again.")}>Resume</button>`}
    ${!one.from_file && html`<${Confirmed} label="Rotate the secret" disabled=${busy} say="A new secret signs beside the present one, which ends after a day." act=${() => act("rotate-secret", secret)} />
      <${Confirmed} label="Delete the endpoint" danger disabled=${busy} say="Its pending deliveries are canceled." act=${remove} />`}
    <${Problem} error=${error} /><${Done} text=${done} />
  </section>`;
}

function Replay({ id, again }) {
  const { busy, error, done, run } = useAction();
  const ask = (form, dry) => {
    const { only, since } = Object.fromEntries(new FormData(form));
    return { only, dry_run: dry, ...(since ? { since: moment(since) } : {}) };
  };
  const start = (event) => {
    event.preventDefault();
    run(() => post(`/v1/endpoints/${id}/replay`, ask(event.target, false)), (made) => `${made.total} events are sent again.`).then(again);
  };
  const look = (event) => run(() => post(`/v1/endpoints/${id}/replay`, ask(event.target.form, true)), (made) => `${made.total} events would be sent again.`);
  return html`<form class="filters" onSubmit=${start}>
    <label>Which<select name="only"><option value="failed">failed</option><option value="missing">missing</option><option value="all">all</option></select></label>
    <label>Since<input name="since" type="datetime-local" /></label>
    <button type="button" disabled=${busy} onClick=${look}>Count them</button>
    <button class="main" disabled=${busy}>Replay</button>
    <${Problem} error=${error} /><${Done} text=${done} />
  </form>`;
}

const ended = (replay) => replay.delivered + replay.failed + replay.canceled;

function CancelReplay({ id, replay, again }) {
  const { busy, run } = useAction();
  return html`<button disabled=${busy} onClick=${() => run(() => post(`/v1/replays/${replay}/cancel`)).then(again)}>Cancel</button>`;
}

function Why({ id }) {
  const { busy, error, run } = useAction();
  const [found, set] = useState(null);
  const ask = async (event) => {
    event.preventDefault();
    const { event: name } = Object.fromEntries(new FormData(event.target));
    set(null);
    const both = await run(async () => {
      const one = await get(`/v1/events/${encodeURIComponent(name.trim())}`);
      return [one, await post(`/v1/endpoints/${id}/explain`, { event: one.id })];
    });
    if (both) set(both);
  };
  const place = found?.[0].deliveries?.find((one) => one.endpoint === id);
  return html`<form class="inline" onSubmit=${ask}>
    <label>Id of the event <input name="event" required placeholder="evt_…" /></label><button disabled=${busy}>Explain</button>
  </form>
  <${Problem} error=${error} />
  ${found && html`<p class="done" role="status">${place ? `Its delivery here: ${place.status}${place.reason ? ` (${plain(place.reason)})` : ""}. ` : ""}The endpoint ${found[1].matches ? "takes" : "does not take"} it: ${plain(found[1].because)}${found[1].clause ? ` (${plain(found[1].clause)})` : ""}.</p>`}`;
}
