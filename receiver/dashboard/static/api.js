// Calls of the public API. The session's cookie goes along by itself; the page never has a key.

/** The error of a call: its problem document, or the lack of an answer. */
export class ApiError extends Error {
  constructor(status, problem) {
    const said = problem.detail || problem.title || "";
    // The detail names the first fields by itself.
    const others = (problem.errors || []).filter((one) => !said.includes(one.detail));
    super([said, ...others.map((one) => `${one.name || one.pointer}: ${one.detail}`)].filter(Boolean).join("; "));
    this.status = status;
    this.code = problem.code;
  }
}

/** Return the answer of a call. Throws `ApiError`. */
export async function call(method, path, body) {
  const options = { method, headers: { accept: "application/json" }, credentials: "same-origin" };
  if (body !== undefined) {
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new ApiError(0, { detail: "the service does not answer" });
  }
  const text = await answer.text();
  let value = null;
  try {
    value = text ? JSON.parse(text) : null;
  } catch {
    value = { detail: `the answer is no JSON (status ${answer.status})` };
  }
  // The session is over, whichever part of the page has noticed it first.
  if (answer.status === 401 && path !== "/session") dispatchEvent(new Event("signedout"));
  if (!answer.ok) throw new ApiError(answer.status, value || { detail: `status ${answer.status}` });
  return value;
}

export const get = (path, query) => call("GET", withQuery(path, query));
export const post = (path, body) => call("POST", path, body);

/** Return a path with the parameters that have a value. */
export function withQuery(path, query) {
  const pairs = Object.entries(query || {}).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return pairs.length ? `${path}?${new URLSearchParams(pairs)}` : path;
}
