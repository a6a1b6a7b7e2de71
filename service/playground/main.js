// The page: what is shown at present, and who is told when it changes.

import { showAbout } from "./about.js";
import { makeAgain } from "./again.js";
import { failureCard, makeAnswer } from "./answer.js";
import { asCurl, asPython, makeCode } from "./code.js";
import { byId, element, fill } from "./dom.js";
import { Unreadable } from "./fields.js";
import { inputOf, makeForm, ordinary, showExamples } from "./form.js";
import { makeGlance } from "./glance.js";
import { remember } from "./memory.js";
import { newest } from "./newest.js";
import * as service from "./service.js";
import { applyLanguage, currentLanguage, percent, say, sayIfKnown, switchLanguage, whole } from "./words.js";

const PAUSE_MILLISECONDS = 30;
const SPOKEN_AFTER_MILLISECONDS = 700;
const TOP_K = 10;
const ALL_LABELS = 1000; // of more, only the top is asked for
const THEMES = ["system", "light", "dark"];

/** `pinned` is the version that was chosen, null for the newest; `turn` tells answers to a former model apart. */
const state = { overview: null, model: null, pinned: null, form: null, coverage: 0.9, shown: null, failure: null, turn: 0 };

const again = makeAgain();
const code = makeCode(byId("code"));
const glance = makeGlance(byId("glance"), byId("answer"));
const ask = newest(askOnce, PAUSE_MILLISECONDS);
const answer = makeAnswer(byId("answer"), {
  onCoverage(coverage) {
    state.coverage = coverage;
    ask();
  },
  onRetry: () => ask(),
  onField: (name) => state.form.focus(name),
});

async function askOnce() {
  const { model, form, turn } = state;
  if (form === null) return;
  if (form.isEmpty()) return showNothing();
  try {
    const question = { instances: [form.read()], parameters: parametersFor(model) };
    showCode(question);
    const found = await service.predict(service.predictPath(model.name, state.pinned), question);
    if (turn !== state.turn) return;
    again.stop();
    form.mark(null, null);
    if (state.pinned === null && found.answer.version !== model.version) return await openOrFail(model.name, null, { keeps: true });
    Object.assign(state, { shown: found, failure: null });
    answer.show(found);
    glance.show(found.answer.predictions[0]);
    speakLater(() => answer.sentence(found));
  } catch (failure) {
    if (turn === state.turn) showFailure(failure);
  }
}

function parametersFor(model) {
  const hasAll = !model.is_top && model.labels_count <= ALL_LABELS;
  return {
    top_k: Math.min(TOP_K, model.labels_count),
    ...(hasAll ? { probabilities: true, logits: true } : {}),
    ...(model.coverage ? { coverage: state.coverage } : {}),
    ...(model.abstention ? { abstain: true } : {}),
    ...(model.novelty ? { novelty: true } : {}),
  };
}

function showNothing() {
  again.stop();
  Object.assign(state, { shown: null, failure: null });
  state.form.mark(null, null);
  answer.invite();
  glance.show(null);
  code.update({});
}

function showCode(question) {
  const { name } = state.model;
  const origin = new URL(".", location.href).href;
  const address = new URL(service.predictPath(name, state.pinned), origin).href;
  const needsKey = service.hasKey();
  code.update({ curl: asCurl(address, question, needsKey), Python: asPython(origin.replace(/\/$/, ""), name, state.pinned, question, needsKey) });
}

function showFailure(failure) {
  const known = asFailure(failure);
  if (known.code === "AUTH") return askForKey();
  Object.assign(state, { shown: null, failure: known });
  const named = failure instanceof Unreadable ? failure.field : inputOf(known.pointer, state.model);
  const field = state.form.mark(named, sayIfKnown(`problem.${known.code}.detail`) ?? known.detail);
  answer.fail(known, field, again.plan(known, ask));
  glance.show(null);
}

/** What was thrown, as a Failure; a fault of the page itself must not look like one of the service. */
function asFailure(thrown) {
  if (thrown instanceof service.Failure) return thrown;
  if (thrown instanceof Unreadable) return new service.Failure({ code: thrown.code });
  console.error(thrown);
  return new service.Failure({ code: "PAGE", detail: String(thrown.message ?? thrown) });
}

let speaking = 0;
/** Said once things have come to rest: a screen reader would otherwise read every stroke. */
function speakLater(sentence) {
  clearTimeout(speaking);
  speaking = setTimeout(() => { byId("spoken").textContent = sentence(); }, SPOKEN_AFTER_MILLISECONDS);
}

async function start() {
  try {
    state.overview = await service.models();
    again.stop();
    fill(byId("notice"));
    const names = state.overview.models.map((one) => one.name);
    const wanted = names.find((name) => location.hash === `#${encodeURIComponent(name)}`);
    const chosen = [wanted, state.overview.default_model, ...names].find((name) => names.includes(name));
    await open(chosen, null, { keeps: state.model?.name === chosen });
  } catch (failure) {
    showStartFailure(failure);
  }
}

function showStartFailure(failure) {
  const known = asFailure(failure);
  if (known.code === "AUTH") return askForKey();
  byId("stage").hidden = true;
  fill(byId("notice"), failureCard(known, null, again.plan(known, start), { onRetry: start }));
}

/** Shows a model; `keeps` leaves what was typed or drawn, because only its version is another. */
async function open(name, version, { keeps = false } = {}) {
  const turn = (state.turn += 1);
  if (keeps) state.overview = await service.models();
  const overview = state.overview.models.find((one) => one.name === name);
  const model = await service.model(name, version ?? overview.serves);
  if (turn !== state.turn) return;
  const isSame = keeps && JSON.stringify(model.inputs) === JSON.stringify(state.model.inputs);
  Object.assign(state, { model, pinned: version, shown: null, failure: null });
  if (!isSame) state.form = makeForm(model, { onChange: ask, onRefuse: refuse });
  fill(byId("form"), state.form.element);
  answer.useModel(model);
  byId("stage").hidden = false;
  await speak();
  if (!isSame && model.inputs.length > 1 && !model.inputs.some((one) => one.kind === "image" || one.kind === "text")) {
    await state.form.write(ordinary(model)[0].values);
  } else ask();
}

function refuse(title, detail) {
  answer.fail(new service.Failure({ code: "", title, detail }), null);
}

/** Everything again in the language of now. */
async function speak() {
  applyLanguage();
  byId("language").textContent = currentLanguage() === "en" ? "中文" : "English";
  byId("language").lang = currentLanguage() === "en" ? "zh-Hans" : "en";
  showTheme();
  if (state.model === null) return;
  const { model, overview } = state;
  showChoices();
  byId("name").textContent = model.name;
  byId("summary").textContent = summary(model);
  byId("degraded").hidden = !model.degraded;
  byId("degraded").textContent = say("degraded", model);
  state.form.speak();
  answer.speak();
  code.speak();
  await showExamples(byId("examples"), model, state.form);
  const own = overview.models.find((one) => one.name === model.name);
  showAbout(byId("about"), model, own, { onVersion: (version) => openOrFail(model.name, version === own.serves ? null : version, { keeps: true }), onFailure: showFailure, needsKey: service.hasKey() });
  if (state.shown !== null) answer.show(state.shown);
  else if (state.failure !== null) showFailure(state.failure);
  else answer.invite();
}

function summary(model) {
  if (model.ranking) {
    const found = { labels: whole(model.labels_count), recall: percent(model.ranking.recall_at_20, 2), rows: whole(model.ranking.customers) };
    return say("summary.ranking", found);
  }
  const accuracy = model.metrics?.accuracy;
  const values = { labels: whole(model.labels_count), accuracy: percent(accuracy ?? 0, 2), rows: whole(model.metrics?.rows ?? 0) };
  return say(typeof accuracy === "number" ? "summary" : "summary.unmeasured", values);
}

/** The models there are, where there are several, and the version that was pinned. */
function showChoices() {
  const options = state.overview.models.map((one) => element("option", { value: one.name, selected: one.name === state.model.name }, one.name));
  const select = element("select", { id: "model", onchange: () => {
    history.replaceState(null, "", `#${encodeURIComponent(select.value)}`);
    openOrFail(select.value, null);
  } }, ...options);
  const pinned = state.pinned !== null && element("button", { type: "button", class: "quiet", onclick: () => openOrFail(state.model.name, null, { keeps: true }) }, say("pinned", { version: state.pinned }), " ×");
  fill(byId("choices"), options.length > 1 && [element("label", { for: "model", class: "unseen" }, say("model")), select], pinned);
}

const openOrFail = (...given) => open(...given).catch(showStartFailure);

function askForKey() {
  again.stop();
  byId("stage").hidden = true;
  const box = element("input", { id: "key", type: "password", autocomplete: "off", spellcheck: "false", required: true });
  const form = element("form", { class: "card key", onsubmit: (event) => {
    event.preventDefault();
    service.useKey(box.value.trim());
    start();
  } },
  element("h1", {}, say("key.title")), element("p", {}, say(service.hasKey() ? "key.wrong" : "key.words")),
  element("label", { for: "key" }, say("key.label")), element("div", { class: "row" }, box, element("button", { class: "primary" }, say("key.use"))));
  fill(byId("notice"), form);
  box.focus();
}

function showTheme() {
  const theme = document.documentElement.dataset.theme ?? "system";
  byId("theme").textContent = say(`theme.${theme}`);
  byId("theme").setAttribute("aria-label", say("theme.switch", { theme: say(`theme.${theme}`) }));
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the part after # names the model
  byId("input").focus();
});
byId("theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme ?? "system";
  const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
  if (next === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  remember("theme", next);
  showTheme();
});
byId("language").addEventListener("click", () => {
  switchLanguage();
  speak();
});
window.addEventListener("hashchange", start);
document.addEventListener("paste", (event) => takeFile(event.clipboardData));
for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault(); // the browser would leave the page for the file
  takeFile(event.dataTransfer);
});

/** The first of the files that were pasted or dropped; there are none while one is only dragged over the page. */
function takeFile({ files: [file] }) {
  if (file !== undefined) state.form?.take(file);
}

await speak();
await start();
