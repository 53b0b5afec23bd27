// @ts-check
/** One unit, dying and coming back: 48 digits as dots along z, their gradients as arrows, and a story with questions. */
import { RATE, TOO_FAR, Unit, examplesOf } from "./network.js";
import { digits, drawDigit, element, find, lessMotion, state, written } from "./page.js";
import { add, axes, path, responsive, scale, set } from "./plot.js";

const [LOW, HIGH] = [-3.9, 2.1];
const RETURNED = 12; // so many examples on which it fires are a return

const picture = /** @type {SVGSVGElement} */ (find("#unit"));
const status = find("#unit-status");
const bias = /** @type {HTMLInputElement} */ (find("#bias"));
const leak = /** @type {HTMLInputElement} */ (find("#leak"));
const train = /** @type {HTMLButtonElement} */ (find("#unit-train"));
const story = find("#story");

const loaded = await digits;
const examples = examplesOf(loaded);
let unit = new Unit(examples);
let steps = 0;
let queued = 0;
let playing = 0; // of the animation that runs; 0 is none

let [x, y] = [scale(LOW, HIGH, 0, 1), scale(0, 1, 0, 1)];
let lanes = [0, 0];
let spread = 1;
let reach = 1; // of the arrow of a gradient of 1, in pixels

const dark = add(picture, "rect", { class: "flat" });
const axesGroup = add(picture, "g", { "aria-hidden": "true" });
const drawing = add(picture, "g", { "aria-hidden": "true" });
const curve = add(drawing, "path", { class: "curve" });
const names = [0, 1, 2, 3].map(() => add(drawing, "text", { class: "note" }));
const arrows = examples.map(() => add(drawing, "path", { class: "arrow" }));
const dots = examples.map(({ label }) => add(drawing, label ? "rect" : "circle", { class: `example of${label}` }));

/** @type {[number, number][]} */
const places = examples.map(() => [0, 0]); // of the dots, in pixels
const peek = find("#unit-peek");
let peeked = -1;

let own = 0; // the slope of a step of the story; 0: that of the page
const slope = () => (leak.checked ? own || state.get("slope") : 0);
const isDead = () => slope() === 0 && unit.firing() === 0;

/** @param {Unit} from @param {Unit} to @param {number} share */
function between(from, to, share) {
  const made = from.copy();
  made.weights.forEach((weight, i) => (made.weights[i] = weight + share * (to.weights[i] - weight)));
  made.bias = from.bias + share * (to.bias - from.bias);
  return made;
}

function redraw() {
  queued ||= requestAnimationFrame(() => {
    queued = 0;
    draw();
  });
}

/**
 * @param {number} width
 * @param {number} height
 */
function layout(width, height) {
  const hinge = Math.round(height * 0.3);
  const below = height - hinge;
  x = scale(LOW, HIGH, 12, width - 12);
  y = scale(0, HIGH, hinge, 14);
  lanes = [hinge + below * 0.37, hinge + below * 0.76];
  spread = below * 0.11;
  reach = Math.min(64, width * 0.12);
  axes(axesGroup, x, y, {
    xTicks: [-3, -2, -1, 0, 1, 2],
    yTicks: [0, 1],
    xRange: [LOW, HIGH],
    yRange: [-0.05, HIGH],
    xName: "z = w·x + b",
    yName: "output",
    negativeAbove: true,
  });
  add(axesGroup, "line", { class: "axis", x1: x(0), x2: x(0), y1: hinge, y2: height });
  set(dark, { x: 0, y: hinge + 20, width: x(0), height: height - hinge - 20 });
  set(names[0], { x: 12, y: lanes[0] - spread - 13 });
  set(names[1], { x: 12, y: lanes[1] - spread - 13 });
  set(names[2], { x: x(0) - 10, y: height - 7, "text-anchor": "end" });
  set(names[3], { x: x(0) + 10, y: height - 7 });
  names[0].textContent = "24 pictures of “0” should give 1";
  names[1].textContent = "24 pictures of “1” should give 0";
  names[3].textContent = "gradient × 1";
  draw();
}

function draw() {
  const alpha = slope();
  const zs = unit.preactivations();
  const gradients = unit.gradients(alpha, zs);
  const firing = zs.filter((z) => z > 0).length;
  set(curve, { d: path([[x(LOW), y(alpha * LOW)], [x(0), y(0)], [x(HIGH), y(HIGH)]]) }); // prettier-ignore
  zs.forEach((z, i) => {
    const at = x(Math.min(HIGH, Math.max(LOW, z)));
    const row = lanes[examples[i].label] + spread * (((i * 5) % 24) / 11.5 - 1);
    if (examples[i].label) set(dots[i], { x: at - 4, y: row - 4, width: 8, height: 8 });
    else set(dots[i], { cx: at, cy: row, r: 4.6 });
    places[i] = [at, row];
    dots[i].classList.toggle("silent", z <= 0);
    const gradient = gradients[i];
    const length = reach * Math.sqrt(Math.min(1.5, Math.abs(gradient)));
    const direction = gradient < 0 ? 1 : -1;
    const start = at + 6 * direction;
    const tip = start + length * direction;
    const head = Math.min(5, length) * direction;
    const d =
      length < 0.5
        ? ""
        : `M${start.toFixed(1)} ${row.toFixed(1)}H${tip.toFixed(1)}m${-head} -3.5l${head} 3.5l${-head} 3.5`;
    if (arrows[i].getAttribute("d") !== d) arrows[i].setAttribute("d", d);
  });
  names[2].textContent = `gradient × ${written(alpha)}`;
  dark.classList.toggle("leaks", alpha > 0);
  if (peeked >= 0) {
    find("#unit-peek span").textContent = `z = ${written(zs[peeked])}, gradient ${written(gradients[peeked])}`;
  }
  const dead = isDead();
  const kind = dead ? "dead" : firing ? "alive" : "leaking";
  status.dataset.state = kind;
  const words = {
    dead: "Dead: it fires on none of the 48 examples, and no gradient is left.",
    alive: `Alive: it fires on ${firing} of the 48 examples.`,
    leaking: `Never above zero, but not dead: ${written(alpha)} times each gradient passes.`,
  };
  status.textContent = words[kind];
  find("#unit-steps").textContent = String(steps);
  bias.value = String(unit.bias);
  bias.setAttribute("aria-valuetext", `bias ${written(unit.bias)}: ${words[kind]}`);
  find("#bias-value").textContent = written(unit.bias);
  find("#leak-slope").textContent = alpha ? `slope ${written(alpha)}` : "off: slope 0, a ReLU";
  const [low, high] = [Math.min(...zs), Math.max(...zs)].map(written);
  picture.setAttribute("aria-label", `48 examples along z, from ${low} to ${high}. ${words[kind]}`);
}

/**
 * Runs an animation of so many frames, until another begins; those who want less motion see its end alone.
 *
 * @param {number} frames
 * @param {(frame: number) => boolean | void} show  true ends it
 */
async function animate(frames, show) {
  stop();
  const mine = performance.now();
  playing = mine;
  train.textContent = "Pause";
  for (let frame = 1; frame <= frames; frame++) {
    if (!lessMotion()) await new Promise(requestAnimationFrame);
    if (playing !== mine) return;
    if (show(frame)) break;
    if (!lessMotion()) draw();
  }
  stop();
  draw();
}

function stop() {
  playing = 0;
  train.textContent = "Train";
}

/** @param {number} count @param {number} [aFrame] @param {boolean} [untilBack] */
function training(count, aFrame = 1, untilBack = false) {
  const end = steps + count;
  return animate(Math.ceil(count / aFrame), () => {
    for (let i = 0; i < aFrame && steps < end; i++) {
      unit.step(slope(), RATE);
      steps++;
      if (untilBack && unit.firing() >= RETURNED) return true;
    }
    return false;
  });
}

async function tooFar() {
  const [from, to] = [unit, unit.copy()];
  to.step(slope(), TOO_FAR);
  await animate(40, (frame) => {
    unit = frame < 40 ? between(from, to, 1 - (1 - frame / 40) ** 3) : to;
    if (unit === to) steps++;
  });
}

/** @param {Unit} next @param {boolean} leaks @param {number} [alpha] the slope, if not that of the page */
function begin(next, leaks, alpha = 0) {
  stop();
  unit = next;
  steps = 0;
  own = alpha;
  leak.checked = leaks && (alpha || state.get("slope")) > 0;
  draw();
}

// The story

/** @typedef {{ question: string, options: string[], right: number, act: () => Promise<void>, answer: () => string }} Step */

const dead = Unit.dead(examples);
let took = 0;

/** @type {Step[]} */
const STEPS = [
  {
    question:
      "Training takes small steps, at a rate of 0.05. Now it takes one step ten times as large. Where do the dots go?",
    options: ["The ones go left, the zeros stay", "All of them go below zero", "All of them go up"],
    right: 1,
    act: async () => {
      begin(new Unit(examples), false);
      await tooFar();
    },
    answer: () =>
      "All of them are below zero. The ones should give 0 and gave about 1, so they pushed the weights down. No pixel is below zero, so smaller weights move every example the same way: left.",
  },
  {
    question:
      "The unit now gives 0 for every example, and 24 of them should give 1. Training goes on for 50 steps of the usual size. What happens?",
    options: ["All the dots come back", "Only the zeros come back", "Nothing moves"],
    right: 2,
    act: async () => {
      begin(dead.copy(), false);
      await training(50);
    },
    answer: () =>
      "Nothing moves. The error asks for more, but what it asks is multiplied by the derivative at z, and left of zero that is 0. No arrow is left: the unit is dead.",
  },
  {
    question: "Now the leak is turned on, with a slope of 0.1. Training goes on. What happens?",
    options: ["The dots come back", "Still nothing", "They go further left"],
    right: 0,
    act: async () => {
      begin(dead.copy(), true, 0.1);
      took = dead.stepsToFire(0.1);
      await training(400, 1, true);
    },
    answer: () =>
      `They come back. Short arrows have appeared: a tenth of each gradient passes. All dots are pulled to the right, the ones as well: with the leak they give a little less than 0. After ${took} steps the unit fires again.`,
  },
  {
    question: "The usual slope is 0.01, ten times smaller. How long will the same unit take?",
    options: ["About as long", "About ten times as long", "It will never come back"],
    right: 1,
    act: async () => {
      begin(dead.copy(), true, 0.01);
      took = dead.stepsToFire(0.01);
      await training(1000, lessMotion() ? 1 : 3, true);
    },
    answer: () =>
      `About ten times as long: ${took} steps instead of ${dead.stepsToFire(0.1)}. A small leak saves the unit, but slowly.`,
  },
];

/** @param {number} at */
function ask(at) {
  const { question, options, right, act, answer } = STEPS[at];
  const said = element("p", "answer");
  said.setAttribute("role", "status");
  const buttons = options.map((option) => {
    const button = element("button", "option", option);
    button.type = "button";
    return button;
  });
  const next = element("button", "next", at + 1 < STEPS.length ? "Next question" : "Begin again");
  next.type = "button";
  next.disabled = true;
  next.addEventListener("click", () => {
    ask((at + 1) % STEPS.length);
    find(".option", story).focus();
  });
  buttons.forEach((button, chosen) =>
    button.addEventListener("click", async () => {
      for (const each of buttons) each.setAttribute("aria-disabled", "true");
      if (said.textContent) return;
      button.classList.add("chosen");
      said.textContent = "Look …";
      await act();
      buttons[right].classList.add("right");
      said.textContent = `${chosen === right ? "As you said." : "Not quite."} ${answer()}`;
      next.disabled = false;
    }),
  );
  const group = element("div", "options", ...buttons);
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "Your guess");
  story.replaceChildren(
    element("p", "count", `Guess first: question ${at + 1} of ${STEPS.length}`),
    element("p", "question", question),
    group,
    said,
    next,
  );
}

/** Shows the digit of the dot under the pointer. @param {PointerEvent} event */
function look(event) {
  const box = picture.getBoundingClientRect();
  const [left, top] = [event.clientX - box.left, event.clientY - box.top];
  const distances = places.map(([x, y]) => Math.hypot(x - left, y - top));
  const nearest = distances.indexOf(Math.min(...distances));
  const found = distances[nearest] < 14 ? nearest : -1;
  peek.hidden = found < 0;
  if (found === peeked) return;
  peeked = found;
  if (found < 0) return;
  drawDigit(find("#unit-peek canvas"), examples[found].pixels);
  const [x, y] = places[found];
  peek.style.transform = `translate(${Math.max(0, Math.min(x - 40, box.width - 250))}px, ${y - 74}px)`;
  draw();
}
picture.addEventListener("pointermove", look);
picture.addEventListener("pointerdown", look);
picture.addEventListener("pointerleave", () => {
  peeked = -1;
  peek.hidden = true;
});

// The controls

bias.addEventListener("input", () => {
  stop();
  unit.bias = Number(bias.value);
  redraw();
});
leak.addEventListener("change", () => {
  own = 0;
  if (leak.checked && state.get("slope") === 0) state.set("slope", 0.1); // a leak of 0 would be none
  redraw();
});
train.addEventListener("click", () => {
  if (playing) stop();
  else void training(600);
});
find("#unit-step").addEventListener("click", () => void training(1));
find("#too-far").addEventListener("click", () => void tooFar());
find("#unit-reset").addEventListener("click", () => begin(new Unit(examples), leak.checked));

for (const [label, canvas] of [...document.querySelectorAll("#unit-key canvas")].entries()) {
  drawDigit(/** @type {HTMLCanvasElement} */ (canvas), examples[24 * label].pixels);
}
ask(0);
responsive(picture, layout);
let shared = state.get("slope");
state.watch(() => {
  if (shared === state.get("slope")) return;
  shared = state.get("slope"); // the reader has chosen one
  own = 0;
  leak.checked &&= shared > 0;
  redraw();
});
