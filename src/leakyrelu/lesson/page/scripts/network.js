// @ts-check
/**
 * The mathematics of the page: a small network with its forward pass, backward pass and step of gradient descent, as in
 * `leakyrelu.demo`; and one unit alone.
 *
 * Matrices are flat arrays, row by row. A network computes in the floating-point type of its weights.
 */

/** @typedef {Float32Array | Float64Array} Floats */
/** @typedef {{ images: Floats, labels: Uint8Array }} Digits  pixels from 0 to 1, row by row, and what each image shows */
/** @typedef {{ inputs: Floats[], preactivations: Floats[] }} Pass  by layer; the last preactivations are the logits */

/**
 * @param {number} z
 * @param {number} alpha
 */
export const leakyRelu = (z, alpha) => (z >= 0 ? z : alpha * z);

/**
 * At zero it is 1, as in the library.
 *
 * @param {number} z
 * @param {number} alpha
 */
export const leakyReluDerivative = (z, alpha) => (z >= 0 ? 1 : alpha);

/**
 * An array of the same type.
 *
 * @param {Floats} like
 * @param {number} length
 * @returns {Floats}
 */
const floats = (like, length) => (like instanceof Float64Array ? new Float64Array(length) : new Float32Array(length));

/** A multilayer perceptron with Leaky ReLU after each layer but the last. */
export class Network {
  /**
   * @param {number[]} sizes  inputs, units of each hidden layer, classes
   * @param {Floats[]} weights  of shape (fan in, fan out)
   * @param {Floats[]} biases
   * @param {number} alpha  the slope; 0 is ReLU
   */
  constructor(sizes, weights, biases, alpha) {
    this.sizes = sizes;
    this.weights = weights;
    this.biases = biases;
    this.alpha = alpha;
  }

  /**
   * Weights are normal with standard deviation sqrt(2 / fan in), the gain for ReLU (He et al. 2015); biases are zero.
   *
   * @param {number[]} sizes
   * @param {number} alpha
   * @param {() => number} normal  draws standard normal numbers
   */
  static initial(sizes, alpha, normal) {
    const weights = sizes
      .slice(1)
      .map((size, i) => Float32Array.from({ length: sizes[i] * size }, () => normal() * Math.sqrt(2 / sizes[i])));
    return new Network(
      sizes,
      weights,
      sizes.slice(1).map((size) => new Float32Array(size)),
      alpha,
    );
  }

  /** @param {number} alpha */
  copy(alpha) {
    const copied = (/** @type {Floats[]} */ arrays) => arrays.map((array) => array.slice());
    return new Network(this.sizes, copied(this.weights), copied(this.biases), alpha);
  }

  /**
   * @param {Floats} images
   * @returns {Pass}
   */
  forward(images) {
    const rows = images.length / this.sizes[0];
    /** @type {Floats[]} */
    const inputs = [];
    /** @type {Floats[]} */
    const preactivations = [];
    this.weights.forEach((weight, layer) => {
      const input = layer ? preactivations[layer - 1].map((z) => leakyRelu(z, this.alpha)) : images;
      const [fanIn, fanOut] = [this.sizes[layer], this.sizes[layer + 1]];
      const bias = this.biases[layer];
      const sums = new Float64Array(fanOut);
      const z = floats(weight, rows * fanOut);
      for (let row = 0; row < rows; row++) {
        sums.set(bias);
        for (let i = 0; i < fanIn; i++) {
          const value = input[row * fanIn + i];
          for (let j = 0; j < fanOut; j++) sums[j] += value * weight[i * fanOut + j];
        }
        z.set(sums, row * fanOut);
      }
      inputs.push(input);
      preactivations.push(z);
    });
    return { inputs, preactivations };
  }

  /**
   * The gradient of the mean cross-entropy by the preactivations of each layer.
   *
   * @param {Floats[]} preactivations
   * @param {Uint8Array} labels
   */
  backward(preactivations, labels) {
    let gradient = crossEntropyGradient(preactivations[preactivations.length - 1], labels);
    const gradients = [gradient];
    for (let layer = this.weights.length - 1; layer > 0; layer--) {
      const [fanIn, fanOut] = [this.sizes[layer], this.sizes[layer + 1]];
      const weight = this.weights[layer];
      const z = preactivations[layer - 1];
      const before = floats(weight, labels.length * fanIn);
      for (let row = 0; row < labels.length; row++) {
        for (let i = 0; i < fanIn; i++) {
          let sum = 0;
          for (let j = 0; j < fanOut; j++) sum += gradient[row * fanOut + j] * weight[i * fanOut + j];
          const at = row * fanIn + i;
          before[at] = sum * leakyReluDerivative(z[at], this.alpha);
        }
      }
      gradients.unshift(before);
      gradient = before;
    }
    return gradients;
  }

  /**
   * One step of stochastic gradient descent.
   *
   * @param {Digits} batch
   * @param {number} rate
   */
  step(batch, rate) {
    const { inputs, preactivations } = this.forward(batch.images);
    const gradients = this.backward(preactivations, batch.labels);
    this.weights.forEach((weight, layer) => {
      const [fanIn, fanOut] = [this.sizes[layer], this.sizes[layer + 1]];
      const [input, gradient, bias] = [inputs[layer], gradients[layer], this.biases[layer]];
      const sums = new Float64Array(weight.length);
      const biasSums = new Float64Array(fanOut);
      for (let row = 0; row < batch.labels.length; row++) {
        for (let i = 0; i < fanIn; i++) {
          const value = input[row * fanIn + i];
          for (let j = 0; j < fanOut; j++) sums[i * fanOut + j] += value * gradient[row * fanOut + j];
        }
        for (let j = 0; j < fanOut; j++) biasSums[j] += gradient[row * fanOut + j];
      }
      for (let i = 0; i < weight.length; i++) weight[i] -= rate * sums[i];
      for (let j = 0; j < fanOut; j++) bias[j] -= rate * biasSums[j];
    });
  }

  /** Whether a weight is no longer a finite number. */
  get overflowed() {
    return !this.weights.every((weight) => weight.every(Number.isFinite));
  }
}

/**
 * @param {Floats} logits
 * @param {Uint8Array} labels
 */
function crossEntropyGradient(logits, labels) {
  const classes = logits.length / labels.length;
  const gradient = floats(logits, logits.length);
  labels.forEach((label, row) => {
    const start = row * classes;
    let largest = -Infinity;
    for (let j = 0; j < classes; j++) largest = Math.max(largest, logits[start + j]);
    let sum = 0;
    for (let j = 0; j < classes; j++) sum += Math.exp(logits[start + j] - largest); // of at most zero: no overflow
    for (let j = 0; j < classes; j++) {
      const probability = Math.exp(logits[start + j] - largest) / sum;
      gradient[start + j] = (probability - Number(j === label)) / labels.length;
    }
  });
  return gradient;
}

/**
 * The class with the largest logit, for each row.
 *
 * @param {Floats} logits
 * @param {number} classes
 */
export function answers(logits, classes) {
  return Uint8Array.from({ length: logits.length / classes }, (_, row) => {
    const values = logits.subarray(row * classes, (row + 1) * classes);
    return values.indexOf(Math.max(...values));
  });
}

/** @typedef {{ pixels: Float32Array, label: number, wanted: number }} Example */

export const RATE = 0.05;
export const TOO_FAR = 0.5;
const FIRST_WEIGHT = 0.05;
const OF_EACH = 24;

/**
 * The first zeros and the first ones among the digits.
 *
 * @param {{ images: Float32Array, labels: Uint8Array }} digits
 * @returns {Example[]}
 */
export function examplesOf({ images, labels }) {
  return [0, 1].flatMap((label) =>
    [...labels.keys()]
      .filter((i) => labels[i] === label)
      .slice(0, OF_EACH)
      .map((i) => ({ pixels: images.slice(i * 64, i * 64 + 64), label, wanted: 1 - label })),
  );
}

/** One unit that learns to tell zeros from ones: it should give 1 for a zero and 0 for a one, under the squared error. */
export class Unit {
  /** @param {Example[]} examples */
  constructor(examples) {
    this.examples = examples;
    this.weights = new Float64Array(64).fill(FIRST_WEIGHT);
    this.bias = 0;
  }

  copy() {
    const unit = new Unit(this.examples);
    unit.weights.set(this.weights);
    unit.bias = this.bias;
    return unit;
  }

  /** z = w·x + b of each example. */
  preactivations() {
    return this.examples.map(({ pixels }) =>
      pixels.reduce((sum, pixel, i) => sum + pixel * this.weights[i], this.bias),
    );
  }

  /**
   * The gradient of each example's error, half of (a - wanted)², by its z.
   *
   * @param {number} alpha
   * @param {number[]} [zs]
   */
  gradients(alpha, zs = this.preactivations()) {
    return zs.map((z, i) => (leakyRelu(z, alpha) - this.examples[i].wanted) * leakyReluDerivative(z, alpha));
  }

  /**
   * One step of gradient descent on the mean error.
   *
   * @param {number} alpha
   * @param {number} rate
   */
  step(alpha, rate) {
    this.gradients(alpha).forEach((gradient, i) => {
      const move = (rate * gradient) / this.examples.length;
      this.examples[i].pixels.forEach((pixel, j) => (this.weights[j] -= move * pixel));
      this.bias -= move;
    });
  }

  /** On how many examples z is above zero. */
  firing() {
    return this.preactivations().filter((z) => z > 0).length;
  }

  /** The unit after one step too far from its start: it fires on nothing. @param {Example[]} examples */
  static dead(examples) {
    const unit = new Unit(examples);
    unit.step(0, TOO_FAR);
    return unit;
  }

  /**
   * How many steps the training takes until the unit fires on an example again; at most `limit`.
   *
   * @param {number} alpha
   * @param {number} [limit]
   */
  stepsToFire(alpha, limit = 5000) {
    const unit = this.copy();
    for (let steps = 0; steps < limit; steps++) {
      if (unit.firing()) return steps;
      unit.step(alpha, RATE);
    }
    return limit;
  }
}
