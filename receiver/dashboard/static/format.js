// Values as text. Texts of strangers are cut, and their invisible and direction-changing characters shown.

// eslint-disable-next-line no-control-regex -- these are the characters to show
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** Return a text of a stranger as it can be shown: cut, without characters that act on their surroundings. */
export function plain(value, most = 300) {
  const text = String(value ?? "");
  const shown = text.slice(0, most).replace(HIDDEN, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
  return text.length > most ? `${shown}… (${count(text.length)} characters)` : shown;
}

/** Return a JSON value as indented text, cut. */
export const pretty = (value, most = 20_000) => plain(JSON.stringify(value, null, 2), most).replaceAll("\\u000a", "\n");

/** Return a time that was typed as RFC 3339 in UTC. What is no time stays as it is: the API names the mistake. */
export function moment(text) {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? text : at.toISOString();
}

// Made once: to make a format costs a hundred times as much as to use it.
const CLOCK = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat([], { year: "numeric", month: "short", day: "numeric" });

export const count = (value) => (value ?? 0).toLocaleString("en");

/** Return a number of seconds as people say it. */
export function span(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  if (seconds < 0.001) return "0 s";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** Return the seconds between two moments. */
export const between = (from, to) => (Date.parse(to) - Date.parse(from)) / 1000;

/** Return a moment in the reader's zone; today without its date. */
export function time(moment) {
  if (!moment) return "–";
  const at = new Date(moment);
  const clock = CLOCK.format(at);
  return at.toDateString() === new Date().toDateString() ? clock : `${DAY.format(at)}, ${clock}`;
}

/** Return the end of an id, by which people tell ids apart. */
export const short = (id) => (id && id.length > 20 ? `${id.slice(0, id.indexOf("_") + 1)}…${id.slice(-8)}` : id || "");

/** Return a link to a file as the policy allows it: through this service, whatever host the link names. */
export function through(url) {
  try {
    return `${new URL(url, location.href).pathname}?download=1`;
  } catch {
    return "";
  }
}
