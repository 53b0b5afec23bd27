// @ts-check
/** Three networks that learn to read digits in a worker: their units as cells, one of them closely, and their accuracy. */
import { digits, drawDigit, element, find, state, written } from "./page.js";
import { add, axes, path, responsive, scale, set } from "./plot.js";

/** @typedef {import("./training-worker.js").State} State */
/** @typedef {import("./training-worker.js").Snapshot} Snapshot */

const NAMES = ["ReLU", "Leaky ReLU", "ReLU, then leak"];
const EPOCHS = 20;
const LAYERS = 3;
const UNITS = 16;
const PAUSES = [1000, 250, 0]; // between two epochs, in milliseconds, by speed
const SPEEDS = ["slow", "medium", "as fast as it can"];

const play = /** @type {HTMLButtonElement} */ (find("#play"));
const step = /** @type {HTMLButtonElement} */ (find("#step"));
const speed = /** @type {HTMLInputElement} */ (find("#speed"));
const panels = find("#networks");
const details = find("#training .details");
const closely = find("#training .closely");
const narrow = matchMedia("(max-width: 620px)");

const worker = new Worker(new URL("training-worker.js", import.meta.url), { type: "module" });
/** @type {State | undefined} */
let shown;
/** @type {State[]} */
let history = [];
let generation = 0;
let started = { seed: -1, slope: -1, rate: -1 };
let queued = 0;
let place = { network: 0, layer: 0, unit: 0 };

/** @param {number[][]} firing */
const neverPositive = (firing) => firing.flat().filter((rate) => rate === 0).length;
/** @param {number} share */
const percent = (share) => `${(100 * share).toFixed(1)} %`;

// The panels

const parts = NAMES.map((name, network) => {
  const accuracy = element("strong", "", "…");
  const note = element("span", "slope-now");
  const count = element("p", "count");
  const cells = Array.from({ length: LAYERS }, (_, layer) =>
    Array.from({ length: UNITS }, (_, unit) => {
      const cell = element("button", "cell");
      cell.type = "button";
      cell.tabIndex = -1;
      cell.addEventListener("click", () => select({ network, layer, unit }, true));
      return cell;
    }),
  );
  const layers = cells.map((row, layer) =>
    element("div", "layer", element("span", "", `Layer ${layer + 1}`), element("div", "cells", ...row)),
  );
  const group = element("div", "layers", ...layers);
  group.setAttribute("role", "group");
  group.addEventListener("keydown", (event) => walk(event, network));
  const panel = element(
    "section",
    `network n${network}`,
    element("h3", "", name),
    element("p", "accuracy", accuracy, " right ", note),
    group,
    count,
  );
  panels.append(panel);
  return { panel, accuracy, note, count, cells, group };
});

/** Arrow keys go from cell to cell. @param {KeyboardEvent} event @param {number} network */
function walk(event, network) {
  const moves = /** @type {Record<string, number>} */ ({ ArrowRight: 1, ArrowLeft: -1, ArrowDown: 8, ArrowUp: -8 });
  const move = moves[event.key];
  if (!move) return;
  event.preventDefault();
  const all = parts[network].cells.flat();
  const at = all.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
  const next = Math.min(all.length - 1, Math.max(0, at + move));
  for (const cell of all) cell.tabIndex = -1;
  all[next].tabIndex = 0;
  all[next].focus();
}

/** @param {typeof place} wanted @param {boolean} ask */
function select(wanted, ask) {
  place = wanted;
  parts.forEach(({ cells }, network) =>
    cells.forEach((row, layer) =>
      row.forEach((cell, unit) => {
        const chosen = network === wanted.network && layer === wanted.layer && unit === wanted.unit;
        cell.setAttribute("aria-pressed", String(chosen));
        if (network === wanted.network) cell.tabIndex = chosen ? 0 : -1;
      }),
    ),
  );
  // On a narrow screen the unit is shown below its network, and not below all three.
  const home = narrow.matches && ask ? parts[wanted.network].panel : details;
  if (closely.parentElement !== home) home.append(closely);
  if (ask) worker.postMessage({ place });
}
narrow.addEventListener("change", () => details.append(closely));

/** @param {Snapshot} snapshot @param {number} network */
function showNetwork({ alpha, firing, accuracy, overflowed }, network) {
  const part = parts[network];
  part.accuracy.textContent = percent(accuracy);
  part.note.textContent = alpha ? `slope ${written(alpha)}` : "slope 0";
  const kind = overflowed ? "lost" : alpha ? "leaking" : "dead";
  const words = { lost: "no longer a number", leaking: "never above zero", dead: "dead" }[kind];
  firing.forEach((rates, layer) =>
    rates.forEach((rate, unit) => {
      const cell = part.cells[layer][unit];
      const className = `cell ${rate && !overflowed ? "" : kind}`;
      if (cell.className !== className) cell.className = className;
      cell.style.setProperty("--rate", `${Math.round(100 * Math.sqrt(rate))}%`); // the root, so that rare ones are seen
      const what = rate && !overflowed ? `fires on ${percent(rate)} of the images` : words;
      const label = `Layer ${layer + 1}, unit ${unit + 1}: ${what}`;
      if (cell.title !== label) {
        cell.title = label;
        cell.setAttribute("aria-label", label);
      }
    }),
  );
  const never = neverPositive(firing);
  part.count.textContent = overflowed
    ? "Overflowed: the steps were too large, and its weights are no longer numbers."
    : `${never} of ${LAYERS * UNITS} units ${words}`;
  part.group.setAttribute("aria-label", `Units of ${NAMES[network]}: ${part.count.textContent}`);
}

// One unit

const histogram = /** @type {SVGSVGElement} */ (find("#histogram"));
const weightsPicture = /** @type {SVGSVGElement} */ (find("#weights"));
const bars = add(histogram, "g");
const zero = add(histogram, "line", { class: "axis" });
const histogramTexts = [0, 1, 2].map(() => add(histogram, "text", { class: "tick" }));

let box = { width: 0, height: 0 }; // of the histogram, in pixels
responsive(histogram, (width, height) => {
  box = { width, height };
  showUnit();
});

function showUnit() {
  const unit = shown?.inspected;
  if (!unit) return;
  const { network, layer } = unit.place;
  find("#unit-name").textContent = `${NAMES[network]}, layer ${layer + 1}, unit ${unit.place.unit + 1}`;
  const alpha = shown?.networks[network].alpha ?? 0;
  const finite = Number.isFinite(unit.low + unit.high) && unit.weights.every(Number.isFinite);
  const what = unit.firing
    ? `It fires on ${percent(unit.firing)} of the training images.`
    : alpha
      ? `It fires on none of the training images, but ${written(alpha)} times its gradient passes.`
      : "It fires on none of the training images, and no gradient reaches it: it is dead.";
  find("#unit-says").textContent = finite ? what : "Its weights have overflowed: they are no longer numbers.";

  const size = unit.weights.length === 64 ? 8 : 4;
  const largest = Math.max(...unit.weights.map(Math.abs)) || 1;
  set(weightsPicture, { viewBox: `0 0 ${size} ${size}` });
  while (weightsPicture.children.length < unit.weights.length) add(weightsPicture, "rect");
  while (weightsPicture.children.length > unit.weights.length) weightsPicture.lastChild?.remove();
  unit.weights.forEach((weight, i) => {
    const rectangle = weightsPicture.children[i];
    const [column, row] = [i % size, Math.floor(i / size)];
    rectangle.setAttribute("class", weight < 0 ? "negative" : "positive");
    const opacity = finite ? Math.abs(weight) / largest : 0;
    const side = 0.25 + 0.71 * Math.sqrt(opacity); // by size as well as by colour
    const [left, top] = [column + (1 - side) / 2, row + (1 - side) / 2];
    rectangle.setAttribute("x", left.toFixed(3));
    rectangle.setAttribute("y", top.toFixed(3));
    rectangle.setAttribute("width", side.toFixed(3));
    rectangle.setAttribute("height", side.toFixed(3));
    rectangle.setAttribute("opacity", (0.15 + 0.85 * opacity).toFixed(2));
  });
  const positive = unit.weights.filter((weight) => weight > 0).length;
  const source = size === 8 ? "the 64 pixels" : `the 16 units of layer ${layer}`;
  weightsPicture.setAttribute(
    "aria-label",
    `Weights from ${source}: ${positive} are above zero, ${unit.weights.length - positive} are not; the largest is ${written(largest)} in size.`,
  );
  find("#weights-from").textContent = `Weights from ${source}`;

  const tallest = Math.max(1, ...unit.bins);
  const x = scale(unit.low, unit.high === unit.low ? unit.low + 1 : unit.high, 8, box.width - 8);
  const y = scale(0, tallest, box.height - 22, 8);
  const step = (unit.high - unit.low) / unit.bins.length;
  while (bars.children.length < unit.bins.length) add(bars, "rect");
  unit.bins.forEach((count, i) => {
    const left = unit.low + i * step;
    const [width, height] = [Math.max(0.5, x(left + step) - x(left) - 1), box.height - 22 - y(count)];
    if (finite)
      set(bars.children[i], {
        x: x(left),
        y: y(count),
        width,
        height,
        class: left + step / 2 > 0 ? "fires" : "silent",
      });
    else set(bars.children[i], { height: 0 });
  });
  if (finite) set(zero, { x1: x(0), x2: x(0), y1: 4, y2: box.height - 20 });
  const labels = /** @type {[number, string][]} */ ([[unit.low, "start"], [0, "middle"], [unit.high, "end"]]); // prettier-ignore
  labels.forEach(([value, anchor], i) => {
    const crowded = i !== 1 && Math.abs(x(value) - x(0)) < 30;
    set(histogramTexts[i], { x: finite ? x(value) : 0, y: box.height - 6, "text-anchor": i === 1 && (x(0) < 20 || x(0) > box.width - 20) ? (x(0) < 20 ? "start" : "end") : anchor }); // prettier-ignore
    histogramTexts[i].textContent = finite && !crowded ? (i === 1 ? "0" : written(Number(value.toPrecision(2)))) : "";
  });
  histogram.setAttribute(
    "aria-label",
    `z on the training images, from ${written(unit.low)} to ${written(unit.high)}. ${what}`,
  );
}

// What they read, and how good they are

const samples = find("#samples");
const sampleRows = NAMES.map((name) => {
  const row = element("tr");
  const header = element("th", "", name);
  header.scope = "row";
  row.append(header);
  return row;
});
const sampleHead = element("tr", "", element("td"));
samples.append(element("thead", "", sampleHead), element("tbody", "", ...sampleRows));

/** @param {State} now */
function showSamples(now) {
  now.labels.forEach((label, i) => {
    let header = sampleHead.children[i + 1];
    if (!header) {
      const canvas = element("canvas");
      [canvas.width, canvas.height] = [8, 8];
      canvas.setAttribute("role", "img");
      header = element("th", "", canvas);
      header.setAttribute("scope", "col");
      sampleHead.append(header);
      for (const row of sampleRows) row.append(element("td"));
    }
    const canvas = /** @type {HTMLCanvasElement} */ (header.firstChild);
    if (canvas.dataset.generation !== String(now.generation)) {
      canvas.dataset.generation = String(now.generation);
      canvas.setAttribute("aria-label", `a handwritten ${label}`);
      drawDigit(canvas, now.pictures[i]);
    }
    now.networks.forEach((network, which) => {
      const cell = sampleRows[which].children[i + 1];
      const right = network.shown[i] === label;
      cell.className = right ? "right" : "wrong";
      cell.textContent = network.overflowed ? "–" : `${network.shown[i]}${right ? "" : " ✗"}`;
    });
  });
}

const charts = [
  {
    picture: "#accuracies",
    name: "Test accuracy in %, by epoch",
    top: 100,
    of: (/** @type {Snapshot} */ s) => 100 * s.accuracy,
  },
  {
    picture: "#never",
    name: "Units never above zero, by epoch",
    top: 48,
    of: (/** @type {Snapshot} */ s) => (s.overflowed ? NaN : neverPositive(s.firing)),
  },
].map(({ picture, name, top, of }) => {
  const svg = /** @type {SVGSVGElement} */ (find(picture));
  const axesGroup = add(svg, "g", { "aria-hidden": "true" });
  const half = add(svg, "line", { class: "guide" });
  const lines = NAMES.map((_, i) => add(svg, "path", { class: `line n${i}` }));
  const ends = NAMES.map((_, i) => add(svg, "circle", { class: `end n${i}`, r: 3.5 }));
  let [x, y] = [scale(0, 1, 0, 1), scale(0, 1, 0, 1)];
  const draw = () => {
    lines.forEach((line, i) => {
      const points = history
        .map(({ epoch, networks }) => /** @type {[number, number]} */ ([x(epoch), y(of(networks[i]))]))
        .filter(([, height]) => Number.isFinite(height));
      set(line, { d: points.length ? path(points) : "" });
      const last = points[points.length - 1];
      set(ends[i], last ? { cx: last[0], cy: last[1], visibility: "visible" } : { visibility: "hidden" });
    });
    const now = shown?.networks.map(
      (network, i) => `${NAMES[i]} ${network.overflowed ? "overflowed" : Math.round(of(network))}`,
    );
    svg.setAttribute("aria-label", `${name}. After epoch ${shown?.epoch ?? 0}: ${now?.join(", ")}.`);
  };
  responsive(svg, (width, height) => {
    x = scale(0, EPOCHS, 34, width - 10);
    y = scale(0, top, height - 24, 24);
    const middle = top / 2;
    axes(axesGroup, x, y, {
      xTicks: [0, 5, 10, 15, 20],
      yTicks: [0, middle, top],
      xRange: [0, EPOCHS],
      yRange: [0, top],
    });
    add(axesGroup, "text", { class: "name", x: 2, y: 12 }, name);
    add(axesGroup, "text", { class: "tick", x: x(EPOCHS / 2) + 4, y: 34 }, "leak on");
    set(half, { x1: x(EPOCHS / 2), x2: x(EPOCHS / 2), y1: y(0), y2: y(top) });
    draw();
  });
  return draw;
});

// The training

function show() {
  queued = 0;
  if (!shown) return;
  shown.networks.forEach(showNetwork);
  showUnit();
  showSamples(shown);
  for (const draw of charts) draw();
  find("#epoch").textContent = `Epoch ${shown.epoch} of ${EPOCHS}`;
  const ended = shown.epoch >= EPOCHS;
  play.textContent = shown.playing ? "Pause" : ended ? "Train again" : shown.epoch ? "Go on" : "Train";
  step.disabled = ended;
  find("#training").dataset.epoch = String(shown.epoch);
}

worker.addEventListener("message", ({ data }) => {
  const now = /** @type {State} */ (data);
  if (now.generation !== generation) return;
  shown = now;
  history = history.filter(({ epoch }) => epoch < now.epoch);
  history.push(now);
  queued ||= requestAnimationFrame(show);
});
worker.addEventListener("error", () => document.documentElement.classList.add("no-digits"));

const loaded = await digits;

/** @param {boolean} playing */
function start(playing) {
  generation++;
  history = [];
  started = { seed: state.get("seed"), slope: state.get("slope"), rate: state.get("rate") };
  const { seed, slope: alpha, rate } = started;
  worker.postMessage({ start: { digits: loaded, seed, alpha, rate }, generation, playing, place });
}

play.addEventListener("click", () => {
  if (shown && shown.epoch >= EPOCHS) start(true);
  else worker.postMessage({ playing: !shown?.playing });
});
step.addEventListener("click", () => worker.postMessage({ playing: false, step: true }));
find("#reset").addEventListener("click", () => start(false));
speed.addEventListener("input", () => setSpeed());
function setSpeed() {
  const at = Number(speed.value);
  speed.setAttribute("aria-valuetext", SPEEDS[at]);
  find("#speed-value").textContent = SPEEDS[at];
  worker.postMessage({ delay: PAUSES[at] });
}

select(place, false);
start(false);
setSpeed();
state.watch(() => {
  if (state.get("seed") !== started.seed) return start(shown?.playing ?? false);
  if (state.get("slope") !== started.slope) worker.postMessage({ alpha: (started.slope = state.get("slope")) });
  if (state.get("rate") !== started.rate) worker.postMessage({ rate: (started.rate = state.get("rate")) });
});
