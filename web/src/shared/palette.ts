/** The colours of classes, those of `keras_pamunet.palette`. */

export type Colour = [number, number, number];

const FIRST: Colour[] = [
  [0, 0, 0],
  [240, 228, 66],
  [86, 180, 233],
  [230, 159, 0],
  [0, 158, 115],
  [204, 121, 167],
  [213, 94, 0],
  [0, 114, 178],
];
const GOLDEN = 0.618034;

/** Red, green and blue of each label from 0 to 255. */
export const COLOURS: Colour[] = Array.from({ length: 256 }, (_, label) =>
  label < FIRST.length ? FIRST[label] : ofHue(((label - FIRST.length) * GOLDEN) % 1),
);

function ofHue(hue: number): Colour {
  const [saturation, value] = [0.65, 0.95];
  const sector = Math.floor(hue * 6);
  const rest = hue * 6 - sector;
  const low = value * (1 - saturation);
  const falling = value * (1 - saturation * rest);
  const rising = value * (1 - saturation * (1 - rest));
  const parts = [
    [value, rising, low],
    [falling, value, low],
    [low, value, rising],
    [low, falling, value],
    [rising, low, value],
    [value, low, falling],
  ][sector % 6];
  return parts.map((part) => Math.round(255 * part)) as Colour;
}
