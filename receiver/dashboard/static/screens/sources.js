// Sources: the senders of webhooks about jobs that were submitted elsewhere.
import { html } from "../html.js";
import { plain } from "../format.js";
import { to } from "../place.js";
import { Copy, Paged } from "../ui.js";

export const Sources = () => html`<h1>Sources</h1>
  <${Paged} path="/v1/sources" query=${{}} label="Sources" head=${["Source", "URL", "Proof", "Events", "Challenge"]}
    empty="none: [[sources]] in the settings file adds one" row=${(one) => ({
      key: one.id,
      cells: [one.id, html`${plain(one.url)} <${Copy} text=${one.url} what="the URL" />`, one.scheme, html`<a href=${to("events", { type: one.event })}>${one.event}</a>`, one.challenge || "–"],
    })} />`;
