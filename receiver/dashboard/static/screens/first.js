// First start without jobs: the next steps, with commands to copy, and a job at the sandbox where there is one.
import { post } from "../api.js";
import { html } from "../html.js";
import { to } from "../place.js";
import { Copy, Problem, useAction } from "../ui.js";

const LOCAL = /^https?:\/\/(127\.|localhost|\[::1\])/;

export function FirstSteps({ providers, may, done }) {
  const accounts = (providers?.data || []).filter((one) => one.on);
  const local = accounts.filter((one) => LOCAL.test(one.base_url || ""));
  // The one of the documents, where it is there.
  const sandbox = local.find((one) => one.handler === "apiframe") || local[0];
  const chosen = sandbox || accounts[0];
  const { busy, error, run } = useAction();
  const request = { provider: chosen?.id || "apiframe", input: chosen?.example || { prompt: "a tide coming in" } };
  const curl = `curl ${location.origin}/v1/jobs -H "Authorization: Bearer $RINGBACK_API_KEY" -H 'Content-Type: application/json' -d '${JSON.stringify(request).replaceAll("'", "'\\''")}'`;
  const submit = async () => {
    const job = await run(() => post("/v1/jobs", request));
    if (job) {
      location.hash = to(`jobs/${job.id}`);
      done();
    }
  };
  return html`<h1>No jobs yet</h1>
    <ol class="steps">
      <li><h2>Configure a provider</h2>
        ${accounts.length
          ? html`<p>${accounts.length} ${accounts.length === 1 ? "account is" : "accounts are"} on: ${accounts.slice(0, 8).map((one) => one.id).join(", ")}${accounts.length > 8 ? ", …" : ""}. <a href=${to("providers")}>All of them</a></p>`
          : html`<p>No account has an API key. In the settings file:</p><${Command} text=${'[providers.apiframe]\napi_key = "..."'} />`}</li>
      <li><h2>Subscribe your service</h2><${Command} text="ringback endpoints create https://shop.example/hooks --event 'job.*'" /></li>
      <li><h2>Submit a job</h2><${Command} text=${curl} />
        ${sandbox && may("jobs:write") && html`<p><button class="main" disabled=${busy} onClick=${submit}>Submit a job to the sandbox (${sandbox.id})</button></p>`}
        <${Problem} error=${error} /></li>
    </ol>`;
}

const Command = ({ text }) => html`<div class="command"><pre tabindex="0" aria-label="Command">${text}</pre><${Copy} text=${text} what="the command" /></div>`;
