// The pieces that screens are made of.
import { ApiError, get } from "./api.js";
import { pretty, time } from "./format.js";
import { html, useCallback, useEffect, useRef, useState } from "./html.js";

/** Return the value that `load` brings, its error, and a function that loads again. */
export function useLoaded(load, keys) {
  const [state, set] = useState({ value: null, error: null, busy: true });
  const turn = useRef(0);
  const running = useRef(null);
  const again = useCallback(async () => {
    // One load at a time: a wish that comes meanwhile is one more load after it.
    if (running.current) {
      running.current.once_more = true;
      return;
    }
    const mine = turn.current;
    const present = (running.current = { once_more: false });
    set((before) => ({ ...before, busy: true }));
    try {
      const value = await load();
      if (mine === turn.current) set({ value, error: null, busy: false });
    } catch (error) {
      if (mine === turn.current) set((before) => ({ ...before, error, busy: false }));
    }
    if (running.current === present) running.current = null;
    if (mine === turn.current && present.once_more) again();
  }, keys);
  useEffect(() => {
    again();
    return () => {
      turn.current++;
      running.current = null;
    };
  }, [again]);
  return { ...state, again };
}

/** Call `act` every so many seconds while the page is seen. */
export function useEvery(seconds, act) {
  const latest = useRef(act);
  latest.current = act;
  useEffect(() => {
    const timer = setInterval(() => document.hidden || latest.current(), seconds * 1000);
    return () => clearInterval(timer);
  }, [seconds]);
}

/** Return whether the first of these values is there; `act` is called, and its error kept. */
export function useAction() {
  const [state, set] = useState({ busy: false, error: null, done: null });
  const run = async (act, done) => {
    set({ busy: true, error: null, done: null });
    try {
      const value = await act();
      set({ busy: false, error: null, done: typeof done === "function" ? done(value) : done || null });
      return value;
    } catch (error) {
      set({ busy: false, error, done: null });
      if (!(error instanceof ApiError)) throw error;
      return undefined;
    }
  };
  return { ...state, run };
}

export const Problem = ({ error }) =>
  error && html`<p class="problem" role="alert">${error.message}${error.status === 403 ? " (your key lacks a scope)" : ""}</p>`;

export const Done = ({ text }) => text && html`<p class="done" role="status">${text}</p>`;

export const Time = ({ at }) =>
  at ? html`<time datetime=${at} title=${at.replace("T", " ").replace("Z", " UTC")}>${time(at)}</time>` : html`<span>–</span>`;

export const State = ({ state }) => html`<span class=${`state ${state}`}>${state}</span>`;

export const Json = ({ value, label }) => html`<pre tabindex="0" aria-label=${label}>${pretty(value)}</pre>`;

/** A button that copies a text. */
export function Copy({ text, what }) {
  const [word, set] = useState("copy");
  const copy = async (event) => {
    const button = event.currentTarget;
    const done = await written(text).catch(() => selected(text, button));
    set(done ? "copied" : "not copied");
    setTimeout(() => set("copy"), 1500);
  };
  return html`<button class="quiet" onClick=${copy} aria-label=${word === "copy" ? `Copy ${what || "this"}` : undefined}>${word}</button>`;
}

async function written(text) {
  await navigator.clipboard.writeText(text);
  return true;
}

/** Copy a text by selecting it: over plain http browsers have no clipboard. Returns whether it was copied. */
function selected(text, button) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "skip";
  // Beside the button: behind an open dialog nothing can be selected.
  button.after(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  button.focus();
  return done;
}

/** A button that asks first: `say` tells its effect and its cost. */
export function Confirmed({ label, say, act, danger, disabled }) {
  const dialog = useRef(null);
  return html`<button class=${danger ? "danger" : ""} disabled=${disabled} onClick=${() => dialog.current.showModal()}>${label}</button>
    <dialog ref=${dialog} aria-label=${label}>
      <form method="dialog">
        <p>${say}</p>
        <p class="actions">
          <button value="no">No</button>
          <button class=${danger ? "danger" : "main"} value="yes" onClick=${act}>${label}</button>
        </p>
      </form>
    </dialog>`;
}

/** A table of rows with keys; narrow screens show each row as a card. */
export function Table({ head, rows, empty, label }) {
  if (!rows.length) return html`<p class="empty">${empty}</p>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${label}>
    <table>
      <thead><tr>${head.map((one) => html`<th scope="col">${one}</th>`)}</tr></thead>
      <tbody>
        ${rows.map((row) => html`<tr key=${row.key}>${row.cells.map((cell, place) => html`<td data-head=${head[place]}><div>${cell}</div></td>`)}</tr>`)}
      </tbody>
    </table>
  </div>`;
}

/** A list that is read in pages. `path` and `query` name it, `row` makes a row of an item. */
export function Paged({ path, query, head, row, empty, label, merge, reload }) {
  const [pages, set] = useState(null);
  const [next, setNext] = useState(null);
  const { error, busy, run } = useAction();
  const key = JSON.stringify([path, query]);
  const turn = useRef(0);
  const asked = useRef(null);
  const latest = useRef(pages);
  latest.current = pages;
  const load = async (cursor) => {
    const mine = turn.current;
    const page = await run(() => get(path, { ...query, cursor, limit: 50 }));
    // The answer to an earlier question comes too late.
    if (!page || mine !== turn.current) return;
    if (cursor) {
      set((before) => [...(before || []), ...page.data]);
      setNext(page.next_cursor);
      return;
    }
    // A list that is read again keeps the older pages that its reader has asked for.
    const last = latest.current ? latest.current.findIndex((one) => one.id === page.data.at(-1)?.id) : -1;
    const older = page.next_cursor && last >= 0 ? latest.current.slice(last + 1) : [];
    set([...page.data, ...older]);
    if (!older.length) setNext(page.next_cursor);
  };
  useEffect(() => {
    turn.current++;
    if (asked.current !== key) {
      // The rows of another question would stand under the answer, or the error, of this one.
      asked.current = key;
      set(null);
      setNext(null);
    }
    load(null);
  }, [key, reload]);
  // Without an answer nothing is known, which is not the same as none.
  const items = pages && (merge ? merge(pages) : pages);
  const waits = items ? busy && !items.length : !error;
  return html`<${Problem} error=${error} />
    ${waits && html`<p class="empty">loading …</p>`}
    ${items && !waits && html`<${Table} head=${head} rows=${items.map(row)} empty=${empty} label=${label} />`}
    ${next && html`<p><button disabled=${busy} onClick=${() => load(next)}>Older</button></p>`}`;
}

/** A row of links that choose one of several values. */
export const Chips = ({ label, options, chosen, link }) =>
  html`<nav class="chips" aria-label=${label}>
    ${options.map(([value, text]) => html`<a href=${link(value)} aria-current=${value === (chosen || "") ? "true" : undefined}>${text}</a>`)}
  </nav>`;
