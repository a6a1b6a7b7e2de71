// A model's input schema → its widgets → one instance of a predict request, and the examples that fill them.

import { element, fill } from "./dom.js";
import { categoryInput, historyInput, numberInput, textInput } from "./fields.js";
import { canvasOf, imageInput } from "./image.js";
import { percent, say } from "./words.js";

const WIDGETS = { image: imageInput, number: numberInput, category: categoryInput, text: textInput, history: historyInput };
const SHOWN_TEXT = 90;
const FEW_CHARACTERS = 5; // a text of no more different ones is a test of the encoder

/** The form of a model; `events` has onChange and onRefuse. */
export function makeForm(model, events) {
  const widgets = model.inputs.map((schema) => WIDGETS[schema.kind](schema, events));
  const needed = widgets.filter((_, index) => ["image", "text"].includes(model.inputs[index].kind));
  const isGrid = widgets.length > 1;
  const view = element("form", { class: isGrid ? "grid" : "single", onsubmit: (event) => event.preventDefault() }, ...widgets.map((one) => one.element));

  return {
    element: view,
    /** Nothing to ask yet: no ink, no text. */
    isEmpty: () => needed.length > 0 && needed.every((one) => one.isEmpty()),
    /** One instance; raises Unreadable. */
    read() {
      if (widgets.length === 1 && isBare(model.inputs[0])) return widgets[0].read();
      return Object.fromEntries(widgets.map((one) => [one.name, one.read()]));
    },
    async write(values) {
      for (const one of widgets) await one.write(values[one.name]);
      events.onChange();
    },
    speak() {
      for (const one of widgets) one.speak();
    },
    /** Marks the field that a problem's pointer or a name means; returns that field's name or null. */
    mark(name, message) {
      let found = null;
      for (const one of widgets) {
        const isMeant = name !== null && one.name === name;
        one.invalid(isMeant ? message : null);
        if (isMeant) found = one.name;
      }
      return found;
    },
    focus(name) {
      widgets.find((one) => one.name === name)?.focus?.();
    },
    /** A file that was dropped or pasted, if there is an input for one. */
    take(file) {
      widgets.find((one) => one.take)?.take(file);
    },
  };
}

/** The input that a JSON pointer such as /instances/0/age leads to, or null. */
export function inputOf(pointer, model) {
  const [, , , name] = pointer.split("/");
  if (name === undefined) return model.inputs.length === 1 && pointer.startsWith("/instances") ? model.inputs[0].name : null;
  const plain = name.replaceAll("~1", "/").replaceAll("~0", "~");
  return model.inputs.find((one) => one.name === plain)?.name ?? (model.inputs.length === 1 ? model.inputs[0].name : null);
}

/** The golden examples as buttons, each with what training said of it. */
export async function showExamples(place, model, form) {
  const buttons = await Promise.all(ordinary(model).map((example, index) => exampleButton(example, index, model, form)));
  fill(place, element("h3", {}, say("examples.title")), model.imported && element("p", { class: "fine" }, say("examples.imported")), element("ul", { class: `examples of-${model.inputs.length === 1 ? model.inputs[0].kind : "row"}` }, ...buttons.map((one) => element("li", {}, one))));
}

async function exampleButton(example, index, model, form) {
  const label = element("span", { class: "example-label" }, example.label);
  const name = say("examples.name", { number: index + 1, label: example.label, probability: percent(example.probability) });
  const [schema] = model.inputs;
  const isPicture = model.inputs.length === 1 && schema.kind === "image"; // then its text does not say what it is
  const button = element("button", { type: "button", "aria-label": isPicture && name, title: name, onclick: () => form.write(example.values) });
  if (model.inputs.length > 1) button.append(say("examples.row", { number: index + 1 }), label);
  else if (isPicture) {
    const [height, width, channels = 1] = schema.shape;
    button.append(await canvasOf(example.values[schema.name], height, width, channels), label);
  } else button.append(shortened(textOf(example.values[schema.name])), label);
  return button;
}

/** Among the golden examples are extremes too, such as a black image; shown are those that look like an input. */
export function ordinary(model) {
  const found = model.examples.filter(({ values }) => model.inputs.every((schema) => isOrdinary(schema, values[schema.name])));
  return found.length > 0 ? found : model.examples;
}

/** Whether the value alone is an instance: a number or word is sent by its name. */
function isBare(schema) {
  return ["image", "text", "history"].includes(schema.kind);
}

function textOf(value) {
  return String(value?.items?.join(", ") ?? value ?? say("missing"));
}

function isOrdinary(schema, value) {
  if (value === null) return schema.kind === "number" || schema.kind === "category";
  if (schema.kind === "image" && Array.isArray(value)) return new Set(value.flat(2)).size > 1;
  if (schema.kind === "text") return new Set(value).size > FEW_CHARACTERS;
  if (schema.kind === "history") return value.items.length > 0;
  if (schema.kind === "number") return value >= schema.minimum && value <= schema.maximum;
  return schema.kind !== "category" || schema.categories_count > schema.categories.length || schema.categories.includes(value);
}

function shortened(text) {
  const points = [...text];
  return points.length > SHOWN_TEXT ? `${points.slice(0, SHOWN_TEXT).join("")}…` : text || say("examples.empty");
}
