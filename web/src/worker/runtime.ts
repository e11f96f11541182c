/** ONNX Runtime, on the processor or on the graphics card. */
import gpuGlue from 'onnxruntime-web/ort-wasm-simd-threaded.asyncify.mjs?url';
import gpuBinary from 'onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url';
import glue from 'onnxruntime-web/ort-wasm-simd-threaded.mjs?url';
import binary from 'onnxruntime-web/ort-wasm-simd-threaded.wasm?url';

export type Runtime = typeof import('onnxruntime-web/wasm');

const MAX_THREADS = 8;

/** The runtime; that of the graphics card is fetched when it is asked for. */
export async function openRuntime(gpu: boolean): Promise<Runtime> {
  const ort: Runtime = await (gpu
    ? import('onnxruntime-web/webgpu')
    : import('onnxruntime-web/wasm'));
  const { wasm } = ort.env;
  // Absolute: ONNX Runtime would look beside its own script.
  wasm.wasmPaths = {
    mjs: new URL(gpu ? gpuGlue : glue, self.location.href).href,
    wasm: new URL(gpu ? gpuBinary : binary, self.location.href).href,
  };
  // Threads share memory, which a browser allows to pages that are isolated.
  wasm.numThreads = self.crossOriginIsolated
    ? Math.min(navigator.hardwareConcurrency || 1, MAX_THREADS)
    : 1;
  ort.env.logLevel = 'error';
  return ort;
}
