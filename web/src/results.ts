/** What was found, in numbers: text for people, and `results.csv` as `predict` writes it. */
import type { Found } from './shared/found';

/** `Found` without the mask itself. */
export type Record = Omit<Found, 'labels'>;

const COLUMNS = [
  'mask', 'kind', 'object', 'label', 'class', 'size', 'percent', 'x', 'y', 'width', 'height',
  'mean_probability', 'volume_ml', 'first_slice', 'last_slice',
] as const;

type Row = Partial<{ [Column in (typeof COLUMNS)[number]]: string | number }>;

/** A sentence: how much there is, and in how many objects. */
export function describe(record: Record): string {
  const { objects, size, voxelMl } = record;
  if (objects.length === 0) return 'Nothing found.';
  const percent = (100 * size) / pixelsOf(record);
  const amount =
    voxelMl === null
      ? `${percent.toFixed(1)} % of the image`
      : `${(size * voxelMl).toFixed(1)} ml, ${percent.toFixed(1)} % of the volume`;
  const count = `${objects.length} object${objects.length === 1 ? '' : 's'}`;
  return `${amount} in ${count}${ofClasses(record)}`;
}

function ofClasses({ objects, classNames, voxelMl }: Record): string {
  if (classNames.length === 1) return ` (${classNames[0]})`;
  const parts = classNames.flatMap((name, index) => {
    const own = objects.filter(({ label }) => label === index + 1);
    const size = own.reduce((sum, found) => sum + found.size, 0);
    if (size === 0) return [];
    const amount = voxelMl === null ? `${size} pixels` : `${(size * voxelMl).toFixed(1)} ml`;
    return [`${name} ${amount}`];
  });
  return ` (${parts.join(', ')})`;
}

export function toCsv(records: (readonly [string, Record])[]): string {
  const rows = records.flatMap(([mask, record]) => rowsOf(mask, record));
  const lines = rows.map((row) => COLUMNS.map((column) => quoted(row[column] ?? '')).join(','));
  return [COLUMNS.join(','), ...lines, ''].join('\n');
}

function rowsOf(mask: string, record: Record): Row[] {
  const isVolume = record.slices !== null;
  const rows = record.objects.map((found, index): Row => ({
    mask,
    kind: 'object',
    object: index + 1,
    label: found.label,
    class: record.classNames[found.label - 1],
    ...sizes(found.size, record),
    x: found.x,
    y: found.y,
    width: found.width,
    height: found.height,
    mean_probability: decimal(found.meanProbability),
    ...(isVolume ? { first_slice: found.firstSlice, last_slice: found.lastSlice } : {}),
  }));
  const { objects } = record;
  const total: Row = {
    mask,
    kind: isVolume ? 'volume' : 'image',
    object: rows.length,
    ...sizes(record.size, record),
  };
  if (objects.length > 0) {
    const size = objects.reduce((sum, found) => sum + found.size, 0);
    const weighted = objects.reduce((sum, found) => sum + found.size * found.meanProbability, 0);
    total.mean_probability = decimal(weighted / size);
    if (isVolume) {
      total.first_slice = Math.min(...objects.map(({ firstSlice }) => firstSlice));
      total.last_slice = Math.max(...objects.map(({ lastSlice }) => lastSlice));
    }
  }
  return [total, ...rows];
}

function sizes(size: number, record: Record): Row {
  const { voxelMl } = record;
  return {
    size,
    percent: decimal((100 * size) / pixelsOf(record)),
    ...(voxelMl === null ? {} : { volume_ml: decimal(size * voxelMl) }),
  };
}

function pixelsOf({ columns, rows, slices }: Record): number {
  return columns * rows * (slices ?? 1);
}

/** Up to four digits behind the point, one at least, as Python writes them. */
function decimal(value: number): string {
  const text = String(Number(value.toFixed(4)));
  return /[.e]/.test(text) ? text : `${text}.0`;
}

function quoted(value: string | number): string {
  const text = String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
