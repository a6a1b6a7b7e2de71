// Ink on a canvas → the pixels that a model of small gray images was trained on. No element of the page is touched.

const INK = 24; // of 255: fainter is paper

/** The box around everything darker than paper, or null where there is none. `ink` is [height × width], 0..255. */
export function inkBox(ink, width, height) {
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      if (ink[y * width + x] > INK) {
        left = Math.min(left, x);
        right = Math.max(right, x);
        top = Math.min(top, y);
        bottom = Math.max(bottom, y);
      }
    }
  }
  return right < 0 ? null : { left, top, width: right - left + 1, height: bottom - top + 1 };
}

/** The centre of mass of an image, in pixels from its top left corner. */
export function centreOfMass(ink, width, height) {
  let [mass, sumX, sumY] = [0, 0, 0];
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const value = ink[y * width + x];
      mass += value;
      sumX += value * (x + 0.5);
      sumY += value * (y + 0.5);
    }
  }
  return mass === 0 ? { x: width / 2, y: height / 2 } : { x: sumX / mass, y: sumY / mass };
}

/**
 * As MNIST was made: the box around the ink is scaled into 20 of 28 pixels, its sides kept in proportion, and moved so
 * that its centre of mass is the centre of the field.
 *
 * @param source a canvas whose red channel is the ink, black where there is none.
 * @returns a canvas of width × height, black where there is no ink.
 */
export function centred(source, width, height) {
  const box = inkBox(channel(source), source.width, source.height);
  const target = blank(width, height);
  if (box === null) return target;
  const scale = ((20 / 28) * Math.min(width, height)) / Math.max(box.width, box.height);
  const small = blank(Math.max(1, Math.round(box.width * scale)), Math.max(1, Math.round(box.height * scale)));
  shrink(source, box, small);
  const centre = centreOfMass(channel(small), small.width, small.height);
  const place = (size, at) => Math.round(size / 2 - at);
  context(target).drawImage(small, place(width, centre.x), place(height, centre.y));
  return target;
}

/** The whole source at another size. */
export function resized(source, width, height) {
  const target = blank(width, height);
  shrink(source, { left: 0, top: 0, width: source.width, height: source.height }, target);
  return target;
}

/** Halves until less than twice too large: one large step would skip pixels and make thin strokes ragged. */
function shrink(source, box, target) {
  let from = { image: source, ...box };
  while (from.width >= 2 * target.width && from.height >= 2 * target.height) {
    const half = blank(Math.ceil(from.width / 2), Math.ceil(from.height / 2));
    copy(from, half);
    from = { image: half, left: 0, top: 0, width: half.width, height: half.height };
  }
  copy(from, target);
}

function copy(from, target) {
  const surface = context(target);
  surface.imageSmoothingQuality = "high";
  surface.drawImage(from.image, from.left, from.top, from.width, from.height, 0, 0, target.width, target.height);
}

/** A photograph of dark ink on light paper → white ink on black, with the paper taken out; in place. */
export function developed(canvas, isDarkOnLight) {
  const surface = context(canvas);
  const image = surface.getImageData(0, 0, canvas.width, canvas.height);
  const gray = grays(image.data).map((value) => (isDarkOnLight ? 255 - value : value));
  const paper = median(border(gray, canvas.width, canvas.height));
  const most = Math.max(...rows(gray, canvas.width).map((row) => Math.max(...row)));
  const floor = Math.min(paper + 20, most);
  const range = Math.max(1, most - floor);
  gray.forEach((value, index) => image.data.fill(Math.max(0, ((value - floor) / range) * 255), index * 4, index * 4 + 3));
  surface.putImageData(image, 0, 0);
  return canvas;
}

/** Whether the border of a picture is rather light, as paper is. */
export function isOnPaper(canvas) {
  const { data } = context(canvas).getImageData(0, 0, canvas.width, canvas.height);
  return median(border(grays(data), canvas.width, canvas.height)) > 127;
}

/** The colours of a canvas as gray, in place. */
export function grayed(canvas) {
  const surface = context(canvas);
  const image = surface.getImageData(0, 0, canvas.width, canvas.height);
  grays(image.data).forEach((value, index) => image.data.fill(value, index * 4, index * 4 + 3));
  surface.putImageData(image, 0, 0);
  return canvas;
}

/** A canvas of rows as JSON has them, gray [H × W] or rgb [H × W × 3], nested or flat, values from 0 to 255. */
export function ofValues(values, height, width, channels) {
  const flat = values.flat(2);
  const canvas = blank(width, height);
  const image = context(canvas).createImageData(width, height);
  for (let pixel = 0; pixel < width * height; pixel += 1) {
    for (let color = 0; color < 3; color += 1) {
      image.data[pixel * 4 + color] = flat[pixel * channels + (channels === 1 ? 0 : color)];
    }
    image.data[pixel * 4 + 3] = 255;
  }
  context(canvas).putImageData(image, 0, 0);
  return canvas;
}

/** A picture on white, as viewers show what is transparent. */
export function opaque(picture) {
  const canvas = blank(picture.width, picture.height);
  const surface = context(canvas);
  surface.fillStyle = "#fff";
  surface.fillRect(0, 0, canvas.width, canvas.height);
  surface.drawImage(picture, 0, 0);
  return canvas;
}

/** A black canvas. */
export function blank(width, height) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const surface = context(canvas);
  surface.fillStyle = "#000";
  surface.fillRect(0, 0, width, height);
  return canvas;
}

export const context = (canvas) => canvas.getContext("2d", { willReadFrequently: true });

/** The red channel: [height × width]. */
export function channel(canvas) {
  const { data } = context(canvas).getImageData(0, 0, canvas.width, canvas.height);
  return Uint8Array.from({ length: data.length / 4 }, (_, index) => data[index * 4]);
}

/** Luma as PNG decoders compute it (ITU-R 601). */
function grays(data) {
  return Uint8Array.from({ length: data.length / 4 }, (_, index) =>
    Math.round(0.299 * data[index * 4] + 0.587 * data[index * 4 + 1] + 0.114 * data[index * 4 + 2]),
  );
}

const rows = (values, width) =>
  Array.from({ length: values.length / width }, (_, row) => values.subarray(row * width, (row + 1) * width));

function border(values, width, height) {
  const lines = rows(values, width);
  return [...lines[0], ...lines[height - 1], ...lines.flatMap((line) => [line[0], line[width - 1]])];
}

const median = (values) => values.toSorted((first, second) => first - second)[values.length >> 1];
