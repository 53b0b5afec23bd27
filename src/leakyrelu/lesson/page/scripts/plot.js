// @ts-check
/** Scales, axes and handles for the figures, which are SVG in the pixels of the screen. */

/** @typedef {(value: number) => number} Map */
/** @typedef {Map & { back: Map }} Scale */

/**
 * A linear map from values to pixels, with its inverse.
 *
 * @param {number} low
 * @param {number} high
 * @param {number} start  the pixel of `low`
 * @param {number} end  the pixel of `high`
 * @returns {Scale}
 */
export function scale(low, high, start, end) {
  const factor = (end - start) / (high - low);
  return Object.assign((/** @type {number} */ value) => start + (value - low) * factor, {
    back: (/** @type {number} */ pixel) => low + (pixel - start) / factor,
  });
}

/**
 * Sets attributes, numbers rounded to a tenth of a pixel.
 *
 * @param {Element} node
 * @param {Record<string, string | number>} attributes
 */
export function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    const text = typeof value === "number" ? String(Math.round(value * 10) / 10) : value;
    if (node.getAttribute(name) !== text) node.setAttribute(name, text);
  }
  return node;
}

/**
 * A new SVG element inside a parent.
 *
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Element} parent
 * @param {Tag} tag
 * @param {Record<string, string | number>} [attributes]
 * @param {string} [text]
 * @returns {SVGElementTagNameMap[Tag]}
 */
export function add(parent, tag, attributes = {}, text = "") {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  set(node, attributes);
  if (text) node.textContent = text;
  parent.append(node);
  return node;
}

/**
 * Calls `layout` with the size of the picture in pixels, now and whenever it changes.
 *
 * @param {SVGSVGElement} picture
 * @param {(width: number, height: number) => void} layout
 */
export function responsive(picture, layout) {
  let [width, height] = [0, 0];
  const measure = () => {
    const box = picture.getBoundingClientRect();
    if (!box.width || (box.width === width && box.height === height)) return;
    [width, height] = [box.width, box.height];
    set(picture, { viewBox: `0 0 ${width} ${height}` });
    layout(width, height);
  };
  measure();
  new ResizeObserver(measure).observe(picture);
}

/** @param {Iterable<[number, number]>} points */
export const path = (points) => "M" + [...points].map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L");

/**
 * Axes through a point, with ticks and their numbers.
 *
 * @param {Element} group  emptied first
 * @param {Scale} x
 * @param {Scale} y
 * @param {object} options
 * @param {number[]} options.xTicks
 * @param {number[]} options.yTicks
 * @param {[number, number]} options.xRange  from where to where, in values
 * @param {[number, number]} options.yRange
 * @param {string} [options.xName]
 * @param {string} [options.yName]
 * @param {number} [options.crossX]  where the vertical axis stands
 * @param {number} [options.crossY]
 * @param {boolean} [options.negativeAbove]  whether the numbers below zero stand above the axis, as a curve is under it
 */
export function axes(group, x, y, options) {
  const { xTicks, yTicks, xRange, yRange, xName, yName, crossX = 0, crossY = 0, negativeAbove = false } = options;
  group.replaceChildren();
  const number = (/** @type {number} */ value) => String(value).replace("-", "−");
  for (const tick of xTicks) {
    add(group, "line", { class: "grid", x1: x(tick), x2: x(tick), y1: y(yRange[0]), y2: y(yRange[1]) });
    const place = y(crossY) + (negativeAbove && tick < 0 ? -6 : 15);
    if (tick !== crossX)
      add(group, "text", { class: "tick", x: x(tick), y: place, "text-anchor": "middle" }, number(tick));
  }
  for (const tick of yTicks) {
    add(group, "line", { class: "grid", x1: x(xRange[0]), x2: x(xRange[1]), y1: y(tick), y2: y(tick) });
    if (tick !== crossY)
      add(group, "text", { class: "tick", x: x(crossX) - 6, y: y(tick) + 4, "text-anchor": "end" }, number(tick));
  }
  add(group, "line", { class: "axis", x1: x(xRange[0]), x2: x(xRange[1]), y1: y(crossY), y2: y(crossY) });
  add(group, "line", { class: "axis", x1: x(crossX), x2: x(crossX), y1: y(yRange[0]), y2: y(yRange[1]) });
  if (xName) add(group, "text", { class: "name", x: x(xRange[1]), y: y(crossY) - 7, "text-anchor": "end" }, xName);
  if (yName) add(group, "text", { class: "name", x: x(crossX) + 8, y: y(yRange[1]) + 12 }, yName);
}

/**
 * @typedef {object} Handle
 * @property {SVGGElement} node
 * @property {(x: number, y: number) => void} place  in pixels
 * @property {(value: number, text: string) => void} tell  the value, for people who do not see it
 */

/**
 * A thing in a picture that is dragged, or moved by the arrow keys; a slider to assistive technology.
 *
 * @param {SVGSVGElement} picture
 * @param {object} options
 * @param {string} options.name
 * @param {string} options.kind  a class
 * @param {number} options.min
 * @param {number} options.max
 * @param {"horizontal" | "vertical"} options.orientation
 * @param {() => number} options.value
 * @param {(value: number) => number} options.up  the next value, for the keys
 * @param {(value: number) => number} options.down
 * @param {(x: number, y: number) => number} options.at  the value for a place in the picture, in pixels
 * @param {(value: number) => void} options.change
 * @returns {Handle}
 */
export function handle(picture, { name, kind, min, max, orientation, value, up, down, at, change }) {
  const node = add(picture, "g", {
    class: `handle ${kind}`,
    role: "slider",
    tabindex: "0",
    "aria-label": name,
    "aria-valuemin": String(min),
    "aria-valuemax": String(max),
    "aria-orientation": orientation,
  });
  add(node, "circle", { class: "reach", r: 22 });
  add(node, "circle", { class: "knob", r: 12 });
  const limited = (/** @type {number} */ wanted) => change(Math.min(max, Math.max(min, wanted)));
  node.addEventListener("keydown", (event) => {
    /** @type {Record<string, () => number>} */
    const keys = {
      ArrowRight: () => up(value()),
      ArrowUp: () => up(value()),
      ArrowLeft: () => down(value()),
      ArrowDown: () => down(value()),
      PageUp: () => Array.from({ length: 10 }).reduce((now) => up(/** @type {number} */ (now)), value()),
      PageDown: () => Array.from({ length: 10 }).reduce((now) => down(/** @type {number} */ (now)), value()),
      Home: () => min,
      End: () => max,
    };
    const next = keys[event.key];
    if (!next) return;
    event.preventDefault();
    limited(next());
  });
  drags(picture, node, (x, y) => limited(at(x, y)));
  node.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false }); // or the page would scroll
  return {
    node,
    place: (x, y) => void set(node, { transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` }),
    tell: (now, text) => void set(node, { "aria-valuenow": String(now), "aria-valuetext": text }),
  };
}

/**
 * Calls `move` with the place of a pointer that was put down on a node, in pixels of the picture.
 *
 * @param {SVGSVGElement} picture
 * @param {SVGElement} node
 * @param {(x: number, y: number) => void} move
 */
export function drags(picture, node, move) {
  const moved = (/** @type {PointerEvent} */ event) => {
    const box = picture.getBoundingClientRect();
    move(event.clientX - box.left, event.clientY - box.top);
  };
  node.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    node.setPointerCapture(event.pointerId);
    node.classList.add("dragged");
    moved(event);
  });
  node.addEventListener("pointermove", (event) => {
    if (node.hasPointerCapture(event.pointerId)) moved(event);
  });
  for (const end of /** @type {const} */ (["pointerup", "pointercancel", "lostpointercapture"])) {
    node.addEventListener(end, () => node.classList.remove("dragged"));
  }
}
