/** The border of what has a label. */

/** Pixels of a label beside another one, or at the edge of the image. */
export function borderOf(labels: Uint8Array, width: number, height: number): number[] {
  const border: number[] = [];
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      const label = labels[at];
      if (label === 0) continue;
      const inside =
        x > 0 && labels[at - 1] === label &&
        x < width - 1 && labels[at + 1] === label &&
        y > 0 && labels[at - width] === label &&
        y < height - 1 && labels[at + width] === label;
      if (!inside) border.push(at);
    }
  }
  return border;
}
