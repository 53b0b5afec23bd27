// @ts-check
/** Who says whether a program is right: the server that `leakyrelu learn` is, or Python in this browser, or nobody. */

/** @typedef {{ name: string, level: string, call: string, got: string, expected: string, why: string, hint: string, state: string, brief: string, passed: boolean }} Case */
/** @typedef {{ format: number, level: string, passed: boolean, error: string | null, cause: string, cases: Case[] }} Verdict */
/** @typedef {{ signal?: AbortSignal, tell?: (text: string) => void }} Options `tell` is called with what is being done */

const SECONDS = 2; // that one call may take, as on the server
const SECONDS_TO_LOAD = 15; // likewise
const MARGIN = 3; // seconds after which a Python that has not stopped a call is ended
const PATIENCE = 3; // after so many calls that had to be stopped, no more are made
const LOST = "The program leakyrelu learn no longer answers. Start it again, and open the address that it prints.";

/** @returns {Promise<"server" | "pyodide" | "none">} */
export async function available() {
  const said = document.querySelector("meta[name=leakyrelu-judge]")?.getAttribute("content");
  return said === "server" || said === "pyodide" ? said : "none";
}

/**
 * Judge a program for an exercise.
 *
 * @param {string} exercise "function", "derivative" or "backward"
 * @param {string} source
 * @param {Options} [options]
 * @returns {Promise<Verdict>}
 * @throws {Error} There is no verdict; the message says why, for the reader. An AbortError if `signal` ended it.
 */
export async function judge(exercise, source, options = {}) {
  const who = await available();
  if (who === "server") return byServer(exercise, source, options);
  if (who === "pyodide") return byPython(exercise, source, options);
  throw new Error("Nothing runs Python here: open the page by leakyrelu learn, or on the site of the library.");
}

/** @param {string} exercise @param {string} source @param {Options} options @returns {Promise<Verdict>} */
async function byServer(exercise, source, { signal }) {
  const body = JSON.stringify({ exercise, source });
  const response = await fetch("check", { method: "POST", body, signal }).catch((error) => {
    throw signal?.aborted ? error : new Error(LOST);
  });
  if (response.ok) return response.json();
  if (response.status === 401) throw new Error(LOST);
  throw new Error(await response.text());
}

/** A Python in a worker, asked for one thing at a time. */
class Python {
  #worker = new Worker(new URL("python-worker.js", import.meta.url), { type: "module" });
  /** @type {{ resolve: (answer: string) => void, reject: (error: Error) => void }[]} */
  #waiting = [];

  constructor() {
    this.ready = this.#answer();
    this.ready.catch(() => {}); // it is looked at when somebody asks
    this.#worker.addEventListener("message", ({ data }) => {
      const { resolve, reject } = this.#waiting.shift() ?? {};
      if (data.failed === undefined) resolve?.(data.answer);
      else reject?.(new Error(data.failed));
    });
    this.#worker.addEventListener("error", (event) => this.#lose(event.message || "its script cannot be loaded"));
  }

  /** @returns {Promise<string>} */
  #answer() {
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** @param {string} why */
  #lose(why) {
    for (const { reject } of this.#waiting.splice(0)) reject(new Error(why));
  }

  /**
   * Ask, and wait so many seconds for the answer.
   *
   * @param {Record<string, unknown>} request
   * @param {number} seconds
   * @returns {Promise<any>} null if it took too long
   */
  async ask(request, seconds) {
    const answer = this.#answer();
    this.#worker.postMessage(request);
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const late = new Promise((resolve) => (timer = setTimeout(() => resolve("null"), 1000 * seconds)));
    return JSON.parse(await Promise.race([answer, late]).finally(() => clearTimeout(timer)));
  }

  end() {
    this.#worker.terminate();
    this.#lose("it was ended");
  }
}

/** @type {Python | null} */
let python = null;
/** @type {Promise<unknown>} */
let turn = Promise.resolve(); // of two programs the second waits

function drop() {
  python?.end();
  python = null;
}

/** @param {(text: string) => void} tell */
async function loaded(tell) {
  if (python !== null) return python;
  tell("Python is loading, which takes some seconds …");
  python = new Python();
  try {
    await python.ready;
  } catch (error) {
    drop(); // the next try begins anew
    throw new Error(`Python cannot be loaded (${error instanceof Error ? error.message : error}). Try it again.`);
  }
  tell("Python is calling your function …");
  return python;
}

/** @param {string} exercise @param {string} source @param {Options} options @returns {Promise<Verdict>} */
async function byPython(exercise, source, { signal, tell = () => {} }) {
  const mine = turn.then(async () => {
    signal?.throwIfAborted();
    signal?.addEventListener("abort", drop);
    try {
      return await conversation(exercise, source, tell, signal);
    } catch (error) {
      signal?.throwIfAborted(); // whatever that led to
      throw error;
    } finally {
      signal?.removeEventListener("abort", drop);
    }
  });
  turn = mine.catch(() => {});
  return mine;
}

/**
 * Load a program, make its calls and judge the answers. Python itself stops most of what does not end; where it cannot,
 * it is ended, and another one goes on with the next call.
 *
 * @param {string} exercise
 * @param {string} source
 * @param {(text: string) => void} tell
 * @param {AbortSignal} [signal]
 * @returns {Promise<Verdict>}
 */
async function conversation(exercise, source, tell, signal) {
  /** @param {Record<string, unknown>} request @param {number} seconds @param {string} when @returns {Promise<any>} */
  const ask = async (request, seconds, when = "") => {
    const answer = await (await loaded(tell)).ask({ ...request, seconds }, seconds + MARGIN).catch(ending);
    signal?.throwIfAborted();
    if (answer !== null && !answer.lost) return answer;
    drop();
    return { ended: answer?.ended ?? `stopped after ${seconds} s${when}` };
  };
  const load = () => ask({ act: "load", exercise, source }, SECONDS_TO_LOAD, " while the code was being loaded");

  let first = await load();
  if ("ended" in first) first = { error: `${first.ended}, before any call` };
  const messages = [first];
  let stopped = 0;
  for (let place = 0; place < (first.calls ?? 0); place++) {
    if (stopped >= PATIENCE) {
      messages.push({ ended: `not asked: ${stopped} calls before it had to be stopped` });
      continue;
    }
    if (python === null) await load(); // the last one had to be ended
    const answer = await ask({ act: "ask", place }, SECONDS);
    if ("ended" in answer) stopped += 1;
    messages.push(answer);
  }
  const verdict = await ask({ act: "report", exercise, messages: JSON.stringify(messages) }, SECONDS_TO_LOAD);
  if (!("cases" in verdict)) throw new Error("Python gave no verdict. Try it again.");
  return verdict;
}

/** What it means that Python itself has failed. @param {Error} error */
function ending(error) {
  const code = /exit\((\d+)\)/.exec(error.message)?.[1];
  const ended = code === undefined ? `crashed: ${error.message}` : `ended its process, with exit code ${code}`;
  return { lost: true, ended };
}
