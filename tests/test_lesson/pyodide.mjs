// @ts-check
/** Judges programs by Pyodide in Node.js, as the page's worker does: one JSON per line in, one per line out. */
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";
import { loadPyodide } from "pyodide";

const started = performance.now();
const pyodide = await loadPyodide();
pyodide.unpackArchive(new Uint8Array(readFileSync(process.argv[2])), "zip", { extractDir: "/lib/leakyrelu" });
pyodide.runPython("import sys; sys.path.append('/lib/leakyrelu')");
const inside = pyodide.pyimport("leakyrelu.check.inside");
console.log(JSON.stringify({ ready: performance.now() - started }));

for await (const line of createInterface({ input: process.stdin })) {
  const { exercise, source, seconds } = JSON.parse(line);
  const program = inside.Inside(exercise, source);
  const first = program.load(seconds);
  const messages = [JSON.parse(first)];
  let stopped = 0;
  for (let place = 0; place < (messages[0].calls ?? 0); place++) {
    const ended = `not asked: ${stopped} calls before it had to be stopped`;
    messages.push(stopped < 3 ? JSON.parse(program.ask(place, seconds)) : { ended });
    if ("ended" in messages[messages.length - 1]) stopped = Math.min(stopped + 1, 3);
  }
  program.destroy();
  console.log(inside.report(exercise, JSON.stringify(messages)));
}
