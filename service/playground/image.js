// An image input: draw on a pad, drop, paste or choose a file → a PNG of exactly the model's size.

import { element } from "./dom.js";
import * as pixels from "./pixels.js";
import { say } from "./words.js";

const PAD = 336; // pixels of the pad's longer side
const PEN = 0.075; // of it
const STEP = 8; // pixels that an arrow key moves the pen
const PREVIEW_LIMIT = 64;

/** The widget of an image input; `onChange` is called whenever its value is another, `onRefuse` with a Failure's words. */
export function imageInput(schema, { onChange, onRefuse }) {
  const [height, width, channels = 1] = schema.shape;
  const isGray = channels === 1;
  const pad = makePad(height, width, isGray);
  const preview = element("canvas", { class: "preview", width, height, role: "img" });
  const state = { isEmpty: true, isStale: false, given: null, photograph: null, isCentred: isGray && height === 28 && width === 28, isNegative: false };
  const canCentre = isGray && Math.max(height, width) <= PREVIEW_LIMIT;

  function refresh() {
    state.isStale = true; // a stroke has many points between two frames, and one look at the pad is enough
    requestAnimationFrame(settle);
    showEmpty();
    onChange();
  }

  function showEmpty() {
    hint.hidden = !state.isEmpty;
    surface.classList.toggle("bare", state.isEmpty && !isGray);
  }

  /** What the model sees, from what is on the pad now. */
  function settle() {
    if (!state.isStale) return;
    state.isStale = false;
    const seen = state.given ?? (state.isCentred ? pixels.centred : pixels.resized)(pad, width, height);
    pixels.context(preview).drawImage(seen, 0, 0);
  }

  function touched() {
    state.isEmpty = false;
    state.given = state.photograph = null;
    negative.hidden = true;
    refresh();
  }

  function clear() {
    Object.assign(state, { isEmpty: true, given: null, photograph: null });
    wipe(pad);
    negative.hidden = true;
    refresh();
  }

  /** A picture of any size: of gray models its ink becomes the pad's, to be scaled like what is drawn. */
  function show(picture) {
    const canvas = fitted(picture, pad.width, pad.height, isGray);
    state.photograph = picture;
    if (isGray && state.isCentred) pixels.developed(canvas, state.isNegative);
    else if (isGray) invertIf(pixels.grayed(canvas), state.isNegative);
    pixels.context(pad).drawImage(canvas, 0, 0);
    state.isEmpty = false;
    state.given = state.isCentred ? null : exact(picture, width, height, isGray, state.isNegative);
    negative.hidden = !isGray;
    refresh();
  }

  async function take(file) {
    try {
      const picture = pixels.opaque(await createImageBitmap(file));
      state.isNegative = isGray && pixels.isOnPaper(pixels.grayed(fitted(picture, pad.width, pad.height, false)));
      negativeBox.checked = state.isNegative;
      show(picture);
    } catch {
      onRefuse(say("image.unreadable.title"), say("image.unreadable.detail"));
    }
  }

  const hint = element("p", { class: "pad-hint", "aria-hidden": "true" });
  const file = element("input", { type: "file", accept: "image/*", class: "unseen", tabindex: "-1", onchange: () => {
    if (file.files.length > 0) take(file.files[0]);
    file.value = "";
  } });
  const centreBox = element("input", { type: "checkbox", onchange: () => {
    state.isCentred = centreBox.checked;
    if (state.photograph !== null) show(state.photograph);
    else if (!state.isEmpty && state.given === null) refresh();
  } });
  centreBox.checked = state.isCentred;
  const negativeBox = element("input", { type: "checkbox", onchange: () => {
    state.isNegative = negativeBox.checked;
    show(state.photograph);
  } });
  const words = { centre: element("span"), negative: element("span"), seen: element("span"), keys: element("p", { class: "fine" }) };
  const negative = element("label", { class: "check", hidden: true }, negativeBox, words.negative);
  const centre = element("label", { class: "check", hidden: !canCentre }, centreBox, words.centre);
  const clearButton = element("button", { type: "button", onclick: clear });
  const fileButton = element("button", { type: "button", onclick: () => file.click() });
  const surface = element("div", { class: "pad", "data-gray": isGray }, pad, hint);
  if (isGray) draws(pad, surface, touched, clear);
  else surface.addEventListener("click", () => file.click());
  showsDrops(surface);
  showEmpty();

  const view = element("div", { class: "image" },
    surface,
    element("div", { class: "image-side" },
      element("div", { class: "buttons" }, clearButton, fileButton, file),
      element("figure", {}, preview, element("figcaption", { class: "fine" }, words.seen)),
      centre, negative, words.keys));

  return {
    name: schema.name,
    element: view,
    isEmpty: () => state.isEmpty,
    read() {
      settle();
      return { b64: preview.toDataURL("image/png").split(",")[1] };
    },
    async write(value) {
      state.given = await canvasOf(value, height, width, channels);
      state.photograph = null;
      state.isEmpty = false;
      negative.hidden = true;
      pixels.context(pad).drawImage(state.given, 0, 0, pad.width, pad.height);
      refresh();
    },
    speak() {
      hint.textContent = say(isGray ? "image.hint" : "image.hint.rgb");
      clearButton.textContent = say("image.clear");
      fileButton.textContent = say("image.file");
      words.centre.textContent = say("image.centre");
      words.negative.textContent = say("image.negative");
      words.seen.textContent = say("image.seen", { width, height });
      words.keys.textContent = isGray ? say("image.keys") : "";
      pad.setAttribute("aria-label", say(isGray ? "image.pad" : "image.pad.rgb"));
      preview.setAttribute("aria-label", say("image.seen", { width, height }));
      file.setAttribute("aria-label", say("image.file"));
    },
    invalid(message) {
      surface.classList.toggle("wrong", message !== null);
    },
    take,
  };
}

/** A golden value, rows of numbers or an encoded image, as a canvas of its own. */
export async function canvasOf(value, height, width, channels) {
  if (Array.isArray(value)) return pixels.ofValues(value, height, width, channels);
  const bytes = Uint8Array.from(atob(value.b64), (character) => character.charCodeAt(0));
  const canvas = pixels.blank(width, height);
  pixels.context(canvas).drawImage(await createImageBitmap(new Blob([bytes])), 0, 0);
  return canvas;
}

function makePad(height, width, isGray) {
  const scale = PAD / Math.max(height, width);
  const size = { width: Math.round(width * scale), height: Math.round(height * scale) };
  const pad = element("canvas", { ...size, tabindex: isGray ? "0" : null, role: "img" });
  wipe(pad);
  return pad;
}

function wipe(pad) {
  const surface = pixels.context(pad);
  surface.fillStyle = "#000";
  surface.fillRect(0, 0, pad.width, pad.height);
}

/** A picture in the middle of a canvas, whole where it is ink, else cut to fill it. */
function fitted(picture, width, height, isWhole) {
  const canvas = pixels.blank(width, height);
  const scale = (isWhole ? Math.min : Math.max)(width / picture.width, height / picture.height);
  const size = [picture.width * scale, picture.height * scale];
  if (isWhole) fillWithCorner(canvas, picture);
  pixels.context(canvas).drawImage(picture, (width - size[0]) / 2, (height - size[1]) / 2, ...size);
  return canvas;
}

/** What lies beside a picture that is narrower than the pad looks like its corner: paper goes on. */
function fillWithCorner(canvas, picture) {
  pixels.context(canvas).drawImage(picture, 0, 0, 1, 1, 0, 0, canvas.width, canvas.height);
}

/** A file that already has the model's size goes to it pixel by pixel. */
function exact(picture, width, height, isGray, isNegative) {
  if (picture.width !== width || picture.height !== height) return null;
  const canvas = pixels.blank(width, height);
  pixels.context(canvas).drawImage(picture, 0, 0);
  return isGray ? invertIf(pixels.grayed(canvas), isNegative) : canvas;
}

function invertIf(canvas, isNegative) {
  if (!isNegative) return canvas;
  const surface = pixels.context(canvas);
  surface.globalCompositeOperation = "difference";
  surface.fillStyle = "#fff";
  surface.fillRect(0, 0, canvas.width, canvas.height);
  surface.globalCompositeOperation = "source-over";
  return canvas;
}

/** Pen, finger, mouse, and the arrow keys with space for those who use none of them. */
function draws(pad, place, touched, clear) {
  const surface = pixels.context(pad);
  const pen = { x: pad.width / 2, y: pad.height / 4, isDown: false };
  const mark = element("span", { class: "pen", hidden: true, "aria-hidden": "true" });
  place.append(mark);

  function line(to) {
    surface.strokeStyle = "#fff";
    surface.lineCap = surface.lineJoin = "round";
    surface.lineWidth = PEN * Math.max(pad.width, pad.height);
    surface.beginPath();
    surface.moveTo(pen.x, pen.y);
    surface.lineTo(to.x, to.y);
    surface.stroke();
    Object.assign(pen, to);
    touched();
  }

  function at(event) {
    const box = pad.getBoundingClientRect();
    return { x: ((event.clientX - box.left) / box.width) * pad.width, y: ((event.clientY - box.top) / box.height) * pad.height };
  }

  function showPen() {
    mark.hidden = false;
    mark.classList.toggle("down", pen.isDown);
    mark.style.setProperty("left", `${(pen.x / pad.width) * 100}%`);
    mark.style.setProperty("top", `${(pen.y / pad.height) * 100}%`);
  }

  pad.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    pad.setPointerCapture(event.pointerId);
    mark.hidden = true;
    Object.assign(pen, at(event), { isDown: true });
    line(at(event));
  });
  pad.addEventListener("pointermove", (event) => {
    if (!pen.isDown || !pad.hasPointerCapture(event.pointerId)) return;
    const between = event.getCoalescedEvents();
    for (const one of between.length > 0 ? between : [event]) line(at(one));
  });
  for (const end of ["pointerup", "pointercancel"]) pad.addEventListener(end, () => { pen.isDown = false; });
  pad.addEventListener("blur", () => {
    pen.isDown = false;
    mark.hidden = true;
  });
  pad.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
    if (event.key === " ") {
      pen.isDown = !pen.isDown;
      if (pen.isDown) line({ x: pen.x, y: pen.y });
    } else if (event.key === "Delete" || event.key === "Backspace") clear();
    else if (event.key in steps) {
      const [x, y] = steps[event.key];
      const to = { x: Math.min(pad.width, Math.max(0, pen.x + x)), y: Math.min(pad.height, Math.max(0, pen.y + y)) };
      if (pen.isDown) line(to);
      else Object.assign(pen, to);
    } else return;
    event.preventDefault();
    showPen();
  });
}

/** Only shows that the pad is meant: the page takes a file wherever it is dropped. */
function showsDrops(surface) {
  surface.addEventListener("dragover", () => surface.classList.add("over"));
  for (const end of ["dragleave", "drop"]) surface.addEventListener(end, () => surface.classList.remove("over"));
}
