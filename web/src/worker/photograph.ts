/** Photographs: from a file to the pixels that a network takes. */
import type { Pixels } from './resize';

const MAX_PIXELS = 89_478_485;
const MAX_BYTES = 2 ** 29;
/** Bytes that tell the format. */
const HEAD = 32;

/** Decodes a JPEG, PNG, BMP or WebP file: RGB, upright as the file's orientation says. */
export async function readPhotograph(file: Blob): Promise<Pixels<Uint8Array>> {
  if (file.size > MAX_BYTES) throw new Error('Expected a photograph of at most 512 MiB.');
  checkFormat(new Uint8Array(await file.slice(0, HEAD).arrayBuffer()));
  const bitmap = await createImageBitmap(file, {
    colorSpaceConversion: 'none',
    premultiplyAlpha: 'none',
  }).catch(() => {
    throw new Error('The photograph is damaged: the browser cannot read it.');
  });
  const { width, height } = bitmap;
  if (width * height > MAX_PIXELS) {
    bitmap.close();
    throw new Error(`Expected at most ${MAX_PIXELS} pixels. Received: ${width} x ${height}.`);
  }
  return takePixels(bitmap);
}

/** The pixels of a decoded picture, RGB, which is closed. */
export function takePixels(bitmap: ImageBitmap): Pixels<Uint8Array> {
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d', { willReadFrequently: true })!;
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return withoutOpacity(context.getImageData(0, 0, width, height));
}

/** An image in the channels that a network takes; equal channels become grey. */
export function fitChannels(image: Pixels<Uint8Array>, channels: number): Pixels<Uint8Array> {
  if (channels === image.channels) return image;
  const { data } = image;
  if (channels !== 1) {
    throw new Error(`Expected an image of ${channels} channels, as the model takes. This has 3.`);
  }
  const grey = new Uint8Array(image.width * image.height);
  for (let at = 0; at < grey.length; at++) {
    grey[at] = data[3 * at];
    if (data[3 * at + 1] !== grey[at] || data[3 * at + 2] !== grey[at]) {
      throw new Error('Expected a grey image, as the model takes. This one has colours.');
    }
  }
  return { ...image, data: grey, channels: 1 };
}

/** Makes sure that 8 bits are what a network takes. */
export function checkRange([low, high]: [number, number]): void {
  if (low < 0) {
    throw new Error(
      `Expected a CT volume (NIfTI), as the model takes values from ${low} to ${high}. This is a photograph.`,
    );
  }
  if (low === 0 && high === 1) {
    throw new Error('Expected values of 0 to 1, as the model takes. Photographs have 0 to 255.');
  }
}

function checkFormat(start: Uint8Array): void {
  const text = String.fromCharCode(...start);
  if (text.startsWith('II') || text.startsWith('MM')) {
    throw new Error('Browsers cannot read TIFF. Save the photograph as PNG.');
  }
  const isPng = text.startsWith('\x89PNG\r\n\x1a\n');
  const isWebP = text.startsWith('RIFF') && text.slice(8, 12) === 'WEBP';
  if (!isPng && !isWebP && !text.startsWith('\xff\xd8\xff') && !text.startsWith('BM')) {
    throw new Error('Expected a JPEG, PNG, BMP or WebP photograph. This is none.');
  }
  if (isPng && start[24] === 16) {
    throw new Error('Expected a photograph of 8 bits a channel. This one has 16.');
  }
}

function withoutOpacity({ data, width, height }: ImageData): Pixels<Uint8Array> {
  const pixels = new Uint8Array(3 * width * height);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    if (data[from + 3] !== 255) {
      throw new Error(
        'Expected an opaque photograph: browsers lose the colours of transparent pixels. Save it without opacity.',
      );
    }
    pixels[to++] = data[from];
    pixels[to++] = data[from + 1];
    pixels[to++] = data[from + 2];
  }
  return { data: pixels, width, height, channels: 3 };
}
