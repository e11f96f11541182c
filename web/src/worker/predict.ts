/** Probabilities of images, averaged over mirror images: test-time augmentation. */

/** What prediction asks of a network. */
export interface Predictor {
  inputShape: [number | null, number | null, number | null, number];
  metadata: { mirrorAxes: number[]; numClasses: number };
  predict(
    images: Float32Array, count: number, height: number, width: number,
  ): Promise<Float32Array>;
}

/** Probabilities `(count, height, width, classes)`, each image by itself or averaged. */
export async function predictBatch(
  network: Predictor,
  images: Float32Array,
  count: number,
  height: number,
  width: number,
  flips: boolean,
): Promise<Float32Array> {
  const channels = network.inputShape[3];
  const classes = network.metadata.numClasses;
  const sets = subsets(flips ? network.metadata.mirrorAxes : []);
  const sum = new Float32Array(count * height * width * classes);
  for (const axes of sets) {
    const turned = mirror(images, [count, height, width, channels], axes);
    const found = await network.predict(turned, count, height, width);
    const back = mirror(found, [count, height, width, classes], axes);
    for (let at = 0; at < sum.length; at++) sum[at] += back[at];
  }
  for (let at = 0; at < sum.length; at++) sum[at] /= sets.length;
  if (!sum.every(Number.isFinite)) {
    throw new Error('The model predicts NaN: its weights are damaged.');
  }
  return sum;
}

/** All sets of some axes, the smaller ones first. */
export function subsets(axes: number[]): number[][] {
  let sets: number[][] = [[]];
  for (const axis of axes) sets = [...sets, ...sets.map((set) => [...set, axis])];
  return sets.sort((one, other) => one.length - other.length);
}

/** Images with rows (axis 1) or columns (axis 2) in the other order, or both. */
export function mirror(
  values: Float32Array,
  [count, height, width, channels]: [number, number, number, number],
  axes: number[],
): Float32Array {
  if (axes.length === 0) return values;
  const [down, across] = [axes.includes(1), axes.includes(2)];
  const found = new Float32Array(values.length);
  let at = 0;
  for (let n = 0; n < count; n++) {
    for (let y = 0; y < height; y++) {
      const row = (n * height + (down ? height - 1 - y : y)) * width;
      for (let x = 0; x < width; x++) {
        const source = (row + (across ? width - 1 - x : x)) * channels;
        for (let c = 0; c < channels; c++) found[at++] = values[source + c];
      }
    }
  }
  return found;
}
