/** The headers of NIfTI-1 and NIfTI-2: what they say, and a new one of labels. */

type Kind = 'i8' | 'u8' | 'i16' | 'i32' | 'i64' | 'f32' | 'f64';

interface Field {
  at: number;
  kind: Kind;
  count: number;
}

const BYTES: Record<Kind, number> = { i8: 1, u8: 1, i16: 2, i32: 4, i64: 8, f32: 4, f64: 8 };

/** Fields of the two versions, by the first byte of each, as nifti1.h and nifti2.h say. */
const LAYOUTS = {
  1: layout('i16', 'i16', 'f32', {
    dim: 40, datatype: 70, bitpix: 72, pixdim: 76, vox_offset: [108, 'f32'],
    scl_slope: 112, scl_inter: 116, xyzt_units: [123, 'u8'],
    qform_code: 252, sform_code: 254, quatern: 256, qoffset: 268, srow: 280,
  }),
  2: layout('i64', 'i32', 'f64', {
    dim: 16, datatype: [12, 'i16'], bitpix: [14, 'i16'], pixdim: 104,
    vox_offset: [168, 'i64'], scl_slope: 176, scl_inter: 184, xyzt_units: [500, 'i32'],
    qform_code: 344, sform_code: 348, quatern: 352, qoffset: 376, srow: 400,
  }),
};
const SIZES = { 1: 348, 2: 540 };
const MAGIC = {
  1: { at: 344, single: [0x6e, 0x2b, 0x31, 0], pair: [0x6e, 0x69, 0x31, 0] },
  2: {
    at: 4,
    single: [0x6e, 0x2b, 0x32, 0, 0x0d, 0x0a, 0x1a, 0x0a],
    pair: [0x6e, 0x69, 0x32, 0, 0x0d, 0x0a, 0x1a, 0x0a],
  },
};
/** What says where the voxels lie. */
const GEOMETRY = [
  'pixdim', 'xyzt_units', 'qform_code', 'sform_code', 'quatern', 'qoffset', 'srow',
] as const;

type Name =
  | (typeof GEOMETRY)[number]
  | 'dim' | 'datatype' | 'bitpix' | 'vox_offset' | 'scl_slope' | 'scl_inter';
type Version = 1 | 2;

/** A header's numbers. `bytes` are its own, in whichever byte order. */
export interface NiftiHeader {
  version: Version;
  littleEndian: boolean;
  bytes: Uint8Array;
  shape: number[];
  datatype: number;
  voxOffset: number;
  slope: number;
  intercept: number;
  pixdim: number[];
  units: number;
  qformCode: number;
  sformCode: number;
  quatern: number[];
  qoffset: number[];
  srow: number[];
}

/** Bytes that tell whether a file is NIfTI, and what its header says. */
export const HEADER_BYTES = SIZES[2] + 4;

/** Reads the header at the start of a file that is not packed. */
export function readHeader(start: Uint8Array): NiftiHeader {
  const [version, littleEndian] = versionOf(start);
  const { at, single, pair } = MAGIC[version];
  const magic = start.subarray(at, at + single.length);
  if (same(magic, pair)) {
    throw new Error(
      'Expected header and voxels in one file. Received: the header of a pair (.hdr and .img).',
    );
  }
  if (!same(magic, single)) throw notNifti();
  const view = new DataView(start.buffer, start.byteOffset, start.byteLength);
  const get = (name: Name) => numbers(view, LAYOUTS[version][name], littleEndian);
  const dim = get('dim');
  if (!(dim[0] >= 1 && dim[0] <= 7)) {
    throw new Error(`Expected 1 to 7 axes. Received: ${dim[0]} in the header.`);
  }
  const least = SIZES[version] + 4;
  const [offset] = get('vox_offset');
  const extended = start[SIZES[version]] !== 0;
  const voxOffset = offset === 0 && !extended ? least : offset;
  if (!(voxOffset >= least && voxOffset < 2 ** 31)) {
    throw new Error(
      `Expected the voxels to begin at byte ${least} or later. Received: ${offset}.`,
    );
  }
  return {
    version,
    littleEndian,
    bytes: start.slice(0, SIZES[version]),
    shape: dim.slice(1, dim[0] + 1),
    datatype: get('datatype')[0],
    voxOffset: Math.floor(voxOffset),
    slope: get('scl_slope')[0],
    intercept: get('scl_inter')[0],
    pixdim: get('pixdim'),
    units: get('xyzt_units')[0],
    qformCode: get('qform_code')[0],
    sformCode: get('sform_code')[0],
    quatern: get('quatern'),
    qoffset: get('qoffset'),
    srow: get('srow'),
  };
}

/**
 * The start of a file of uint8 labels that lie where the voxels do: a new header with
 * the geometry of the old one, bit for bit, and an extension. Nothing else goes over:
 * texts may name the patient.
 */
export function labelsHeader(old: NiftiHeader, extension: Uint8Array): Uint8Array {
  const size = SIZES[old.version];
  const start = new Uint8Array(size + 4 + extension.length);
  const view = new DataView(start.buffer);
  const from = new DataView(old.bytes.buffer, old.bytes.byteOffset);
  const fields = LAYOUTS[old.version];
  for (const name of GEOMETRY) copy(from, old.littleEndian, view, fields[name]);
  const set = (name: Name, ...values: number[]) =>
    values.forEach((value, index) => setNumber(view, fields[name], index, value));
  view.setInt32(0, size, true);
  start.set(MAGIC[old.version].single, MAGIC[old.version].at);
  const shape = [...old.shape, ...Array(7 - old.shape.length).fill(1)];
  set('dim', old.shape.length, ...shape);
  set('datatype', 2);
  set('bitpix', 8);
  set('vox_offset', start.length);
  set('scl_slope', 1);
  set('scl_inter', 0);
  start[size] = extension.length > 0 ? 1 : 0;
  start.set(extension, size + 4);
  return start;
}

function versionOf(start: Uint8Array): [Version, boolean] {
  if (start.length < SIZES[1] + 4) throw notNifti();
  const view = new DataView(start.buffer, start.byteOffset);
  for (const version of [1, 2] as const) {
    for (const littleEndian of [true, false]) {
      if (view.getInt32(0, littleEndian) === SIZES[version]) {
        if (start.length < SIZES[version] + 4) throw notNifti();
        return [version, littleEndian];
      }
    }
  }
  throw notNifti();
}

function notNifti(): Error {
  return new Error('Expected a NIfTI file (.nii or .nii.gz). This is none.');
}

function same(bytes: Uint8Array, expected: number[]): boolean {
  return expected.every((byte, index) => bytes[index] === byte);
}

function numbers(view: DataView, { at, kind, count }: Field, little: boolean): number[] {
  return Array.from({ length: count }, (_, index) => {
    const place = at + index * BYTES[kind];
    switch (kind) {
      case 'i8': return view.getInt8(place);
      case 'u8': return view.getUint8(place);
      case 'i16': return view.getInt16(place, little);
      case 'i32': return view.getInt32(place, little);
      case 'i64': return Number(view.getBigInt64(place, little));
      case 'f32': return view.getFloat32(place, little);
      case 'f64': return view.getFloat64(place, little);
    }
  });
}

function setNumber(view: DataView, { at, kind }: Field, index: number, value: number): void {
  const place = at + index * BYTES[kind];
  switch (kind) {
    case 'i8': return view.setInt8(place, value);
    case 'u8': return view.setUint8(place, value);
    case 'i16': return view.setInt16(place, value, true);
    case 'i32': return view.setInt32(place, value, true);
    case 'i64': return view.setBigInt64(place, BigInt(value), true);
    case 'f32': return view.setFloat32(place, value, true);
    case 'f64': return view.setFloat64(place, value, true);
  }
}

/** Copies a field byte by byte, from either byte order to little-endian. */
function copy(from: DataView, little: boolean, to: DataView, { at, kind, count }: Field): void {
  const size = BYTES[kind];
  for (let start = at; start < at + count * size; start += size) {
    for (let byte = 0; byte < size; byte++) {
      to.setUint8(start + byte, from.getUint8(start + (little ? byte : size - 1 - byte)));
    }
  }
}

function layout(
  integer: Kind,
  code: Kind,
  real: Kind,
  places: Record<Name, number | [number, Kind]>,
): Record<Name, Field> {
  const kinds: Record<Name, [Kind, number]> = {
    dim: [integer, 8], datatype: [code, 1], bitpix: [code, 1], pixdim: [real, 8],
    vox_offset: [real, 1], scl_slope: [real, 1], scl_inter: [real, 1],
    xyzt_units: [code, 1], qform_code: [code, 1], sform_code: [code, 1],
    quatern: [real, 3], qoffset: [real, 3], srow: [real, 12],
  };
  const entries = Object.entries(kinds).map(([name, [kind, count]]) => {
    const place = places[name as Name];
    const [at, own] = typeof place === 'number' ? [place, kind] : place;
    return [name, { at, kind: own, count }];
  });
  return Object.fromEntries(entries);
}
