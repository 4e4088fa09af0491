// The dashboard: the session, the screen of each address, and the frame around it.
import { call, get } from "./api.js";
import { html, render, useEffect, useState } from "./html.js";
import { allow, close, useLiveState } from "./live.js";
import { usePlace } from "./place.js";
import { Deliveries, Delivery } from "./screens/deliveries.js";
import { Endpoint, Endpoints } from "./screens/endpoints.js";
import { Event, Events } from "./screens/events.js";
import { Job } from "./screens/job.js";
import { Jobs } from "./screens/jobs.js";
import { Keys } from "./screens/keys.js";
import { Overview } from "./screens/overview.js";
import { Providers } from "./screens/providers.js";
import { SignIn } from "./screens/signin.js";
import { Sources } from "./screens/sources.js";
import { Problem } from "./ui.js";

// Each screen with the scope that it needs; a screen of one thing has its id in the address.
const SCREENS = {
  "": { label: "Overview", list: Overview },
  jobs: { label: "Jobs", scope: "jobs:read", list: Jobs, one: Job },
  deliveries: { label: "Deliveries", scope: "endpoints:read", list: Deliveries, one: Delivery },
  endpoints: { label: "Endpoints", scope: "endpoints:read", list: Endpoints, one: Endpoint },
  providers: { label: "Providers", scope: "jobs:read", list: Providers },
  events: { label: "Events", scope: "events:read", list: Events, one: Event },
  sources: { label: "Sources", scope: "endpoints:read", list: Sources },
  keys: { label: "Keys", scope: "admin", list: Keys },
};

const LIVE = { live: "live", waiting: "connecting …", off: "" };

function Frame({ session, end, failed }) {
  const place = usePlace();
  const live = useLiveState();
  const may = (scope) => session.scopes.includes("admin") || session.scopes.includes(scope);
  allow(may("events:read"));
  const [name = "", id] = place.parts;
  const screen = SCREENS[name];
  const allowed = Object.entries(SCREENS).filter(([, one]) => !one.scope || may(one.scope));
  useEffect(() => {
    document.title = `${screen?.label || "Not found"} · Ringback`;
  }, [screen]);
  const Shown = id !== undefined ? screen?.one : screen?.list;
  return html`<a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.getElementById("main").focus(); }}>Skip to the content</a>
    <header>
      <strong>Ringback</strong>
      <nav aria-label="Screens">${allowed.map(([path, one]) => html`<a href=${`#/${path}`} aria-current=${path === name ? "page" : undefined}>${one.label}</a>`)}</nav>
      <span class=${`stream ${live}`} role="status">${LIVE[live]}</span>
      <a href="/docs">API</a>
      <button class="quiet" onClick=${end}>Sign out</button>
    </header>
    <main id="main" tabindex="-1">
      <${Problem} error=${failed} />
      ${!Shown ? html`<h1>Not found</h1><p>There is no such screen. <a href="#/">Overview</a></p>`
        : screen.scope && !may(screen.scope) ? html`<h1>${screen.label}</h1><p class="empty">This needs a key with the scope ${screen.scope}.</p>`
        : html`<${Shown} key=${name + (id || "")} id=${id} place=${place} may=${may} session=${session} />`}
    </main>`;
}

function App() {
  const [session, set] = useState(undefined);
  useEffect(() => {
    get("/session").then(set, () => set(null));
  }, []);
  useEffect(() => {
    // A session that is over shows the sign-in again.
    const refused = () => session && set(null);
    addEventListener("signedout", refused);
    const timer = setInterval(() => session && get("/session").then((now) => now || set(null), () => null), 30_000);
    return () => {
      removeEventListener("signedout", refused);
      clearInterval(timer);
    };
  }, [session]);
  const [failed, fail] = useState(null);
  const end = async () => {
    const error = await call("DELETE", "/session").then(() => null, (reason) => reason);
    // Without an answer the session goes on: only a refusal says that it is over.
    fail(error && error.status !== 401 ? error : null);
    setTimeout(() => fail(null), 10_000);
    if (error && error.status !== 401) return;
    close();
    set(null);
  };
  if (session === undefined) return html`<p class="empty">loading …</p>`;
  return session ? html`<${Frame} session=${session} end=${end} failed=${failed} />` : html`<${SignIn} signed=${set} />`;
}

render(html`<${App} />`, document.getElementById("app"));
