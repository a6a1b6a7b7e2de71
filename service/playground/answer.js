// One answer of the service → what a person should know: the label, how sure, what else, and whether to believe it.

import { element, fill } from "./dom.js";
import { number, percent, say, sayIfKnown, whole } from "./words.js";

const FEW_LABELS = 10; // these keep their places, so that bars only rise and fall
const SHOWN_LABELS = 8;
const COVERAGES = [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99, 0.995, 0.999];
const SHOWN_SET = 24;
const UNLIKE = 0.01; // a p-value below it is said in words; of rows like the training data one in a hundred has one

/** softmax(logits): the probabilities before the temperature. */
export function rawProbabilities(logits) {
  const highest = Math.max(...Object.values(logits));
  const powers = Object.entries(logits).map(([label, logit]) => [label, Math.exp(logit - highest)]);
  const sum = powers.reduce((total, [, power]) => total + power, 0);
  return new Map(powers.map(([label, power]) => [label, power / sum]));
}

/** The panel of answers; `onCoverage` is called with a coverage in 0..1 when the slider moves. */
export function makeAnswer(place, { onCoverage, onRetry, onField }) {
  let model = null;
  const bars = new Map();
  const list = element("ol", { class: "bars" });
  const coverage = makeCoverage(onCoverage);
  let showsRaw = true;
  const rawBox = element("input", { type: "checkbox", onchange: () => {
    showsRaw = rawBox.checked;
    list.classList.toggle("without-raw", !showsRaw);
  } });
  rawBox.checked = true;
  const rawWords = element("span");
  const rawSwitch = element("label", { class: "check" }, rawBox, element("span", { class: "key-raw", "aria-hidden": "true" }), rawWords);
  const verdict = element("div", { class: "verdict" });
  const remarks = element("div", { class: "remarks" });
  const facts = element("p", { class: "facts fine" });
  const body = element("div", {}, verdict, remarks, list, rawSwitch, coverage.element, facts);

  function showBars(prediction) {
    const raw = prediction.logits === undefined ? null : rawProbabilities(prediction.logits);
    const shown = prediction.probabilities !== undefined && model.labels_count <= FEW_LABELS
      ? model.labels.map((label) => ({ label, probability: prediction.probabilities[label] }))
      : prediction.top.slice(0, SHOWN_LABELS);
    while (list.children.length > shown.length) list.lastChild.remove();
    while (list.children.length < shown.length) list.append(makeBar(bars));
    shown.forEach(({ label, probability }, index) => updateBar(bars.get(list.children[index]), label, probability, raw?.get(label) ?? null, label === prediction.label));
    rawSwitch.hidden = raw === null;
  }

  return {
    useModel(given) {
      model = given;
      list.replaceChildren();
      bars.clear();
      coverage.useModel(model);
    },
    /** Before anything was asked. */
    invite() {
      fill(place, element("div", { class: "empty" }, element("p", {}, say(`invite.${inviteOf(model.inputs)}`))));
    },
    show({ answer, milliseconds }) {
      const [prediction] = answer.predictions;
      fill(verdict, ...verdictOf(prediction));
      fill(remarks, ...remarksOf(prediction, model));
      showBars(prediction);
      coverage.show(prediction.prediction_set);
      fill(facts,
        fact(say("fact.version", { version: answer.version })), fact(answer.provider, model.degraded && answer.provider === model.provider ? "degraded" : ""),
        prediction.novelty && fact(say("fact.novelty", { p: number(prediction.novelty.p_value, 2) })),
        fact(say("fact.milliseconds", { milliseconds: milliseconds < 9.95 ? milliseconds.toFixed(1) : whole(milliseconds) })), fact(say("fact.request", { id: answer.request_id }), "id"));
      if (body.parentNode !== place) fill(place, body);
    },
    fail(failure, field, seconds = null) {
      fill(place, failureCard(failure, field, seconds, { onRetry, onField }));
    },
    speak() {
      rawWords.textContent = say("raw.switch", { temperature: model.temperature.toFixed(2) });
      list.setAttribute("aria-label", say("bars.label"));
      coverage.speak();
    },
    /** One sentence for those who hear the page. */
    sentence({ answer }) {
      const [prediction] = answer.predictions;
      const words = [say("spoken", { label: prediction.label, probability: percent(prediction.probability) })];
      if (prediction.abstained) words.push(say("abstained.title"));
      if (isUnlike(prediction)) words.push(say("novelty.title"));
      return words.join(" ");
    },
  };
}

/** A problem as a person wants it: what, why, where, and what can be done; `seconds` until that is done by itself. */
export function failureCard(failure, field, seconds, { onRetry, onField }) {
  const title = sayIfKnown(`problem.${failure.code}`) ?? failure.title;
  const advice = sayIfKnown(`problem.${failure.code}.detail`);
  const small = [failure.code, advice && failure.detail, failure.requestId && say("fact.request", { id: failure.requestId })];
  return element("div", { class: "failure", role: "alert" },
    element("p", { class: "failure-title" }, title),
    element("p", {}, advice ?? failure.detail),
    field !== null && element("p", {}, say("failure.where"), " ", element("button", { type: "button", class: "link", onclick: () => onField(field) }, field)),
    seconds !== null && element("p", {}, say("failure.again", { seconds: whole(seconds) })),
    failure.retryable && element("button", { type: "button", onclick: onRetry }, say("failure.retry")),
    element("p", { class: "fine" }, small.filter(Boolean).join(" · ")));
}

function inviteOf(inputs) {
  const [{ kind, shape }] = inputs;
  if (inputs.length > 1) return "row";
  return kind === "image" && (shape[2] ?? 1) > 1 ? "image.rgb" : kind;
}

function verdictOf(prediction) {
  const share = prediction.probability;
  const sure = [[0.99, "certain"], [0.9, "sure"], [0.6, "likely"]].find(([least]) => share >= least)?.[1] ?? "unsure";
  return [
    element("p", { class: `label ${sizeOf(prediction.label)}` }, prediction.label),
    element("p", { class: "share" }, element("strong", {}, percent(share)), " ", say(`sure.${sure}`)),
  ];
}

/** Short labels can be large. */
const sizeOf = (label) => ([...label].length > 16 ? "long" : [...label].length > 5 ? "middle" : "");

const isUnlike = (prediction) => (prediction.novelty?.p_value ?? 1) < UNLIKE;

function remarksOf(prediction, model) {
  const found = [];
  const add = (key, values = {}, kind = "note") => found.push(element("div", { class: `remark ${kind}` }, element("strong", {}, say(`${key}.title`)), " ", say(`${key}.detail`, values)));
  if (prediction.abstained) {
    const threshold = model.abstention?.threshold ?? null;
    const values = { risk: percent(model.abstention?.risk ?? 0), threshold: percent(threshold ?? 1) };
    add(threshold === null ? "abstained.always" : "abstained", values, threshold === null ? "note" : "warn");
  }
  if (isUnlike(prediction)) add("novelty", { p: percent(prediction.novelty.p_value) }, "warn");
  if (prediction.out_of_range) add("range");
  if (prediction.history?.prior) add("prior");
  if (prediction.unknown?.length > 0) add("unknown", { names: prediction.unknown.join(", ") });
  if (prediction.truncated?.length > 0) add("truncated", { names: prediction.truncated.join(", ") });
  return found;
}

function makeBar(bars) {
  const parts = { label: element("span", { class: "bar-label" }), fill: element("span", { class: "bar-fill" }), raw: element("span", { class: "bar-raw" }), value: element("span", { class: "bar-value" }), spoken: element("span", { class: "unseen" }) };
  const row = element("li", {}, parts.label, element("span", { class: "bar-track", "aria-hidden": "true" }, parts.fill, parts.raw), parts.value, parts.spoken);
  bars.set(row, { row, ...parts });
  return row;
}

function updateBar(bar, label, probability, raw, isTop) {
  bar.label.textContent = label;
  bar.label.title = label;
  bar.value.textContent = percent(probability);
  bar.fill.style.setProperty("inline-size", `${probability * 100}%`);
  bar.raw.hidden = raw === null;
  bar.raw.style.setProperty("inline-size", `${(raw ?? 0) * 100}%`);
  bar.spoken.textContent = raw === null ? "" : say("raw.spoken", { raw: percent(raw) });
  bar.row.title = raw === null ? "" : say("raw.title", { calibrated: percent(probability, 2), raw: percent(raw, 2) });
  bar.row.classList.toggle("top", isTop);
}

function fact(text, kind = "") {
  return element("span", { class: kind }, text);
}

/** The slider and the labels of the prediction set. */
function makeCoverage(onCoverage) {
  const slider = element("input", { type: "range", id: "coverage", min: "0", max: String(COVERAGES.length - 1), step: "1" });
  const label = element("label", { for: "coverage" });
  const output = element("output", { for: "coverage" });
  const words = element("p", { class: "fine" });
  const labels = element("ul", { class: "set" });
  const view = element("div", { class: "coverage" });
  let isOffered = false;
  let reason = "coverage.none";
  const chosen = () => COVERAGES[Number(slider.value)];
  const showChoice = () => {
    output.textContent = percent(chosen());
    slider.setAttribute("aria-valuetext", percent(chosen()));
    words.textContent = say(isOffered ? "coverage.words" : reason, { coverage: percent(chosen()) });
  };
  slider.value = String(COVERAGES.indexOf(0.9));
  slider.addEventListener("input", () => {
    showChoice();
    onCoverage(chosen());
  });
  return {
    element: view,
    useModel(model) {
      isOffered = model.coverage;
      reason = model.is_top ? "coverage.top" : "coverage.none";
      const head = element("div", { class: "coverage-head" }, label, isOffered && output);
      fill(view, head, ...(isOffered ? [slider, labels] : []), words);
    },
    show(set) {
      const shown = (set ?? []).slice(0, SHOWN_SET).map((one) => element("li", {}, one));
      if (set?.length > SHOWN_SET) shown.push(element("li", { class: "more" }, say("coverage.more", { count: whole(set.length - SHOWN_SET) })));
      if (set?.length === 0) shown.push(element("li", { class: "more" }, say("coverage.empty")));
      fill(labels, ...shown);
    },
    speak() {
      label.textContent = say("coverage.title");
      labels.setAttribute("aria-label", say("coverage.set"));
      showChoice();
    },
  };
}
