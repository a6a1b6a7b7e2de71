// Questions to the service this page came from → answers, or a Failure that says what a person needs.

const IN_FRONT = [429, 502, 503, 504]; // what a proxy says while the service behind it starts or has too much to do

let key = null; // in this variable only: gone with the tab

export const useKey = (text) => {
  key = text;
};
export const hasKey = () => key !== null;

/** What went wrong: a problem of the service (RFC 9457), or no answer at all. */
export class Failure extends Error {
  constructor({ code, title = "", detail = "", pointer = "", request_id = "", retryable = false, retryAfter = 0 }) {
    super(detail || title);
    Object.assign(this, { code, title, detail, pointer, requestId: request_id, retryable, retryAfter });
  }
}

export const models = () => asJson("playground/models.json");
export const model = (name, version) => asJson(`playground/models/${encodeURIComponent(name)}/${version}.json`);

/** The path that answers for a model, or for one version of it. */
export function predictPath(name, version) {
  const versions = version === null ? "" : `/versions/${version}`;
  return `v1/models/${encodeURIComponent(name)}${versions}:predict`;
}

/** One predict request: its answer and the milliseconds until it was here. */
export async function predict(path, question) {
  const begin = performance.now();
  const body = JSON.stringify(question);
  const answer = await asJson(path, { method: "POST", body, headers: { "Content-Type": "application/json" } });
  return { answer, milliseconds: performance.now() - begin };
}

/** A file of the service as a Blob, for what a plain link cannot fetch with a key. */
export async function file(path) {
  return (await ask(path)).blob();
}

async function asJson(path, options) {
  const response = await ask(path, options);
  try {
    return await response.json();
  } catch {
    throw new Failure({ code: "ANSWER_INVALID" });
  }
}

async function ask(path, options = {}) {
  const headers = { ...options.headers, ...(key === null ? {} : { Authorization: `Bearer ${key}` }) };
  let response;
  try {
    response = await fetch(path, { ...options, headers, credentials: "omit" });
  } catch {
    throw new Failure({ code: "UNREACHABLE", retryable: true });
  }
  if (!response.ok) throw new Failure(await problemOf(response));
  return response;
}

async function problemOf(response) {
  const retryAfter = Number(response.headers.get("Retry-After")) || 0; // seconds; a date counts as none
  try {
    const problem = await response.json();
    if (typeof problem.code === "string") return { ...problem, retryAfter };
  } catch {
    // A proxy's page, say.
  }
  const detail = `HTTP ${response.status}`;
  if (IN_FRONT.includes(response.status)) return { code: "UNAVAILABLE", detail, retryable: true, retryAfter };
  return { code: "ANSWER_INVALID", detail };
}
