// The other inputs: a number, a category, a text. Each widget has name, element, isEmpty, read, write, speak, invalid.

import { element, fill } from "./dom.js";
import { number, say, whole } from "./words.js";

const MANY_CATEGORIES = 200;
const WIDEST_SLIDER = 1e15; // a model of another tool may take all that float32 holds: no range to slide in
let made = 0; // widgets, for ids that are used once

/** What a number field says when its text is no number, or a needed one is missing; the service is not asked then. */
export class Unreadable extends Error {
  constructor(field, code) {
    super(field);
    Object.assign(this, { field, code });
  }
}

/** A text field with a slider over the range that training saw; empty means missing, where the model knows that. */
export function numberInput(schema, { onChange }) {
  const { minimum, maximum } = schema;
  const isWhole = Number.isInteger(minimum) && Number.isInteger(maximum);
  const box = element("input", { type: "text", inputmode: "decimal", autocomplete: "off", spellcheck: "false" });
  const step = isWhole ? 1 : "any";
  const slider = element("input", { type: "range", hidden: maximum - minimum > WIDEST_SLIDER, min: minimum, max: maximum, step, tabindex: "-1", "aria-hidden": "true" });
  const showSlider = () => {
    slider.classList.toggle("missing", box.value.trim() === "");
    slider.value = box.value.trim() === "" ? (minimum + maximum) / 2 : box.value;
  };
  box.addEventListener("input", () => {
    showSlider();
    onChange();
  });
  slider.addEventListener("input", () => {
    box.value = isWhole ? slider.value : String(Number(Number(slider.value).toPrecision(5)));
    showSlider();
    onChange();
  });
  showSlider();
  const clear = element("button", { type: "button", class: "clear", hidden: schema.required, onclick: () => {
    box.value = "";
    box.dispatchEvent(new Event("input"));
    box.focus();
  } }, "×");
  const view = field(schema.name, box, { before: [element("div", { class: "row" }, box, clear), slider] });
  return {
    ...view,
    isEmpty: () => false,
    read() {
      const text = box.value.trim();
      if (text === "" && schema.required) throw new Unreadable(schema.name, "NUMBER_MISSING");
      if (text === "") return null;
      const value = Number(text);
      if (!Number.isFinite(value)) throw new Unreadable(schema.name, "NOT_A_NUMBER");
      return value;
    },
    write(value) {
      box.value = value ?? "";
      showSlider();
    },
    speak() {
      box.placeholder = say(schema.required ? "number.required" : "missing");
      clear.setAttribute("aria-label", say("number.clear", { name: schema.name }));
      view.hint(say("number.range", { minimum: number(minimum, 7), maximum: number(maximum, 7) }));
    },
  };
}

/** A choice among the words that training saw; of very many a field with suggestions. */
export function categoryInput(schema, { onChange }) {
  const isList = schema.categories_count <= MANY_CATEGORIES;
  const missing = element("option", { value: "" });
  const words = schema.categories.map((word, index) => element("option", { value: String(index) }, word || "''"));
  const suggestions = element("datalist", { id: `words-${(made += 1)}` }, ...(isList ? [] : schema.categories.map((word) => element("option", { value: word }))));
  const box = isList
    ? element("select", { onchange: onChange }, missing, ...words)
    : element("input", { type: "text", list: suggestions.id, autocomplete: "off", oninput: onChange });
  const view = field(schema.name, box, { before: isList ? [box] : [box, suggestions] });
  return {
    ...view,
    isEmpty: () => false,
    read() {
      if (box.value === "") return null;
      return isList ? schema.categories[Number(box.value)] : box.value;
    },
    write(value) {
      const index = schema.categories.indexOf(value);
      box.value = isList ? (index < 0 ? "" : String(index)) : (value ?? "");
    },
    speak() {
      missing.textContent = say("missing");
      if (!isList) box.placeholder = say("missing");
      view.hint(say("category.count", { count: whole(schema.categories_count) }));
    },
  };
}

/** A text of as many code points as the graph reads. */
export function textInput(schema, { onChange }) {
  const box = element("textarea", { rows: "5", spellcheck: "false", autocomplete: "off" });
  const showCount = () => {
    const values = { count: whole([...box.value].length), limit: whole(schema.max_length) };
    view.hint(say("text.count", values));
  };
  box.addEventListener("input", () => {
    showCount();
    onChange();
  });
  const view = field(schema.name, box, { before: [box], isWide: true });
  return {
    ...view,
    isEmpty: () => box.value === "",
    read: () => box.value,
    write(value) {
      box.value = value;
      showCount();
    },
    speak() {
      box.placeholder = say("text.placeholder");
      showCount();
    },
  };
}

/** What a customer bought: a line a purchase, the item and how many days ago; none is a customer nobody knows. */
export function historyInput(schema, { onChange }) {
  const box = element("textarea", { rows: "6", spellcheck: "false", autocomplete: "off", oninput: onChange });
  const view = field(schema.name, box, { before: [box], isWide: true });
  return {
    ...view,
    isEmpty: () => false,
    read() {
      const purchases = box.value.split("\n").filter((line) => line.trim() !== "").map((line) => purchaseOf(line, schema.name));
      return { items: purchases.map((one) => one.item), days_ago: purchases.map((one) => one.days) };
    },
    write(value) {
      box.value = value.items.map((item, index) => `${item}, ${value.days_ago[index]}`).join("\n");
    },
    speak() {
      box.placeholder = `${schema.items[0]}, 3`;
      view.hint(say("history.hint", { count: whole(schema.items_count) }));
    },
  };
}

/** An item, which may hold commas, and behind the last one the days; without a comma it was today. */
function purchaseOf(line, name) {
  const comma = line.lastIndexOf(",");
  const days = comma < 0 ? 0 : Number(line.slice(comma + 1));
  if (!Number.isFinite(days)) throw new Unreadable(name, "NOT_A_NUMBER");
  return { item: (comma < 0 ? line : line.slice(0, comma)).trim(), days };
}

/** Label, control, hint and the place for what is wrong with it. */
function field(name, control, { before, isWide = false }) {
  const id = `field-${(made += 1)}`;
  control.id = id;
  control.setAttribute("aria-describedby", `${id}-hint`);
  const hint = element("p", { class: "fine", id: `${id}-hint` });
  const wrong = element("p", { class: "wrong-text", hidden: true });
  const view = element("div", { class: isWide ? "field wide" : "field" }, element("label", { for: id }, name), ...before, hint, wrong);
  return {
    name,
    element: view,
    hint: (text) => fill(hint, text),
    invalid(message) {
      control.toggleAttribute("aria-invalid", false);
      if (message !== null) control.setAttribute("aria-invalid", "true");
      view.classList.toggle("wrong", message !== null);
      wrong.hidden = message === null;
      wrong.textContent = message ?? "";
    },
    focus: () => control.focus(),
  };
}
