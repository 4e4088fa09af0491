// The address as state: `#/jobs?state=failed` is a screen with its filters.
import { useEffect, useState } from "./html.js";

/** Return the place that the address names: its path in parts, and its query. */
export function read() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  return { parts: path.split("/").filter(Boolean).map(decoded), query: Object.fromEntries(new URLSearchParams(query || "")) };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Return the address of a place. */
export function to(path, query) {
  const pairs = Object.entries(query || {}).filter(([, value]) => value);
  return `#/${path}${pairs.length ? `?${new URLSearchParams(pairs)}` : ""}`;
}

/** Return the present place, and draw again when it changes. */
export function usePlace() {
  const [place, set] = useState(read);
  useEffect(() => {
    const changed = () => set(read());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return place;
}
