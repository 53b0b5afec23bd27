// @ts-check
/**
 * Python in a worker, for the page on a site: it loads Pyodide once, then judges program after program.
 *
 * It is asked call by call, and ended by judge.js where a call takes too long.
 */

/** @typedef {{ act: "load", exercise: string, source: string, seconds: number }} Load */
/** @typedef {{ act: "ask", place: number, seconds: number }} Ask */
/** @typedef {{ act: "report", exercise: string, messages: string }} Report */

const base = new URL("../pyodide/", import.meta.url);

/** @returns {Promise<any>} the module leakyrelu.check.inside */
async function start() {
  const [{ loadPyodide }, archive] = await Promise.all([import(new URL("pyodide.mjs", base).href), archived()]);
  const pyodide = await loadPyodide({ indexURL: base.href });
  pyodide.unpackArchive(archive, "zip", { extractDir: "/lib/leakyrelu" });
  pyodide.runPython("import sys; sys.path.append('/lib/leakyrelu')");
  return pyodide.pyimport("leakyrelu.check.inside");
}

async function archived() {
  const response = await fetch(new URL("../python.zip", import.meta.url));
  if (!response.ok) throw new Error(`python.zip cannot be loaded: ${response.status}`);
  return response.arrayBuffer();
}

const inside = start();
/** @type {any} */
let program;

/** @param {Load | Ask | Report} request @returns {Promise<string>} */
async function answer(request) {
  const python = await inside;
  if (request.act === "report") return python.report(request.exercise, request.messages);
  if (request.act === "ask") return program.ask(request.place, request.seconds);
  program?.destroy();
  program = python.Inside(request.exercise, request.source);
  return program.load(request.seconds);
}

/** @param {Promise<string>} promised */
function send(promised) {
  promised.then(
    (answer) => postMessage({ answer }),
    (error) => postMessage({ failed: String(error) }),
  );
}

send(inside.then(() => "ready"));
addEventListener("message", ({ data }) => send(answer(data)));
