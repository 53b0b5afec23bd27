// Trains a network with the page's mathematics, in float64: reads the network and its batches as JSON, writes its weights.
import { readFileSync } from "node:fs";
import { Network } from "./scripts/network.js";

const { sizes, weights, biases, alpha, rate, batches } = JSON.parse(readFileSync(0, "utf8"));
const arrays = (lists) => lists.map((list) => Float64Array.from(list));
const network = new Network(sizes, arrays(weights), arrays(biases), alpha);
for (const { images, labels } of batches) {
  network.step({ images: Float64Array.from(images), labels: Uint8Array.from(labels) }, rate);
}
const { preactivations } = network.forward(Float64Array.from(batches[0].images));
const lists = (values) => values.map((array) => [...array]);
process.stdout.write(
  JSON.stringify({ weights: lists(network.weights), biases: lists(network.biases), z: lists(preactivations) }),
);
