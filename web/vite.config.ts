import { readFileSync } from 'node:fs';
import { defineConfig, type Plugin } from 'vite';

const text = readFileSync(new URL('headers.json', import.meta.url), 'utf8');
const policy = JSON.parse(text)['Content-Security-Policy'];

/** The site's headers: in a file for servers, and the policy in the page itself. */
const headers: Plugin = {
  name: 'headers',
  apply: 'build',
  generateBundle() {
    this.emitFile({ type: 'asset', fileName: 'headers.json', source: text });
  },
  transformIndexHtml: () => [
    {
      tag: 'meta',
      attrs: { 'http-equiv': 'Content-Security-Policy', content: policy },
      injectTo: 'head-prepend',
    },
  ],
};

/** What the graphics card alone needs lies by itself: a browser gets it when it is used. */
function place(names: string[]): string {
  const folder = names.some((name) => name.includes('asyncify')) ? 'assets/gpu' : 'assets';
  return `${folder}/[name]-[hash][extname]`;
}

export default defineConfig({
  base: './',
  plugins: [headers],
  // The build of ONNX Runtime that loads its WASM from files of their own.
  resolve: { conditions: ['onnxruntime-web-use-extern-wasm', 'module', 'browser', 'production'] },
  worker: {
    format: 'es',
    rolldownOptions: {
      output: { assetFileNames: ({ names }) => place(names) },
      external: ['module'], // dcm2niix asks Node.js alone for it.
    },
  },
  build: {
    outDir: '../keras_pamunet/page_assets',
    emptyOutDir: true,
    assetsInlineLimit: 0,
    target: 'es2022',
    modulePreload: false,
    license: { fileName: 'licenses.md' },
    rolldownOptions: {
      input: { index: 'index.html', sw: 'src/sw.ts' },
      output: {
        assetFileNames: ({ names }) => place(names),
        entryFileNames: ({ name }) => (name === 'sw' ? 'sw.js' : 'assets/[name]-[hash].js'),
      },
    },
  },
});
