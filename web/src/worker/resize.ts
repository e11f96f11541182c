/** Resizing as OpenCV does it, whose `cv2.resize` prediction in Python calls. */

/** Pixels in the order rows, columns, channels. */
export interface Pixels<T extends Uint8Array | Float32Array> {
  data: T;
  height: number;
  width: number;
  channels: number;
}

interface Share {
  from: number;
  to: number;
  weight: number;
}

/** As `keras_pamunet.data.resized.resize_image`: area averages where both sides shrink. */
export function resizeImage<T extends Uint8Array | Float32Array>(
  image: Pixels<T>,
  height: number,
  width: number,
): Pixels<T> {
  if (image.height === height && image.width === width) return image;
  const shrinks = image.height > height && image.width > width;
  return shrinks ? resizeArea(image, height, width) : resizeLinear(image, height, width);
}

/** `cv2.INTER_AREA` of an image that shrinks. */
function resizeArea<T extends Uint8Array | Float32Array>(
  image: Pixels<T>,
  height: number,
  width: number,
): Pixels<T> {
  const bytes = image.data instanceof Uint8Array;
  const whole = image.height % height === 0 && image.width % width === 0;
  const sums = whole
    ? blockMeans(image, height, width, bytes)
    : areaMeans(image, height, width);
  return { data: rounded(sums, bytes) as T, height, width, channels: image.channels };
}

/** Means over blocks of whole pixels. Of 2 x 2 bytes OpenCV rounds halves up. */
function blockMeans(
  { data, width: columns, channels, ...image }: Pixels<Uint8Array | Float32Array>,
  height: number,
  width: number,
  bytes: boolean,
): Float32Array {
  const [tall, wide] = [image.height / height, columns / width];
  const share = Math.fround(1 / (tall * wide));
  const halvesUp = bytes && tall === 2 && wide === 2;
  const means = new Float32Array(height * width * channels);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < channels; c++, at++) {
        let sum = 0;
        for (let j = 0; j < tall; j++) {
          const row = ((y * tall + j) * columns + x * wide) * channels + c;
          for (let i = 0; i < wide; i++) sum += data[row + i * channels];
        }
        means[at] = halvesUp ? (sum + 2) >> 2 : sum * share;
      }
    }
  }
  return means;
}

/** Means over parts of pixels, in float32 as OpenCV adds them up. */
function areaMeans(
  { data, width: columns, channels, ...image }: Pixels<Uint8Array | Float32Array>,
  height: number,
  width: number,
): Float32Array {
  const across = areaShares(columns, width);
  const sums = new Float32Array(height * width * channels);
  const row = new Float32Array(width * channels);
  for (const down of areaShares(image.height, height)) {
    row.fill(0);
    for (const { from, to, weight } of across) {
      const source = (down.from * columns + from) * channels;
      for (let c = 0; c < channels; c++) {
        row[to * channels + c] += Math.fround(data[source + c] * weight);
      }
    }
    const target = down.to * row.length;
    for (let x = 0; x < row.length; x++) {
      sums[target + x] += Math.fround(row[x] * down.weight);
    }
  }
  return sums;
}

/** Which share each pixel of a side has in each of the fewer pixels of another. */
function areaShares(source: number, target: number): Share[] {
  const scale = source / target;
  const shares: Share[] = [];
  for (let to = 0; to < target; to++) {
    const [start, end] = [to * scale, (to + 1) * scale];
    const cell = Math.min(scale, source - start);
    const last = Math.min(Math.floor(end), source - 1);
    const first = Math.min(Math.ceil(start), last);
    const add = (from: number, part: number) =>
      shares.push({ from, to, weight: Math.fround(part / cell) });
    if (first - start > 1e-3) add(first - 1, first - start);
    for (let from = first; from < last; from++) add(from, 1);
    if (end - last > 1e-3) add(last, Math.min(end - last, 1, cell));
  }
  return shares;
}

/** `cv2.INTER_LINEAR`, between the centres of pixels. */
export function resizeLinear<T extends Uint8Array | Float32Array>(
  image: Pixels<T>,
  height: number,
  width: number,
): Pixels<T> {
  const { data, channels } = image;
  if (image.height === height && image.width === width) return image;
  const bytes = data instanceof Uint8Array;
  const across = linearShares(image.width, width, bytes);
  const down = linearShares(image.height, height, bytes);
  const length = width * channels;
  const found = bytes ? new Uint8Array(height * length) : new Float32Array(height * length);
  const rows = [new Float32Array(length), new Float32Array(length)];
  const held = [-1, -1];
  const stretch = (from: number, slot: number) => {
    if (held[slot] === from) return;
    held[slot] = from;
    const start = from * image.width;
    for (let x = 0, at = 0; x < width; x++) {
      const one = (start + across.first[x]) * channels;
      const other = (start + across.second[x]) * channels;
      for (let c = 0; c < channels; c++, at++) {
        rows[slot][at] =
          data[one + c] * across.near[x] + data[other + c] * across.far[x];
      }
    }
  };
  for (let y = 0; y < height; y++) {
    stretch(down.first[y], 0);
    stretch(down.second[y], 1);
    const [near, far, target] = [down.near[y], down.far[y], y * length];
    const [upper, lower] = rows;
    for (let x = 0; x < length; x++) {
      found[target + x] = bytes
        ? fixedPoint(upper[x], near, lower[x], far)
        : upper[x] * near + lower[x] * far;
    }
  }
  return { data: found as T, height, width, channels };
}

/** Of bytes OpenCV's weights are whole 2048ths, and it drops bits on the way. */
function fixedPoint(upper: number, near: number, lower: number, far: number): number {
  return (((near * (upper >> 4)) >> 16) + ((far * (lower >> 4)) >> 16) + 2) >> 2;
}

function linearShares(source: number, target: number, bytes: boolean) {
  const first = new Int32Array(target);
  const second = new Int32Array(target);
  const near = new Float32Array(target);
  const far = new Float32Array(target);
  const scale = source / target;
  for (let to = 0; to < target; to++) {
    const place = (to + 0.5) * scale - 0.5;
    const floor = Math.floor(place);
    const share = Math.fround(place - floor);
    first[to] = Math.min(Math.max(floor, 0), source - 1);
    second[to] = Math.min(Math.max(floor + 1, 0), source - 1);
    near[to] = bytes ? roundHalfEven(Math.fround(1 - share) * 2048) : 1 - share;
    far[to] = bytes ? roundHalfEven(share * 2048) : share;
  }
  return { first, second, near, far };
}

function rounded(values: Float32Array, bytes: boolean): Uint8Array | Float32Array {
  return bytes ? Uint8Array.from(values, roundHalfEven) : values;
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}
