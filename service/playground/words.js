// Keys → sentences in the chosen language, and numbers as it writes them. Each language is one file in words/.

import { en } from "./words/en.js";
import { zh } from "./words/zh.js";
import { recall, remember } from "./memory.js";

const LANGUAGES = { en, zh };
let language = recall("language") ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
if (!(language in LANGUAGES)) language = "en";

export const currentLanguage = () => language;

/** The sentence of a key with `{name}` replaced; the key itself would show a gap. */
export function say(key, values = {}) {
  const sentence = LANGUAGES[language][key] ?? en[key] ?? key;
  return sentence.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** The sentence, or null where there is none in this language. */
export const sayIfKnown = (key, values) => (key in LANGUAGES[language] ? say(key, values) : null);

/** The other language, remembered for the next visit. */
export function switchLanguage() {
  language = language === "en" ? "zh" : "en";
  remember("language", language);
  applyLanguage();
}

/** Writes the words of the page's fixed parts. */
export function applyLanguage() {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  for (const place of document.querySelectorAll("[data-words]")) place.textContent = say(place.dataset.words);
  for (const place of document.querySelectorAll("[data-label]")) place.setAttribute("aria-label", say(place.dataset.label));
}

/** From 15 digits on as a power of ten. */
export function number(value, digits = 4) {
  const notation = Math.abs(value) < 1e15 ? "standard" : "scientific";
  return new Intl.NumberFormat(language, { maximumSignificantDigits: digits, notation }).format(value);
}

export const whole = (value) => new Intl.NumberFormat(language, { maximumFractionDigits: 0 }).format(value);

/** A share of one in percent; what would round to 0 or 100 and is neither says so. */
export function percent(share, digits = 1) {
  const format = new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: digits });
  const least = 0.1 ** (digits + 2);
  if (share > 0 && share < least / 2) return `<${format.format(least)}`;
  if (share < 1 && share > 1 - least / 2) return `>${format.format(1 - least)}`;
  return format.format(share);
}

export const date = (text) => new Intl.DateTimeFormat(language, { dateStyle: "medium" }).format(new Date(text));
