/** A network in ONNX Runtime, and what it takes. */
import type { InferenceSession } from 'onnxruntime-web/wasm';
import { type Metadata, readMetadata } from './onnx_file';
import { type Runtime, openRuntime } from './runtime';

const MAX_BYTES = 2 ** 31 - 1;
/** A module of one SIMD instruction. */
const SIMD = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0,
  253, 15, 253, 98, 11,
];

export class Network {
  private constructor(
    readonly metadata: Metadata,
    /** Batch, height and width, `null` where any will do, and channels. */
    readonly inputShape: [number | null, number | null, number | null, number],
    /** Of the images. */
    private dtype: 'float32' | 'uint8',
    private ort: Runtime,
    private session: InferenceSession,
  ) {}

  /** Reads an ONNX file, to be run on the processor or on the graphics card. */
  static async load(file: Blob, gpu: boolean): Promise<Network> {
    if (!WebAssembly.validate(new Uint8Array(SIMD))) {
      throw new Error('This browser lacks WebAssembly SIMD. A newer one has it.');
    }
    if (!self.isSecureContext) {
      throw new Error('Browsers compute here only for pages by https, or of this machine.');
    }
    if (file.size > MAX_BYTES) throw new Error('Expected an ONNX file below 2 GiB.');
    const bytes = new Uint8Array(await file.arrayBuffer());
    const metadata = await readMetadata(bytes);
    const ort = await openRuntime(gpu);
    let session: InferenceSession;
    try {
      session = await ort.InferenceSession.create(bytes, {
        executionProviders: [gpu ? 'webgpu' : 'wasm'],
      });
    } catch (error) {
      throw new Error(`ONNX Runtime cannot run this file: ${firstLine(error)}`);
    }
    const [input] = session.inputMetadata;
    const shape = input.isTensor ? input.shape.map(known) : [];
    const channels = shape[3];
    if (shape.length !== 4 || !channels) {
      throw new Error('Expected a model of images (batch, height, width, channels).');
    }
    const dtype = input.isTensor && input.type === 'uint8' ? 'uint8' : 'float32';
    return new Network(metadata, [shape[0], shape[1], shape[2], channels], dtype, ort, session);
  }

  /** Probabilities `(count, height, width, classes)` of raw images of that order. */
  async predict(
    images: Float32Array,
    count: number,
    height: number,
    width: number,
  ): Promise<Float32Array> {
    const channels = this.inputShape[3];
    const batch = this.inputShape[0] ?? count;
    const classes = this.metadata.numClasses;
    const [taken, given] = [height * width * channels, height * width * classes];
    const found = new Float32Array(count * given);
    for (let start = 0; start < count; start += batch) {
      const part = new Float32Array(batch * taken);
      part.set(images.subarray(start * taken, (start + batch) * taken));
      const output = await this.run(part, [batch, height, width, channels]);
      found.set(output.subarray(0, Math.min(batch, count - start) * given), start * given);
    }
    return found;
  }

  async release(): Promise<void> {
    await this.session.release();
  }

  private async run(images: Float32Array, shape: number[]): Promise<Float32Array> {
    const [input] = this.session.inputNames;
    const [output] = this.session.outputNames;
    try {
      const tensor =
        this.dtype === 'uint8'
          ? new this.ort.Tensor('uint8', Uint8Array.from(images, Math.round), shape)
          : new this.ort.Tensor('float32', images, shape);
      const found = await this.session.run({ [input]: tensor });
      return found[output].data as Float32Array;
    } catch (error) {
      throw new Error(
        `ONNX Runtime cannot predict images of ${shape[2]} x ${shape[1]} pixels: ${firstLine(error)}`,
      );
    }
  }
}

function known(side: number | string): number | null {
  return typeof side === 'number' && side > 0 ? side : null;
}

function firstLine(error: unknown): string {
  return String(error instanceof Error ? error.message : error).split('\n')[0];
}
