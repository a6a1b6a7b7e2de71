// The two choices of a visitor that outlast a visit: language and colours. Never a key, never an input.

const PREFIX = "clipmax.";

export function recall(name) {
  try {
    return localStorage.getItem(PREFIX + name);
  } catch {
    return null; // storage is off
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(PREFIX + name, value);
  } catch {
    // storage is off: the choice holds for this visit
  }
}
