// The question just asked → the same as curl and as Python, ready to copy.

import { element, fill } from "./dom.js";
import { say } from "./words.js";

const MOST_SHOWN = 20_000; // characters: megabytes would make the page slow

/** A shell word in single quotes. */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** curl for a POST of a question; a key is named, never shown. */
export function asCurl(url, question, needsKey) {
  const key = needsKey ? ` \\\n  -H "Authorization: Bearer $CLIPMAX_API_KEY"` : "";
  return `curl ${quoted(url)} \\\n  -H 'Content-Type: application/json'${key} \\\n  -d ${quoted(JSON.stringify(question))}`;
}

/** The same with clipmax's client. */
export function asPython(origin, name, version, question, needsKey) {
  const key = needsKey ? ', api_key=os.environ["CLIPMAX_API_KEY"]' : "";
  const wanted = Object.entries({ ...question.parameters, model: name, ...(version === null ? {} : { version }) });
  const options = wanted.map(([option, value]) => `        ${option}=${literal(value)},\n`).join("");
  return `${needsKey ? "import os\n\n" : ""}from clipmax import Client

with Client(${literal(origin)}${key}) as client:
    (prediction,) = client.predict(
        [${literal(question.instances[0])}],
${options}    )
print(prediction.label, prediction.probability)`;
}

/** A JSON value as Python writes it. */
function literal(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([key, one]) => `${literal(key)}: ${literal(one)}`).join(", ")}}`;
  return JSON.stringify(value);
}

/** What is shown of a text; all of it is copied. */
const begun = (text) => (text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}…` : text);

/** Two tabs and a button that copies; `update` takes the texts by name. */
export function makeCode(place) {
  const names = ["curl", "Python"];
  let texts = {};
  let chosen = names[0];
  const code = element("code");
  const panel = element("pre", { id: "code-panel", role: "tabpanel", tabindex: "0" }, code);
  const tabs = names.map((name) => element("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "code-panel", onclick: () => choose(name) }, name));
  const copy = element("button", { type: "button", class: "quiet copy", onclick: async () => {
    await navigator.clipboard?.writeText(texts[chosen]).then(() => say("code.copied"), () => say("code.not.copied")).then((text) => { copy.textContent = text; });
    setTimeout(() => { copy.textContent = say("code.copy"); }, 1500);
  } });
  const list = element("div", { role: "tablist", class: "tabs", onkeydown: (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    choose(names[1 - names.indexOf(chosen)]);
    tabs[names.indexOf(chosen)].focus();
  } }, ...tabs);

  function choose(name) {
    chosen = name;
    for (const [index, tab] of tabs.entries()) {
      tab.setAttribute("aria-selected", String(names[index] === name));
      tab.tabIndex = names[index] === name ? 0 : -1;
    }
    panel.setAttribute("aria-labelledby", `tab-${name}`);
    code.textContent = begun(texts[name] ?? say("code.none"));
    copy.disabled = !(name in texts);
  }

  fill(place, element("div", { class: "code-head" }, list, copy), panel);
  return {
    update(given) {
      texts = given;
      choose(chosen);
    },
    speak() {
      list.setAttribute("aria-label", say("code.title"));
      copy.textContent = say("code.copy");
      choose(chosen);
    },
  };
}
