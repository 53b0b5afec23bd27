// @ts-check
/**
 * Trains three networks side by side, from the same weights on the same batches: in a worker, so that the page stays
 * free, and in Node.js, where `benchmarks/lesson_seeds.mjs` counts over many seeds.
 */
import { Network, answers } from "./network.js";

/** @typedef {import("./network.js").Digits} Digits */
/** @typedef {{ network: number, layer: number, unit: number }} Place */
/**
 * @typedef {object} Inspected  One unit, closely.
 * @property {Place} place
 * @property {number[]} weights  what enters it
 * @property {number} bias
 * @property {number} firing  the fraction of the training images on which it is above zero
 * @property {number[]} bins  how many training images have their z in each of 24 equal steps from low to high
 * @property {number} low
 * @property {number} high
 */
/**
 * @typedef {object} Snapshot
 * @property {number} alpha
 * @property {number[][]} firing  by hidden layer and unit, the fraction of the training images with z above zero
 * @property {number} accuracy  on the test images
 * @property {number[]} shown  the answers to the first test images
 * @property {boolean} overflowed
 */
/**
 * @typedef {object} State
 * @property {number} epoch
 * @property {boolean} playing
 * @property {number} generation  which `start` this belongs to
 * @property {Snapshot[]} networks
 * @property {number[][]} pictures  the pixels of the first test images
 * @property {number[]} labels
 * @property {Inspected | null} inspected
 */

export const EPOCHS = 20;
export const SHOWN = 8;
const SIZES = [64, 16, 16, 16, 10];
const TEST_IMAGES = 500;
const BATCH = 32;
const BINS = 24;

/**
 * Uniform numbers from 0 up to 1: a 32-bit generator of the sfc family (C. Doty-Humphrey, PractRand).
 *
 * @param {number} seed
 */
export function random(seed) {
  let [a, b, c, counter] = [0, seed | 0, (seed ^ 0x9e3779b9) | 0, 1];
  const next = () => {
    const sum = (a + b + counter++) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return (sum >>> 0) / 2 ** 32;
  };
  for (let i = 0; i < 16; i++) next(); // until a small seed has reached all bits
  return next;
}

/**
 * The numbers 0 to count - 1 in random order (Fisher and Yates).
 *
 * @param {number} count
 * @param {() => number} uniform
 */
export function permutation(count, uniform) {
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(uniform() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

/**
 * Standard normal numbers (Box and Muller).
 *
 * @param {() => number} uniform
 */
const normal = (uniform) => () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());

/**
 * @param {Digits} digits
 * @param {number[]} places
 * @returns {Digits}
 */
function take(digits, places) {
  const [pixels] = SIZES;
  const images = new Float32Array(places.length * pixels);
  places.forEach((place, i) => images.set(digits.images.subarray(place * pixels, (place + 1) * pixels), i * pixels));
  return { images, labels: Uint8Array.from(places, (place) => digits.labels[place]) };
}

/** ReLU, Leaky ReLU, and ReLU that is given the leak at half time. */
export class Training {
  /**
   * @param {Digits} digits
   * @param {number} seed  of the split, the weights and the batches
   * @param {number} alpha
   * @param {number} rate
   */
  constructor(digits, seed, alpha, rate) {
    this.uniform = random(seed);
    const order = permutation(digits.labels.length, this.uniform);
    this.test = take(digits, order.slice(0, TEST_IMAGES));
    this.training = take(digits, order.slice(TEST_IMAGES));
    const first = Network.initial(SIZES, 0, normal(this.uniform));
    this.networks = [first, first.copy(0), first.copy(0)];
    this.epoch = 0;
    this.rate = rate;
    this.alpha = alpha;
    this.setSlope(alpha);
  }

  /** @param {number} alpha */
  setSlope(alpha) {
    this.alpha = alpha;
    this.networks[1].alpha = alpha;
    this.networks[2].alpha = this.epoch < EPOCHS / 2 ? 0 : alpha;
  }

  /** Trains all three on each training image once. */
  step() {
    const order = permutation(this.training.labels.length, this.uniform);
    for (let start = 0; start < order.length; start += BATCH) {
      const batch = take(this.training, order.slice(start, start + BATCH));
      for (const network of this.networks) network.step(batch, this.rate);
    }
    this.epoch++;
    this.setSlope(this.alpha);
  }

  /** @returns {Snapshot[]} */
  snapshots() {
    return this.networks.map((network) => {
      const hidden = network.forward(this.training.images).preactivations.slice(0, -1);
      const read = answers(network.forward(this.test.images).preactivations[SIZES.length - 2], 10);
      return {
        alpha: network.alpha,
        firing: hidden.map((z, layer) => firingRates(z, SIZES[layer + 1])),
        accuracy: read.filter((answer, i) => answer === this.test.labels[i]).length / read.length,
        shown: [...read.subarray(0, SHOWN)],
        overflowed: network.overflowed,
      };
    });
  }

  /**
   * @param {Place} place
   * @returns {Inspected}
   */
  inspect(place) {
    const { layer, unit } = place;
    const network = this.networks[place.network];
    const fanOut = SIZES[layer + 1];
    const z = network.forward(this.training.images).preactivations[layer].filter((_, i) => i % fanOut === unit);
    const low = Math.min(0, ...z);
    const high = Math.max(0, ...z);
    const bins = new Array(BINS).fill(0);
    for (const value of z) bins[Math.min(BINS - 1, Math.floor(((value - low) / (high - low || 1)) * BINS))]++;
    return {
      place,
      weights: [...network.weights[layer].filter((_, i) => i % fanOut === unit)],
      bias: network.biases[layer][unit],
      firing: z.filter((value) => value > 0).length / z.length,
      bins,
      low,
      high,
    };
  }
}

/**
 * @param {import("./network.js").Floats} z
 * @param {number} units
 */
function firingRates(z, units) {
  const counts = new Array(units).fill(0);
  z.forEach((value, i) => (counts[i % units] += Number(value > 0)));
  return counts.map((count) => (count * units) / z.length);
}

/** What the page asks for by messages, and answers with a `State` after each. */
function work() {
  /** @type {Training | undefined} */
  let training;
  /** @type {Place | null} */
  let place = null;
  let generation = 0;
  let playing = false;
  let delay = 0;
  let timer = 0;

  const tell = () => {
    if (!training) return;
    /** @type {State} */
    const state = {
      epoch: training.epoch,
      playing,
      generation,
      networks: training.snapshots(),
      pictures: Array.from({ length: SHOWN }, (_, i) => [
        ...(training?.test.images.subarray(64 * i, 64 * i + 64) ?? []),
      ]),
      labels: [...training.test.labels.subarray(0, SHOWN)],
      inspected: place && training.inspect(place),
    };
    postMessage(state);
  };
  const step = () => {
    if (!training || training.epoch >= EPOCHS) return;
    training.step();
    playing = playing && training.epoch < EPOCHS;
    tell();
    if (playing) timer = setTimeout(step, delay);
  };

  addEventListener("message", ({ data }) => {
    if (data.start) {
      ({ generation } = data);
      training = new Training(data.start.digits, data.start.seed, data.start.alpha, data.start.rate);
    }
    if (!training) return;
    if (data.alpha !== undefined) training.setSlope(data.alpha);
    if (data.rate !== undefined) training.rate = data.rate;
    if (data.delay !== undefined) delay = data.delay;
    if (data.place !== undefined) place = data.place;
    if (data.playing !== undefined) {
      clearTimeout(timer);
      playing = data.playing && training.epoch < EPOCHS;
      if (playing) timer = setTimeout(step);
    }
    if (data.step) step();
    else if (data.start || data.place !== undefined || data.playing !== undefined) tell();
  });
}

if ("WorkerGlobalScope" in globalThis) work();
