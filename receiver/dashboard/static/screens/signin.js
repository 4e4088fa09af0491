// Sign-in: an API key is exchanged for a session. The field is emptied at once.
import { post } from "../api.js";
import { html, useRef } from "../html.js";
import { Problem, useAction } from "../ui.js";

export function SignIn({ signed }) {
  const field = useRef(null);
  const { busy, error, run } = useAction();
  const submit = async (event) => {
    event.preventDefault();
    const key = field.current.value.trim();
    field.current.value = "";
    const session = await run(() => post("/session", { key }));
    if (session) signed(session);
  };
  return html`<main class="signin">
    <h1>Ringback</h1>
    <form onSubmit=${submit}>
      <label for="key">API key</label>
      <input id="key" ref=${field} type="password" autocomplete="off" required placeholder="rb_…" autofocus />
      <button class="main" disabled=${busy}>Sign in</button>
      <${Problem} error=${error} />
      <p>The key is exchanged for a session of 12 hours and not kept. The first key of a deployment lies in its
        <code>data_dir</code>; <code>ringback keys create</code> makes others.</p>
    </form>
  </main>`;
}
