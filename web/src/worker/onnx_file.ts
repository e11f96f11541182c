/** What `keras-pamunet export` wrote into an ONNX file, beside the network. */
import { type Masks, defaultNames, labelCount } from './targets';

const METADATA = 'keras_pamunet';
const SHA256 = 'keras_pamunet_sha256';
/** Number of `metadata_props` in ONNX's `ModelProto`. */
const METADATA_PROPS = 14;

export interface Metadata {
  numClasses: number;
  masks: Masks;
  classNames: string[];
  /** Axes of `(batch, height, width, channels)` along which images may be mirrored. */
  mirrorAxes: number[];
  inputRange: [number, number];
}

/** Reads the metadata of a file, and makes sure that no byte was changed. */
export async function readMetadata(file: Uint8Array): Promise<Metadata> {
  const seal = await checkSeal(file);
  let text: string | undefined;
  try {
    text = properties(file).get(METADATA);
  } catch {
    throw new Error('It was cut, or this is no ONNX file.');
  }
  if (text === undefined) {
    throw new Error('Expected a model that keras-pamunet export wrote. This is none.');
  }
  const held = parsed(text);
  if (!seal && 'sealed' in held) throw new Error('Its end was cut off or altered.');
  if (held.window !== undefined && held.window !== null) {
    throw new Error(
      'Expected a model of CT that takes HU. An older version exported this one: export it anew.',
    );
  }
  return toMetadata(held);
}

/** Whether the file holds its own SHA-256; an error if that is another. */
async function checkSeal(file: Uint8Array): Promise<boolean> {
  const name = new TextEncoder().encode(SHA256);
  const mark = [
    (METADATA_PROPS << 3) | 2, name.length + 68, 0x0a, name.length, ...name, 0x12, 64,
  ];
  const end = file.length - 64 - mark.length;
  if (end < 0 || !mark.every((byte, index) => file[end + index] === byte)) return false;
  const content = file.subarray(0, end) as Uint8Array<ArrayBuffer>;
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', content));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
  if (found !== new TextDecoder().decode(file.subarray(-64))) {
    throw new Error('It was damaged or altered: its SHA-256 is another. Export it anew.');
  }
  return true;
}

function toMetadata(held: Record<string, unknown>): Metadata {
  const numClasses = held.num_classes as number;
  const overlap = held.activation === 'sigmoid' && numClasses > 1;
  const masks = (held.masks ?? (overlap ? 'overlapping' : 'exclusive')) as Masks;
  const labels = labelCount(numClasses, masks) - 1 || 1;
  const classNames = (held.class_names ?? defaultNames(labels)) as string[];
  const mirrorAxes = (held.mirror_axes ?? [1, 2]) as number[];
  const inputRange = held.input_range as [number, number];
  const makesSense =
    Number.isInteger(numClasses) && numClasses > 0 && numClasses <= 256 &&
    ['exclusive', 'overlapping'].includes(masks) &&
    Array.isArray(classNames) && classNames.length === labels &&
    Array.isArray(mirrorAxes) && mirrorAxes.every((axis) => axis === 1 || axis === 2) &&
    Array.isArray(inputRange) && inputRange.every(Number.isFinite) &&
    inputRange[0] < inputRange[1];
  if (!makesSense) throw altered();
  return { numClasses, masks, classNames: classNames.map(String), mirrorAxes, inputRange };
}

function parsed(text: string): Record<string, unknown> {
  try {
    const held: unknown = JSON.parse(text);
    if (typeof held === 'object' && held !== null) return held as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw altered();
}

function altered(): Error {
  return new Error('What it says of its model was altered.');
}

/** The `metadata_props` of a `ModelProto`: its fields one by one, nothing looked into. */
function properties(file: Uint8Array): Map<string, string> {
  const found = new Map<string, string>();
  for (const [field, value] of fields(file)) {
    if (field !== METADATA_PROPS || value === null) continue;
    const pair = new Map(fields(value));
    const [key, text] = [1, 2].map((part) => new TextDecoder().decode(pair.get(part) ?? undefined));
    found.set(key, text);
  }
  return found;
}

/** Numbers and contents of a protobuf message's fields; `null` of those of fixed size. */
function* fields(message: Uint8Array): Generator<[number, Uint8Array | null]> {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      if (at >= message.length || shift > 2 ** 63) throw new RangeError('cut');
      const byte = message[at++];
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const tag = varint();
    const field = Math.floor(tag / 8);
    const kind = tag % 8;
    let content: Uint8Array | null = null;
    if (kind === 0) varint();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else if (kind === 2) {
      const length = varint();
      content = message.subarray(at, at + length);
      at += length;
    } else throw new RangeError('unknown');
    if (at > message.length) throw new RangeError('cut');
    yield [field, content];
  }
}
