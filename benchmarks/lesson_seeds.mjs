// What the lesson says of many seeds, counted with the page's own networks and random numbers:
//   node benchmarks/lesson_seeds.mjs digits.bin [rates] [slopes] [seeds], as in: node ... digits.bin 0.05,0.5 0.01,0.1 20
// `python -c "from leakyrelu.lesson.digits import digits_bytes as d; open('digits.bin', 'wb').write(d())"` writes the file.
// All figures are means over the seeds from 0, but those of overflows, which are counts.
import { readFileSync } from "node:fs";
import { EPOCHS, Training } from "../src/leakyrelu/lesson/page/scripts/training-worker.js";

const [file, rates = "0.05,0.1,0.3,0.5", slopes = "0.01,0.1,0.3", seeds = "20"] = process.argv.slice(2);
const SEEDS = Number(seeds);
const bytes = readFileSync(file);
const count = bytes.length / 65;
const digits = {
  images: Float32Array.from({ length: count * 64 }, (_, i) => bytes[Math.floor(i / 64) * 65 + (i % 64)] / 16),
  labels: Uint8Array.from({ length: count }, (_, i) => bytes[i * 65 + 64]),
};

const neverPositive = ({ firing }) => firing.flat().filter((rate) => rate === 0).length;
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

for (const rate of rates.split(",").map(Number)) {
  for (const slope of slopes.split(",").map(Number)) {
    const runs = [];
    for (let seed = 0; seed < SEEDS; seed++) {
      const training = new Training(digits, seed, slope, rate);
      const states = [training.snapshots()];
      while (training.epoch < EPOCHS) {
        training.step();
        if (training.epoch % (EPOCHS / 2) === 0) states.push(training.snapshots());
      }
      runs.push(states);
    }
    console.log(`rate ${rate}, slope ${slope}, means over ${SEEDS} seeds:`);
    ["ReLU", "Leaky ReLU", "ReLU, then leak"].forEach((name, i) => {
      const at = (epoch) => mean(runs.map((states) => neverPositive(states[epoch][i]))).toFixed(1);
      const last = runs.map((states) => states[2][i]);
      console.log(
        `  ${name.padEnd(16)} never above zero at epoch 0, ${EPOCHS / 2}, ${EPOCHS}: ${at(0)}, ${at(1)}, ${at(2)};`,
        `accuracy ${(100 * mean(last.map((state) => state.accuracy))).toFixed(1)} %;`,
        `overflowed ${last.filter((state) => state.overflowed).length} of ${SEEDS}`,
      );
    });
  }
}
