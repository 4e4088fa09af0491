// The event stream: one connection of the page, which all screens share.
import { useEffect, useRef, useState } from "./html.js";

// Seconds for which events gather: a person sees no more, and many pages cost the service little.
const EVERY = 1;
const AGAIN = 3000;
const listeners = new Set();
const watchers = new Set();
let source = null;
// The last event that was heard: a new connection goes on behind it.
let last = "";
let state = "off";
let allowed = false;

function tell(next) {
  state = next;
  for (const watch of watchers) watch(next);
}

function open() {
  if (source || !allowed || !listeners.size) return;
  source = new EventSource(`/v1/events/stream?every=${EVERY}${last && `&after=${encodeURIComponent(last)}`}`);
  source.onopen = () => tell("live");
  const mine = source;
  source.onerror = () => {
    tell("waiting");
    // An answer that is no stream ends it for good: the browser returns after a lost connection only.
    if (mine === source && mine.readyState === EventSource.CLOSED) {
      source = null;
      setTimeout(open, AGAIN * (1 + Math.random()));
    }
  };
  const hear = (message) => {
    last = message.lastEventId || last;
    let event;
    try {
      event = JSON.parse(message.data);
    } catch {
      return;
    }
    for (const listener of listeners) listener(event);
  };
  source.onmessage = hear;
}

/** Say whether the session may read events: without that there is no connection. */
export function allow(may) {
  allowed = may;
}

/** End the connection, as at sign-out. */
export function close() {
  if (source) source.close();
  source = null;
  last = "";
  tell("off");
}

/** Call `hear` with every event from now on, unless `paused`. */
export function useEvents(hear, paused = false) {
  const latest = useRef(hear);
  latest.current = paused ? null : hear;
  useEffect(() => {
    const listener = (event) => latest.current && latest.current(event);
    listeners.add(listener);
    open();
    return () => {
      listeners.delete(listener);
      if (!listeners.size) close();
    };
  }, []);
}

/** Return the state of the connection: `live`, `waiting` or `off`. */
export function useLiveState() {
  const [now, set] = useState(state);
  useEffect(() => {
    watchers.add(set);
    return () => watchers.delete(set);
  }, []);
  return now;
}
