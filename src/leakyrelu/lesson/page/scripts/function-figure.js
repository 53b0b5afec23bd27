// @ts-check
/** The function and its derivative, dragged by a point and by the left arm; the negative side under a magnifier. */
import { leakyRelu, leakyReluDerivative } from "./network.js";
import { find, state, written } from "./page.js";
import { add, axes, drags, handle, path, responsive, scale, set } from "./plot.js";

const [LEFT, RIGHT, ARM] = [-5, 5, -4.5];
const MAGNIFIED = 0.05; // the largest slope that the magnifier can show

const picture = /** @type {SVGSVGElement} */ (find("#function"));
const magnifier = /** @type {SVGSVGElement} */ (find("#magnifier"));
const [valueText, derivativeText] = [find("#value"), find("#derivative")];

let x = -3;
let dragged = false; // until the arm has been moved, a note says that it can be
let queued = 0;
let [px, py, dy] = [scale(0, 1, 0, 1), scale(0, 1, 0, 1), scale(0, 1, 0, 1)];
let [mx, my] = [px, py];

/** The keys go in hundredths, and in thousandths below 0.02. @param {number} slope */
const larger = (slope) => slope + (slope < 0.02 ? 0.001 : 0.01);
/** @param {number} slope */
const smaller = (slope) => slope - (slope <= 0.02 ? 0.001 : 0.01);
/** @param {number} slope */
function setSlope(slope) {
  dragged = true;
  state.set("slope", slope);
}

/** @param {number} wanted */
function setX(wanted) {
  x = Math.round(wanted * 10) / 10 || 0;
  queued ||= requestAnimationFrame(() => {
    queued = 0;
    draw();
  });
}

const surface = add(picture, "rect", { class: "surface" });
const axesOfFunction = add(picture, "g", { "aria-hidden": "true" });
const axesOfDerivative = add(picture, "g", { "aria-hidden": "true" });
const curves = add(picture, "g", { "aria-hidden": "true" });
const ghost = add(curves, "path", { class: "ghost" });
const ghostName = add(curves, "text", { class: "note" }, "ReLU");
const curve = add(curves, "path", { class: "curve" });
const guide = add(curves, "line", { class: "guide" });
const steps = [add(curves, "line", { class: "slope" }), add(curves, "line", { class: "slope" })];
const open = add(curves, "circle", { class: "open", r: 5 });
const closed = add(curves, "circle", { class: "closed", r: 5 });
const point = add(curves, "circle", { class: "closed", r: 7 });
const arm = handle(picture, {
  name: "Slope of the left arm",
  kind: "arm",
  min: 0,
  max: 1,
  orientation: "vertical",
  value: () => state.get("slope"),
  up: larger,
  down: smaller,
  at: (_, y) => Math.round((py.back(y) / ARM) * 100) / 100,
  change: setSlope,
});
const armName = add(picture, "text", { class: "note pull", "aria-hidden": "true" }, "drag the arm");
const dot = handle(picture, {
  name: "Point x on the function",
  kind: "point",
  min: LEFT,
  max: RIGHT,
  orientation: "horizontal",
  value: () => x,
  up: (now) => now + 0.1,
  down: (now) => now - 0.1,
  at: (pixel) => px.back(pixel),
  change: setX,
});
drags(picture, surface, (pixel) => setX(Math.min(RIGHT, Math.max(LEFT, px.back(pixel)))));

const axesOfMagnifier = add(magnifier, "g", { "aria-hidden": "true" });
const enlarged = add(magnifier, "g", { "aria-hidden": "true" });
const enlargedGhost = add(enlarged, "path", { class: "ghost" });
const enlargedCurve = add(enlarged, "path", { class: "curve" });
const beyond = add(enlarged, "text", { class: "note" }, "steeper still ↓");
const fine = handle(magnifier, {
  name: "Slope, under the magnifier",
  kind: "arm",
  min: 0,
  max: 1,
  orientation: "vertical",
  value: () => state.get("slope"),
  up: (slope) => slope + 0.001,
  down: (slope) => slope - 0.001,
  at: (_, y) => Math.min(MAGNIFIED, Math.round((my.back(y) / -4) * 1000) / 1000),
  change: setSlope,
});

/**
 * @param {number} width
 * @param {number} height
 */
function layout(width, height) {
  const split = Math.round(height * 0.7);
  px = scale(LEFT, RIGHT, 26, width - 14);
  py = scale(-5, 5, split - 12, 10);
  dy = scale(0, 1, height - 26, split + 34);
  set(surface, { width, height });
  /** @type {[number, number]} */
  const xRange = [LEFT, RIGHT];
  const fifths = [-4, -2, 2, 4];
  axes(axesOfFunction, px, py, {
    xTicks: [],
    yTicks: [-4, -2, 0, 2, 4],
    xRange,
    yRange: [-5, 5],
    xName: "x",
    yName: "f(x)",
  });
  axes(axesOfDerivative, px, dy, {
    xTicks: [...fifths, 0],
    yTicks: [0, 1],
    xRange,
    yRange: [0, 1.15],
    xName: "x",
    crossX: LEFT,
  });
  add(axesOfDerivative, "text", { class: "name gradient", x: 26, y: split + 20 }, "derivative f′(x)");
  for (const tick of fifths)
    add(axesOfFunction, "line", { class: "grid", x1: px(tick), x2: px(tick), y1: py(-5), y2: py(5) });
  add(axesOfFunction, "line", { class: "axis", x1: px(0), x2: px(0), y1: py(-5), y2: py(5) });
  set(ghost, { d: path([[px(LEFT), py(0)], [px(0), py(0)], [px(5), py(5)]]) }); // prettier-ignore
  set(ghostName, { x: px(-0.6), y: py(0) - 8, "text-anchor": "end" });
  draw();
}

/**
 * @param {number} width
 * @param {number} height
 */
function layoutMagnifier(width, height) {
  mx = scale(-4.4, 0.4, 44, width - 10);
  my = scale(-0.2, 0.03, height - 22, 24);
  axes(axesOfMagnifier, mx, my, {
    xTicks: [-4, -3, -2, -1],
    yTicks: [-0.2, -0.1, 0],
    xRange: [-4.4, 0.4],
    yRange: [-0.2, 0.03],
    crossX: -4.4,
    crossY: 0,
    negativeAbove: true,
  });
  set(enlargedGhost, { d: path([[mx(-4.4), my(0)], [mx(0), my(0)], [mx(0.03), my(0.03)]]) }); // prettier-ignore
  set(beyond, { x: mx(-4.3), y: my(-0.2) - 18 });
  draw();
}

function draw() {
  const slope = state.get("slope");
  const [value, derivative] = [leakyRelu(x, slope), leakyReluDerivative(x, slope)];
  set(curve, { d: path([[px(LEFT), py(slope * LEFT)], [px(0), py(0)], [px(5), py(5)]]) }); // prettier-ignore
  set(steps[0], { x1: px(LEFT), x2: px(0), y1: dy(slope), y2: dy(slope) });
  set(steps[1], { x1: px(0), x2: px(RIGHT), y1: dy(1), y2: dy(1) });
  const visibility = slope === 1 ? "hidden" : "visible"; // a straight line has a derivative at zero
  set(open, { cx: px(0), cy: dy(slope), visibility });
  set(closed, { cx: px(0), cy: dy(1), visibility });
  set(guide, { x1: px(x), x2: px(x), y1: py(value), y2: dy(0) });
  set(point, { cx: px(x), cy: dy(derivative) });
  arm.place(px(ARM), py(slope * ARM));
  set(armName, { x: px(ARM) + 18, y: Math.min(py(slope * ARM) + 26, py(-5) - 4) });
  armName.textContent = dragged ? `α = ${slope}` : `α = ${slope}: drag the arm`;
  arm.tell(slope, `slope ${slope}`);
  dot.place(px(x), py(value));
  dot.tell(x, `x ${x}: value ${Number(value.toFixed(4)) || 0}, derivative ${derivative}`);

  const shown = Math.min(slope, MAGNIFIED);
  const end = Math.min(4.4, 0.2 / (slope || 1e-9));
  set(enlargedCurve, { d: path([[mx(-end), my(-end * slope)], [mx(0), my(0)], [mx(0.03), my(0.03)]]) }); // prettier-ignore
  set(beyond, { visibility: slope > MAGNIFIED ? "visible" : "hidden" });
  fine.place(mx(-4), my(-4 * shown));
  fine.tell(slope, `slope ${slope}`);

  const [at, alpha] = [written(x), written(slope)];
  const product = x >= 0 ? "" : `${alpha} × ${at.replace("−", "(−")}${x < 0 ? ")" : ""} = `;
  valueText.textContent = `f(${at}) = ${product}${written(value)}`;
  derivativeText.textContent = `f′(${at}) = ${written(derivative)}`;
  picture.setAttribute(
    "aria-label",
    `Leaky ReLU with slope ${slope}: a line of slope ${slope} below zero and of slope 1 above. ` +
      (slope === 1 ? "Its derivative is 1 everywhere." : `Its derivative is ${slope} below zero and 1 from zero on.`) +
      ` Marked at x = ${x}: value ${Number(value.toFixed(4)) || 0}, derivative ${derivative}.`,
  );
  magnifier.setAttribute(
    "aria-label",
    slope > MAGNIFIED
      ? `The negative side, magnified: at slope ${slope} the line leaves the picture at x = ${written(-end)}.`
      : `The negative side, magnified: at x = −4 the value is ${written(-4 * slope)}.`,
  );
  const times = Math.abs((my(1) - my(0)) / (py(1) - py(0)));
  find("#times").textContent = Number.isFinite(times) ? `${Math.round(times)}` : "20";
}

responsive(picture, layout);
responsive(magnifier, layoutMagnifier);
state.watch(draw);
