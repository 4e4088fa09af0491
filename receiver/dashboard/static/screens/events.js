// Events as they come, and one event with its outcome at every endpoint.
import { get } from "../api.js";
import { plain, short } from "../format.js";
import { html, useEffect, useState } from "../html.js";
import { useEvents } from "../live.js";
import { to } from "../place.js";
import { Json, Problem, State, Table, Time, useAction, useEvery, useLoaded } from "../ui.js";

const MOST = 500;
const ENOUGH = 50;
const PAGES = 5;
// Seconds, the shortest first: on a busy deployment it holds the newest events, and a longer one too many.
const WINDOWS = [10, 60, 600, 3600];

/** Return the end of the feed, newest first: the feed is read forward, so from a moment that is not long ago. */
async function newest(type) {
  let found = [];
  for (const seconds of WINDOWS) {
    let after = new Date(Date.now() - 1000 * seconds).toISOString();
    let more = true;
    found = [];
    for (let page = 0; more && page < PAGES; page++) {
      const answer = await get("/v1/events", { after, type, limit: 200 });
      found.push(...answer.data);
      more = answer.has_more;
      after = answer.next_cursor;
    }
    if (more || found.length >= ENOUGH) break;
  }
  return found.slice(-MOST).reverse();
}

export function Events({ place }) {
  const { type } = place.query;
  const [paused, pause] = useState(false);
  const [turn, again] = useState(0);
  const [items, set] = useState([]);
  const { error, run } = useAction();
  useEffect(() => {
    let current = true;
    // Events that came meanwhile stay.
    run(() => newest(type)).then((found) => found && current && set((live) => joined(live, found)));
    return () => {
      current = false;
      set([]);
    };
  }, [type, turn]);
  const toggle = () => {
    // Those of the pause are read from the feed.
    if (paused) again(turn + 1);
    pause(!paused);
  };
  useEvents((event) => fits(event.type, type) && set((before) => joined([event], before)), paused);
  const filter = (event) => {
    event.preventDefault();
    location.hash = to("events", Object.fromEntries(new FormData(event.target)));
  };
  return html`<h1>Events</h1>
    <form class="filters" onSubmit=${filter}>
      <label>Type<input name="type" value=${type || ""} placeholder="job.*" /></label><button>Filter</button>
      <button type="button" aria-pressed=${paused} onClick=${toggle}>${paused ? "Go on live" : "Pause"}</button>
    </form>
    <${Problem} error=${error} />
    <p>The newest of the last hour, and each one that comes.</p>
    <${Table} label="Events" head=${["Time", "Type", "About", "Event"]} empty="nothing in the last hour" rows=${items.map((one) => ({
      key: one.id,
      cells: [html`<${Time} at=${one.timestamp} />`, one.type, about(one), html`<a href=${to(`events/${one.id}`)}><code>${short(one.id)}</code></a>`],
    }))} />`;
}

/** Return the events of the stream with those that were read, each once, newest first. */
function joined(live, found) {
  const known = new Set(live.map((one) => one.id));
  return [...live, ...found.filter((one) => !known.has(one.id))].slice(0, MOST);
}

const fits = (type, pattern) => !pattern || type === pattern || (pattern.endsWith("*") && type.startsWith(pattern.slice(0, -1)));

const about = (event) => {
  const { data } = event;
  if (data.object === "job") return html`<a href=${to(`jobs/${data.id}`)}>${short(data.id)}</a> ${plain(data.provider, 40)}`;
  if (data.object === "endpoint") return html`<a href=${to(`endpoints/${data.id}`)}>${short(data.id)}</a>`;
  return plain(data.provider || data.source || data.id || "", 60);
};

export function Event({ id }) {
  const { value: one, error, again } = useLoaded(() => get(`/v1/events/${encodeURIComponent(id)}`), [id]);
  useEvery(5, again);
  if (!one) return error ? html`<h1>Event</h1><${Problem} error=${error} />` : html`<p class="empty">loading …</p>`;
  return html`<h1>Event <code>${short(one.id)}</code></h1>
    <dl><dt>type</dt><dd>${one.type}</dd><dt>time</dt><dd><${Time} at=${one.timestamp} /></dd><dt>about</dt><dd>${about(one)}</dd></dl>
    <${Problem} error=${error} />
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
