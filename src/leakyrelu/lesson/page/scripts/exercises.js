// @ts-check
/** The exercises: three with an editor, whose code a judge runs elsewhere, and one with two sliders. */
import { judge } from "./judge.js";
import { RATE, Unit, examplesOf } from "./network.js";
import { copies, digits, element, find, written } from "./page.js";

/** @typedef {import("./judge.js").Case} Case */
/** @typedef {import("./judge.js").Verdict} Verdict */

const AT_ONCE = 3; // so many wrong calls are shown without being asked for
const WORDS = /** @type {Record<string, string>} */ ({
  passed: "Right",
  hint: "Right, with a remark",
  failed: "Wrong",
  reported: "Noted",
});
/** @param {string} key */
function kept(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null; // where the browser keeps nothing, the page begins anew
  }
}

/** @param {string} key @param {string | null} text */
function keep(key, text) {
  try {
    if (text === null) localStorage.removeItem(key);
    else localStorage.setItem(key, text);
  } catch {
    // likewise
  }
}

/** @param {HTMLElement} box @param {string} kind @param {string} title @param {...Node} content */
function say(box, kind, title, ...content) {
  box.className = `verdict ${kind}`;
  box.replaceChildren(element("h4", "", title), ...content);
}

/** @param {HTMLElement} box @param {Verdict} verdict */
function showVerdict(box, { passed, error, cause, cases }) {
  const likely = cause ? [element("p", "", element("strong", "", "Likely cause: "), `${cause}.`)] : [];
  if (error !== null) return say(box, "failed", "It could not be run", element("p", "", error), ...likely);
  const wrong = cases.filter((each) => !each.passed).length;
  const count = wrong
    ? `${wrong} of ${cases.length} calls came out wrong.`
    : `All ${cases.length} calls came out right.`;
  const list = (/** @type {Case[]} */ some) => element("ol", "cases", ...some.map((each) => showCase(each, cause)));
  const hidden = (/** @type {Case[]} */ some, /** @type {string} */ what) =>
    some.length ? [element("details", "", element("summary", "", `${some.length} ${what}`), list(some))] : [];
  const [failures, remarks, right] = [0, 1, 2].map((wanted) => cases.filter((each) => rank(each) === wanted));
  const first = [...failures.slice(0, AT_ONCE), ...remarks];
  say(
    box,
    passed ? "passed" : "failed",
    passed ? "Right!" : "Not yet",
    element("p", "", count),
    ...likely,
    ...(first.length ? [list(first)] : []),
    ...hidden(failures.slice(AT_ONCE), "more that came out wrong"),
    ...hidden(right, "that came out right"),
  );
}

/** 0 for what is wrong, 1 for what is right with a remark. @param {Case} one */
const rank = (one) => (one.passed ? (one.state === "passed" ? 2 : 1) : 0);

/** @param {Case} one @param {string} cause */
function showCase({ call, got, expected, why, hint, state }, cause) {
  const item = element("li", state, element("span", "state", WORDS[state] ?? state), " ", element("code", "", call));
  item.append(" → ", element("code", "", got));
  if (state === "failed") item.append(element("br"), "wanted: ", element("code", "", expected), `, because ${why}`);
  if (hint && hint !== cause) item.append(element("br"), element("strong", "", "Hint: "), hint);
  return item;
}

// The editor: a text area in which Tab, Shift and Tab, Enter and Backspace keep the indentation of Python

const INDENT = "    ";

/**
 * Replaces a part of the text as if it had been typed, so that it can be undone.
 *
 * @param {HTMLTextAreaElement} area
 * @param {number} start
 * @param {number} end
 * @param {string} text
 */
function type(area, start, end, text) {
  area.setSelectionRange(start, end);
  const command = text ? "insertText" : "delete";
  // The only way that keeps the history of undo; all browsers have it, though the standard calls it outdated.
  if (start === end && !text) return;
  if (!document.execCommand(command, false, text)) {
    area.setRangeText(text, start, end, "end");
    area.dispatchEvent(new Event("input", { bubbles: true }));
  }
}

/** The start of the line that a place is in. @param {string} text @param {number} place */
const lineStart = (text, place) => text.lastIndexOf("\n", place - 1) + 1;

/** @param {HTMLTextAreaElement} area */
function newLine(area) {
  const { value, selectionStart: start, selectionEnd: end } = area;
  const line = value.slice(lineStart(value, start), start);
  const indent = /^ */.exec(line)?.[0] ?? "";
  const opens = /:\s*(#.*)?$/.test(line);
  const leaves = /^\s*(return|pass|break|continue|raise)\b/.test(line) && !/[([{,\\]\s*$/.test(line);
  type(area, start, end, "\n" + (opens ? indent + INDENT : leaves ? indent.slice(INDENT.length) : indent));
}

/** @param {HTMLTextAreaElement} area @param {boolean} back */
function indent(area, back) {
  const { value, selectionStart: start, selectionEnd: end } = area;
  const first = lineStart(value, start);
  if (!back && !value.slice(start, end).includes("\n")) {
    type(area, start, end, " ".repeat(INDENT.length - ((start - first) % INDENT.length)));
    return;
  }
  const last = end > start && value[end - 1] === "\n" ? end - 1 : end;
  const stop = value.indexOf("\n", last) < 0 ? value.length : value.indexOf("\n", last);
  const before = value.slice(first, stop).split("\n");
  const after = before.map((line) => (back ? line.replace(/^ {1,4}/, "") : line && INDENT + line));
  type(area, first, stop, after.join("\n"));
  const moved = after[0].length - before[0].length;
  const grown = after.join("\n").length - before.join("\n").length;
  area.setSelectionRange(Math.max(first, start + moved), Math.max(first, end + grown));
}

/** @param {HTMLTextAreaElement} area @returns {boolean}  whether spaces up to the last stop were taken away */
function outdent(area) {
  const { value, selectionStart: start, selectionEnd: end } = area;
  const first = lineStart(value, start);
  const before = value.slice(first, start);
  if (start !== end || !before || before.trim()) return false;
  type(area, start - ((before.length - 1) % INDENT.length) - 1, start, "");
  return true;
}

/**
 * @param {HTMLTextAreaElement} area
 * @param {() => void} run  called on Ctrl and Enter
 */
function edits(area, run) {
  let leaving = false; // after Escape, Tab leaves the editor, as it does everywhere else on the page
  area.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Tab" && !leaving && !event.ctrlKey && !event.altKey && !event.metaKey) {
      event.preventDefault();
      indent(area, event.shiftKey);
    } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      run();
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      newLine(area);
    } else if (event.key === "Backspace" && !event.ctrlKey && !event.altKey && !event.metaKey && outdent(area)) {
      event.preventDefault();
    }
    if (event.key !== "Shift") leaving = event.key === "Escape";
  });
  area.addEventListener("blur", () => (leaving = false));
}

// An exercise with code

/** @param {HTMLElement} exercise */
function prepare(exercise) {
  const name = exercise.dataset.exercise ?? "";
  const key = `leakyrelu:${name}`;
  const area = /** @type {HTMLTextAreaElement} */ (find("textarea", exercise));
  const [start, solution] = [area.defaultValue, find("details code", exercise)];
  const box = find(".verdict", exercise);
  const run = /** @type {HTMLButtonElement} */ (find(".run", exercise));
  const stop = /** @type {HTMLButtonElement} */ (find(".stop", exercise));
  /** @type {AbortController | null} */
  let running = null;

  const ended = () => {
    running = null;
    [run.disabled, stop.disabled] = [false, true];
    exercise.removeAttribute("aria-busy");
  };
  const ask = async () => {
    if (running) return;
    const mine = (running = new AbortController());
    const from = performance.now();
    [run.disabled, stop.disabled] = [true, false];
    exercise.setAttribute("aria-busy", "true");
    const seconds = element("span", "", "0 s");
    const clock = setInterval(() => (seconds.textContent = `${Math.round((performance.now() - from) / 1000)} s`), 1000);
    const tell = (/** @type {string} */ text) =>
      running === mine && say(box, "running", text, element("progress"), seconds);
    tell("Asking your function …");
    try {
      const verdict = await judge(name, area.value, { signal: mine.signal, tell });
      if (running === mine) showVerdict(box, verdict);
    } catch (error) {
      const why = element("p", "", error instanceof Error ? error.message : String(error));
      const rest = element("p", "", "Your code is kept, and everything else on this page goes on.");
      if (running === mine) say(box, "lost", "Not judged", why, rest);
    } finally {
      clearInterval(clock);
      if (running === mine) ended();
    }
  };

  const code = kept(key);
  if (code !== null) area.value = code;
  const fit = () => (area.rows = Math.max(5, area.value.split("\n").length + 1));
  fit();
  area.addEventListener("input", () => {
    keep(key, area.value);
    fit();
  });
  edits(area, () => void ask());
  run.addEventListener("click", () => void ask());
  stop.addEventListener("click", () => {
    running?.abort();
    ended();
    say(box, "lost", "Stopped", element("p", "", "You stopped it before there was a verdict."));
    run.focus();
  });
  find(".reset", exercise).addEventListener("click", () => {
    area.value = start;
    keep(key, null);
    fit();
    box.className = "verdict";
    box.replaceChildren();
    running?.abort();
    if (running) ended();
  });
  copies(/** @type {HTMLButtonElement} */ (find(".copy-code", exercise)), () => area.value);
  copies(/** @type {HTMLButtonElement} */ (find(".copy-solution", exercise)), () => solution.textContent ?? "");
}

for (const exercise of document.querySelectorAll("[data-exercise]")) prepare(/** @type {HTMLElement} */ (exercise));

// Revive this unit: the two numbers that judge it are measured on the 48 examples of the story

async function prepareRevival() {
  const examples = examplesOf(await digits);
  const alive = new Unit(examples);
  for (let step = 0; step < 50; step++) alive.step(0, RATE);
  const rest = alive.preactivations().map((z) => Math.max(0, z)); // what the other unit of the small network gives
  const before = Unit.dead(examples).preactivations();
  const size = Math.max(...rest);
  const shift = /** @type {HTMLInputElement} */ (find("#revive-shift"));
  const outgoing = /** @type {HTMLInputElement} */ (find("#revive-outgoing"));
  const box = find("#revive .verdict");
  const bars = before.map(() => element("span"));
  find("#revive-dots").append(...bars);

  const measure = () => {
    const zs = before.map((z) => z + Number(shift.value));
    const firing = zs.filter((z) => z > 0).length / zs.length;
    const outputs = zs.map((z, i) => rest[i] + Number(outgoing.value) * Math.max(0, z));
    const change = Math.max(...outputs.map((output, i) => Math.abs(output - rest[i]))) / size;
    return { zs, firing, change };
  };
  const show = () => {
    const { zs, firing, change } = measure();
    find("#revive-shift-value").textContent = `+ ${written(Number(shift.value))}`;
    find("#revive-outgoing-value").textContent = written(Number(outgoing.value));
    find("#revive-firing").textContent = `${Math.round(100 * firing)} %`;
    find("#revive-change").textContent = change ? `${(100 * change).toFixed(1)} %` : "0";
    zs.forEach((z, i) => bars[i].classList.toggle("fires", z > 0));
    const lit = `It fires on ${zs.filter((z) => z > 0).length} of the 48 examples`;
    find("#revive-dots").setAttribute("aria-label", lit);
  };
  let queued = 0;
  for (const input of [shift, outgoing]) {
    input.addEventListener("input", () => {
      queued ||= requestAnimationFrame(() => {
        queued = 0;
        show();
      });
    });
  }
  find("#revive-check").addEventListener("click", () => {
    const { firing, change } = measure();
    const [half, same] = [firing >= 0.4 && firing <= 0.6, change <= 1e-6];
    const weight = Number(outgoing.value);
    /** @param {boolean} good @param {string} text */
    const item = (good, text) =>
      element("li", good ? "passed" : "failed", element("span", "state", good ? "Right" : "Wrong"), ` ${text}`);
    say(
      box,
      half && same ? "passed" : "failed",
      half && same ? "Right!" : "Not yet",
      element(
        "ol",
        "cases",
        item(half, `It fires on ${Math.round(100 * firing)} % of the examples; wanted: 40 to 60 %.`),
        item(
          same,
          `The outputs change by ${change ? `${(100 * change).toFixed(1)} %` : "nothing"}; wanted: at most a millionth.`,
        ),
      ),
      element(
        "p",
        "",
        half && same
          ? "The unit says something again, and nobody listens yet: its weight is 0. But the gradient of that weight is the unit's output times what the next layer asks for, and that is not 0. So the first step of training moves the weight, and from then on the unit gets a gradient, too."
          : !half && firing === 0
            ? "Hint: a unit that fires on nothing gets no gradient. Move its bias up until about half of the squares are lit."
            : !half
              ? "Hint: move the bias until about half of the squares are lit."
              : weight
                ? "Hint: the unit gave 0 on every example, whatever its outgoing weight was. Now it gives more than 0 on some. With which weight does this add nothing?"
                : "",
      ),
    );
  });
  find("#revive-reset").addEventListener("click", () => {
    [shift.value, outgoing.value] = [shift.defaultValue, outgoing.defaultValue];
    box.className = "verdict";
    box.replaceChildren();
    show();
  });
  show();
}

void prepareRevival();
