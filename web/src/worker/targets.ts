/** Labels of probabilities, as `keras_pamunet.targets` finds them. */

export type Masks = 'exclusive' | 'overlapping';

/** Labels of one class or more, and the probability of each pixel's own. */
export interface Layer {
  labels: Uint8Array;
  own: Float32Array;
}

/** Labels that masks have, with the background's. */
export function labelCount(numClasses: number, masks: Masks): number {
  return masks === 'overlapping' && numClasses > 1 ? numClasses + 1 : numClasses;
}

export function defaultNames(count: number): string[] {
  if (count === 1) return ['object'];
  return Array.from({ length: count }, (_, index) => `class ${index + 1}`);
}

/** One layer of classes that exclude each other, or one for each that may overlap. */
export function toLayers(
  probabilities: Float32Array,
  numClasses: number,
  masks: Masks,
  threshold: number,
): Layer[] {
  if (masks === 'exclusive' && numClasses > 1) return [likeliest(probabilities, numClasses)];
  return Array.from({ length: numClasses }, (_, index) =>
    above(probabilities, numClasses, index, threshold),
  );
}

function likeliest(probabilities: Float32Array, numClasses: number): Layer {
  const count = probabilities.length / numClasses;
  const labels = new Uint8Array(count);
  const own = new Float32Array(count);
  for (let pixel = 0, at = 0; pixel < count; pixel++) {
    own[pixel] = -Infinity;
    for (let label = 0; label < numClasses; label++, at++) {
      if (probabilities[at] > own[pixel]) {
        own[pixel] = probabilities[at];
        labels[pixel] = label;
      }
    }
  }
  return { labels, own };
}

function above(
  probabilities: Float32Array,
  numClasses: number,
  index: number,
  threshold: number,
): Layer {
  const count = probabilities.length / numClasses;
  const labels = new Uint8Array(count);
  const own = new Float32Array(count);
  // NumPy compares float32 with the threshold in float32.
  const limit = Math.fround(threshold);
  for (let pixel = 0, at = index; pixel < count; pixel++, at += numClasses) {
    own[pixel] = probabilities[at];
    if (own[pixel] > limit) labels[pixel] = index + 1;
  }
  return { labels, own };
}

/** One array of labels of several: the highest. */
export function flat(layers: Uint8Array[]): Uint8Array {
  if (layers.length === 1) return layers[0];
  const highest = layers[0].slice();
  for (const layer of layers.slice(1)) {
    for (let at = 0; at < highest.length; at++) {
      if (layer[at] > highest[at]) highest[at] = layer[at];
    }
  }
  return highest;
}
