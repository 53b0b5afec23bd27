// @ts-check
/** Leaky ReLU and its relatives side by side, all read at the same x. */
import { element, find, state, written } from "./page.js";
import { add, axes, drags, path, responsive, scale, set } from "./plot.js";
import { leakyRelu, leakyReluDerivative } from "./network.js";

/** @typedef {{ value: (x: number) => number, derivative: (x: number) => number, also?: number[] }} Shape */

/** @param {number} alpha @returns {Shape} */
const leaky = (alpha) => ({ value: (x) => leakyRelu(x, alpha), derivative: (x) => leakyReluDerivative(x, alpha) });

/** The error function: the series of Maclaurin, which converges fast enough up to 4. @param {number} x */
function erf(x) {
  let [sum, term] = [x, x];
  for (let n = 1; n < 60; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

/** @param {number} x */
const below = (x) => (1 + erf(x / Math.SQRT2)) / 2;

/** @type {Record<string, () => Shape>} */
export const SHAPES = {
  relu: () => leaky(0),
  leaky: () => leaky(state.get("slope")),
  prelu: () => ({ ...leaky(0.25), also: [0.05, 0.45] }),
  rrelu: () => ({ ...leaky(11 / 48), also: [1 / 8, 1 / 6, 7 / 24, 1 / 3] }),
  elu: () => ({
    value: (x) => (x >= 0 ? x : Math.expm1(x)),
    derivative: (x) => (x >= 0 ? 1 : Math.exp(x)),
  }),
  gelu: () => ({
    value: (x) => x * below(x),
    derivative: (x) => below(x) + (x * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI),
  }),
};

const [LEFT, RIGHT] = [-4, 4];
const slider = /** @type {HTMLInputElement} */ (find("#relatives-x"));
let at = Number(slider.value);
let queued = 0;

const cards = [...document.querySelectorAll("[data-relative]")].map((card) => {
  const name = /** @type {HTMLElement} */ (card).dataset.relative ?? "";
  const picture = /** @type {SVGSVGElement} */ (find("svg", card));
  const reading = element("p", "reading");
  picture.after(reading);
  const surface = add(picture, "rect", { class: "surface" });
  const axesGroup = add(picture, "g", { "aria-hidden": "true" });
  const lines = add(picture, "g", { "aria-hidden": "true" });
  const guide = add(picture, "line", { class: "guide", "aria-hidden": "true" });
  const tangent = add(picture, "line", { class: "slope", "aria-hidden": "true" });
  const dot = add(picture, "circle", { class: "knob", r: 5, "aria-hidden": "true" });
  let [x, y] = [scale(0, 1, 0, 1), scale(0, 1, 0, 1)];
  drags(picture, surface, (pixel) => move(x.back(pixel)));

  const draw = () => {
    const { value, derivative, also = [] } = SHAPES[name]();
    const curves = [...also.map((slope) => leaky(slope).value), value];
    while (lines.children.length < curves.length) add(lines, "path", { class: "curve" });
    const xs = Array.from({ length: 81 }, (_, i) => LEFT + i / 10);
    curves.forEach((curve, i) => {
      set(lines.children[i], {
        d: path(xs.map((each) => [x(each), y(curve(each))])),
        class: i < also.length ? "curve faint" : "curve",
      });
    });
    const [now, slope] = [value(at), derivative(at)];
    const reach = 0.9 / Math.hypot(1, slope);
    set(guide, { x1: x(at), x2: x(at), y1: y(0), y2: y(now) });
    set(tangent, { x1: x(at - reach), x2: x(at + reach), y1: y(now - reach * slope), y2: y(now + reach * slope) });
    set(dot, { cx: x(at), cy: y(now) });
    reading.replaceChildren(
      `f(${written(at)}) = `,
      element("span", "function", written(now)),
      ", f′ = ",
      element("span", "gradient", written(slope)),
    );
    picture.setAttribute(
      "aria-label",
      `${find("h3", card).textContent}: at x = ${written(at)} the value is ${written(now)}, the derivative ${written(slope)}.`,
    );
  };
  responsive(picture, (width, height) => {
    x = scale(LEFT, RIGHT, 8, width - 8);
    y = scale(-2.2, 4, height - 8, 8);
    set(surface, { width, height });
    axes(axesGroup, x, y, {
      xTicks: [-2, 0, 2],
      yTicks: [0, 2],
      xRange: [LEFT, RIGHT],
      yRange: [-2.2, 4],
      negativeAbove: true,
    });
    draw();
  });
  return { name, draw };
});

/** @param {number} wanted */
function move(wanted) {
  at = Math.round(Math.min(RIGHT, Math.max(LEFT, wanted)) * 10) / 10 || 0;
  slider.value = String(at);
  redraw();
}

function redraw() {
  queued ||= requestAnimationFrame(() => {
    queued = 0;
    find("#relatives-value").textContent = written(at);
    for (const { draw } of cards) draw();
  });
}

slider.addEventListener("input", () => move(Number(slider.value)));
redraw();
state.watch(() => cards.find(({ name }) => name === "leaky")?.draw()); // the only one that has the page's slope
