// @ts-check
/** What the parts of the page share: the numbers in its address, the digits, and small helpers. */

/** @typedef {"slope" | "rate" | "seed"} Name */

/** @type {Record<Name, { start: number, min: number, max: number, digits: number }>} */
const NUMBERS = {
  slope: { start: 0.1, min: 0, max: 1, digits: 3 },
  rate: { start: 0.5, min: 0.01, max: 1, digits: 2 },
  seed: { start: 0, min: 0, max: 19, digits: 0 },
};
const NAMES = /** @type {Name[]} */ (Object.keys(NUMBERS));

/** @type {Record<Name, number>} */
const values = { slope: 0, rate: 0, seed: 0 };
/** @type {Set<() => void>} */
const watchers = new Set();
let frame = 0;
let writing = 0;

/**
 * @param {Name} name
 * @param {number} value
 */
function allowed(name, value) {
  const { min, max, digits } = NUMBERS[name];
  return Number(Math.min(max, Math.max(min, value)).toFixed(digits));
}

function readAddress() {
  const parameters = new URLSearchParams(location.search);
  for (const name of NAMES) {
    const text = parameters.get(name);
    const value = Number(text);
    values[name] = text === null || text === "" || !Number.isFinite(value) ? NUMBERS[name].start : allowed(name, value);
  }
}

/** The address of the page with its numbers, without what follows the `#`. */
function address() {
  const url = new URL(location.href);
  url.hash = "";
  for (const name of NAMES) {
    if (values[name] === NUMBERS[name].start) url.searchParams.delete(name);
    else url.searchParams.set(name, String(values[name]));
  }
  return url.href;
}

function writeAddress() {
  clearTimeout(writing);
  writing = 0;
  const wanted = address() + location.hash;
  if (wanted !== location.href) history.replaceState(history.state, "", wanted);
}

/** Calls all watchers in the next frame, once however often the numbers change before it. */
function changed() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    for (const watcher of watchers) watcher();
  });
}

/** The page's numbers: each is in the address, and all figures follow it. */
export const state = {
  /** @param {Name} name */
  get: (name) => values[name],

  /**
   * @param {Name} name
   * @param {number} value
   */
  set(name, value) {
    const wanted = allowed(name, value);
    if (wanted === values[name]) return;
    values[name] = wanted;
    changed();
    writing ||= setTimeout(writeAddress, 250); // browsers limit how often an address may change
  },

  /**
   * Calls the function now, and in the frame after each change.
   *
   * @param {() => void} watcher
   */
  watch(watcher) {
    watchers.add(watcher);
    watcher();
  },
};

/**
 * The elements that a selector finds, which must be there.
 *
 * @template {Element} [T=HTMLElement]
 * @param {string} selector
 * @param {ParentNode} [inside]
 * @returns {T}
 */
export function find(selector, inside = document) {
  const found = inside.querySelector(selector);
  if (!found) throw new Error(`the page has no ${selector}`);
  return /** @type {T} */ (found);
}

/**
 * An element with this class and text.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string} [className]
 * @param {...(Node | string)} children
 */
export function element(tag, className = "", ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** A number as people write it: at most three digits after the point, and a real minus sign. @param {number} value */
export const written = (value) => String(Number(value.toFixed(3)) || 0).replace("-", "−");

/** @returns {boolean} */
export const lessMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** The handwritten digits; 1,797 records of 64 pixels from 0 to 16 and what they show. */
export const digits = fetch("digits.bin").then(async (response) => {
  if (!response.ok) throw new Error(`digits.bin: ${response.status}`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  const count = bytes.length / 65;
  const images = new Float32Array(count * 64);
  const labels = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    for (let pixel = 0; pixel < 64; pixel++) images[i * 64 + pixel] = bytes[i * 65 + pixel] / 16;
    labels[i] = bytes[i * 65 + 64];
  }
  return { images, labels };
});
digits.catch(() => {
  document.documentElement.classList.add("no-digits"); // which shows a notice
  find("#unit-status").textContent = "The digits could not be loaded, so there is nothing to show.";
});

/**
 * Draws an image of digits, dark where there is ink.
 *
 * @param {HTMLCanvasElement} canvas  of 8 by 8 pixels
 * @param {ArrayLike<number>} pixels  from 0 to 1
 */
export function drawDigit(canvas, pixels) {
  const context = canvas.getContext("2d");
  if (!context) return;
  const image = context.createImageData(8, 8);
  for (let i = 0; i < 64; i++) {
    image.data.set([30, 34, 42, Math.round(255 * pixels[i])], 4 * i);
  }
  context.putImageData(image, 0, 0);
}

/**
 * A button that copies a text, and says so.
 *
 * @param {HTMLButtonElement} button
 * @param {() => string} text
 */
export function copies(button, text) {
  const label = button.textContent ?? "";
  let back = 0;
  button.addEventListener("click", async () => {
    let said = "Copied";
    try {
      await navigator.clipboard.writeText(text());
    } catch {
      said = "Not allowed here";
    }
    button.textContent = said;
    clearTimeout(back);
    back = setTimeout(() => (button.textContent = label), 2000);
  });
}

/**
 * A range in the page that holds one of the numbers, with its value beside it.
 *
 * @param {HTMLInputElement} input  with `data-number`, and an output beside it
 */
function bind(input) {
  const name = /** @type {Name} */ (input.dataset.number);
  const output = input.parentElement?.querySelector("output");
  input.addEventListener("input", () => state.set(name, Number(input.value)));
  state.watch(() => {
    input.value = String(state.get(name));
    if (output) output.textContent = written(state.get(name));
  });
}

readAddress();
for (const input of document.querySelectorAll("input[data-number]")) bind(/** @type {HTMLInputElement} */ (input));
for (const button of document.querySelectorAll("button[data-slope]")) {
  const slope = Number(/** @type {HTMLElement} */ (button).dataset.slope);
  button.addEventListener("click", () => state.set("slope", slope));
  state.watch(() => button.setAttribute("aria-pressed", String(state.get("slope") === slope)));
}
copies(find("#copy-link"), address);
for (const block of document.querySelectorAll("pre[data-copy]")) {
  const button = element("button", "copy", "Copy");
  button.type = "button";
  block.before(button);
  copies(button, () => block.textContent ?? "");
}
addEventListener("pagehide", writeAddress);
addEventListener("popstate", () => {
  readAddress();
  changed();
});
