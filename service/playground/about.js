// Manifest figures and states of versions → what is known of the model that answers.

import { element, fill } from "./dom.js";
import { file } from "./service.js";
import { date, number, percent, say, whole } from "./words.js";

const FIGURES = [
  ["accuracy", percentOf],
  ["macro_f1", percentOf],
  ["log_loss", number],
  ["brier", number],
  ["ece", percentOf],
  ["ece_uncalibrated", percentOf],
];

const RANKED_FIGURES = [
  ["ndcg_at_10", number],
  ["recall_at_20", percentOf],
  ["new_ndcg_at_10", number],
  ["new_recall_at_20", percentOf],
  ["log_loss", number],
  ["log_loss_uncalibrated", number],
];

function percentOf(share) {
  return percent(share, 2);
}

/** Shows figures, versions and the report; `events` has onVersion (a version that serves) and onFailure. */
export function showAbout(place, model, overview, events) {
  const metrics = model.ranking ? { ...model.ranking, rows: model.ranking.customers } : model.metrics ?? {};
  const figures = (model.ranking ? RANKED_FIGURES : FIGURES).map(([name, write]) => element("div", {}, element("dt", {}, say(`figure.${name}`)), element("dd", {}, typeof metrics[name] === "number" ? write(metrics[name]) : say("figure.none"))));
  fill(place,
    element("dl", { class: "figures" }, ...figures),
    element("p", { class: "fine" }, say(metrics.rows ? "figure.rows" : "figure.rows.none", { rows: whole(metrics.rows ?? 0) })),
    versionTable(model, overview, events),
    element("p", { class: "links" }, model.report && reportLink(model, events)));
}

function versionTable(model, overview, events) {
  const heads = ["version", "state", "created", "accuracy"].map((name) => element("th", { scope: "col" }, say(`versions.${name}`)));
  const rows = overview.versions.map((one) => element("tr", { class: one.version === model.version ? "shown" : "" },
    element("th", { scope: "row" }, one.state === "serving"
      ? element("button", { type: "button", class: "link", "aria-current": one.version === model.version ? "true" : null, "aria-label": say("versions.ask", { version: one.version }), onclick: () => events.onVersion(one.version) }, one.version)
      : one.version, ...one.aliases.map((alias) => element("span", { class: "alias" }, alias))),
    element("td", {}, element("span", { class: `state ${one.state}` }, say(`state.${one.state}`)), one.reason && element("p", { class: "fine" }, say("versions.reason", one.reason))),
    element("td", {}, one.created ? date(one.created) : "–"),
    element("td", {}, typeof one.accuracy === "number" ? percent(one.accuracy, 2) : one.created ? say("figure.none") : "–")));
  return element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": say("versions.title") },
    element("table", {}, element("caption", {}, say("versions.title")), element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows)));
}

/** A link; with a key, which a link cannot carry, a button that saves the file. */
function reportLink(model, { onFailure, needsKey }) {
  const words = say("report", { version: model.version });
  if (!needsKey) return element("a", { href: model.report, target: "_blank", rel: "noopener" }, words);
  return element("button", { type: "button", class: "link", onclick: () => save(model).catch(onFailure) }, words);
}

async function save(model) {
  const address = URL.createObjectURL(await file(model.report));
  element("a", { href: address, download: `${model.name}-${model.version}-report.html` }).click();
  URL.revokeObjectURL(address);
}
