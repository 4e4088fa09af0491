// API keys: listed, created (shown once), revoked.
import { call, post } from "../api.js";
import { plain } from "../format.js";
import { html, useState } from "../html.js";
import { Confirmed, Copy, Done, Paged, Problem, Time, useAction } from "../ui.js";

const SCOPES = ["jobs:read", "jobs:write", "events:read", "endpoints:read", "endpoints:write", "metrics:read", "admin"];

export function Keys({ session }) {
  const [turn, set] = useState(0);
  const { busy, error, done, run } = useAction();
  const again = () => set(turn + 1);
  const create = async (event) => {
    event.preventDefault();
    const form = event.target;
    const data = new FormData(form);
    const made = await run(
      () => post("/v1/keys", { name: data.get("name"), scopes: data.getAll("scope") }),
      (one) => html`The key, shown this once: <code>${one.key}</code> <${Copy} text=${one.key} what="the key" />`,
    );
    if (made) {
      form.reset();
      again();
    }
  };
  const revoke = (id) => run(() => call("DELETE", `/v1/keys/${id}`), "It is revoked.").then(again);
  const row = (one) => ({
    key: one.id,
    cells: [
      html`<code>${one.id}</code>${one.id === session.key ? " (yours)" : ""}`,
      plain(one.name, 80),
      one.scopes.join(", "),
      html`<${Time} at=${one.created_at} />`,
      html`<${Time} at=${one.expires_at} />`,
      html`<${Confirmed} label="Revoke" danger disabled=${busy} say="Every call with this key is refused within a second, and its sessions end." act=${() => revoke(one.id)} />`,
    ],
  });
  return html`<h1>API keys</h1>
    <form class="filters" onSubmit=${create}>
      <label>Name<input name="name" required maxlength="100" /></label>
      <fieldset><legend>Scopes</legend>${SCOPES.map((one) => html`<label class="box"><input type="checkbox" name="scope" value=${one} />${one}</label>`)}</fieldset>
      <button class="main" disabled=${busy}>Create</button>
      <${Problem} error=${error} /><${Done} text=${done} />
    </form>
    <${Paged} path="/v1/keys" query=${{}} reload=${turn} label="API keys" head=${["Key", "Name", "Scopes", "Created", "Ends", "Action"]} empty="no key but that of the settings" row=${row} />`;
}
