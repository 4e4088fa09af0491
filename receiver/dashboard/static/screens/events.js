// Events as they come, and one event with its outcome at every endpoint.
import { get } from "../api.js";
import { plain, short } from "../format.js";
import { html, useEffect, useState } from "../html.js";
import { useEvents } from "../live.js";
import { to } from "../place.js";
import { Json, Problem, State, Table, Time, useAction, useLoaded } from "../ui.js";

const MOST = 500;

/** Return the end of the feed: its last page, newest first. */
async function newest(type) {
  const since = new Date(Date.now() - 3_600_000).toISOString();
  let found = [];
  let after = since;
  for (let page = 0; page < 20; page++) {
    const answer = await get("/v1/events", { after, type, limit: 200 });
    found = [...found, ...answer.data].slice(-MOST);
    if (!answer.has_more) break;
    after = answer.next_cursor;
  }
  return found.reverse();
}

export function Events({ place }) {
  const { type } = place.query;
  const [paused, pause] = useState(false);
  const [items, set] = useState([]);
  const { error, run } = useAction();
  useEffect(() => {
    run(() => newest(type)).then((found) => found && set(found));
  }, [type]);
  useEvents((event) => fits(event.type, type) && set((before) => [event, ...before.filter((one) => one.id !== event.id)].slice(0, MOST)), paused);
  const filter = (event) => {
    event.preventDefault();
    location.hash = to("events", Object.fromEntries(new FormData(event.target)));
  };
  return html`<h1>Events</h1>
    <form class="filters" onSubmit=${filter}>
      <label>Type<input name="type" value=${type || ""} placeholder="job.*" /></label><button>Filter</button>
      <button type="button" aria-pressed=${paused} onClick=${() => pause(!paused)}>${paused ? "Go on live" : "Pause"}</button>
    </form>
    <${Problem} error=${error} />
    <p>The newest of the last hour, and each one that comes.</p>
    <${Table} label="Events" head=${["Time", "Type", "About", "Event"]} empty="nothing in the last hour" rows=${items.map((one) => ({
      key: one.id,
      cells: [html`<${Time} at=${one.timestamp} />`, one.type, about(one), html`<a href=${to(`events/${one.id}`)}><code>${short(one.id)}</code></a>`],
    }))} />`;
}

const fits = (type, pattern) => !pattern || type === pattern || (pattern.endsWith("*") && type.startsWith(pattern.slice(0, -1)));

const about = (event) => {
  const { data } = event;
  if (data.object === "job") return html`<a href=${to(`jobs/${data.id}`)}>${short(data.id)}</a> ${plain(data.provider, 40)}`;
  if (data.object === "endpoint") return html`<a href=${to(`endpoints/${data.id}`)}>${short(data.id)}</a>`;
  return plain(data.provider || data.source || data.id || "", 60);
};

export function Event({ id }) {
  const { value: one, error } = useLoaded(() => get(`/v1/events/${encodeURIComponent(id)}`), [id]);
  if (!one) return error ? html`<h1>Event</h1><${Problem} error=${error} />` : html`<p class="empty">loading …</p>`;
  return html`<h1>Event <code>${short(one.id)}</code></h1>
    <dl><dt>type</dt><dd>${one.type}</dd><dt>time</dt><dd><${Time} at=${one.timestamp} /></dd><dt>about</dt><dd>${about(one)}</dd></dl>
    <h2>Where it went</h2>
    <${Table} label="Where it went" head=${["Target", "Outcome", "Reason", "Delivery"]} empty="there is no endpoint" rows=${(one.deliveries || []).map((place, number) => ({
      key: number,
      cells: [
        place.endpoint ? html`<a href=${to(`endpoints/${place.endpoint}`)}>${short(place.endpoint)}</a>` : "the job's callback URL",
        html`<${State} state=${place.status} />`,
        plain(place.reason || ""),
        place.delivery ? html`<a href=${to(`deliveries/${place.delivery}`)}>${short(place.delivery)}</a>` : "",
      ],
    }))} />
    <h2>Body</h2><${Json} label="Body" value=${{ type: one.type, timestamp: one.timestamp, data: one.data }} />`;
}
