import { svelte } from '@sveltejs/vite-plugin-svelte';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

const server = process.env['TOKENRELAY_URL'] ?? 'http://127.0.0.1:8080';

/** The one chunk that is loaded later has nothing to be loaded beside it, and needs no help with that. */
const plainImport: Plugin = {
  name: 'plain-import',
  enforce: 'pre',
  load: (id) => (id === '\0vite/preload-helper.js' ? 'export const __vitePreload = (load) => load();' : undefined),
};

/**
 * The page has its own use of marked's lexer and parser. What makes them one function, marked(), stands at the end of its
 * module and is run when that is loaded, so that nothing drops it by itself: some 2 kB compressed.
 */
const partsOfMarked: Plugin = {
  name: 'parts-of-marked',
  apply: 'build',
  transform(code, id) {
    if (!id.endsWith('/marked.esm.js')) return undefined;
    const cut = code.replace(/var (\w+)=new \w+;function \w+\(\w+,\w+\)\{return \1\.parse\(.*export\{(.*)\};/s, (_, _instance, names: string) => {
      const used = names.split(',').filter((name) => /as (Lexer|Parser|Renderer|Tokenizer)$/.test(name));
      return `export{${used.join(',')}};`;
    });
    if (cut === code) this.error('marked has another form now');
    return { code: cut, map: null };
  },
};

export default defineConfig({
  plugins: [plainImport, partsOfMarked, svelte()],
  build: {
    target: 'es2022',
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: true,
    // The Go server embeds these names; its ETag is a hash of the content.
    rolldownOptions: {
      output: {
        entryFileNames: 'app.js',
        chunkFileNames: '[name].js',
        assetFileNames: 'app[extname]',
      },
    },
  },
  // The Host stays the page's own, or the server takes its requests for another origin's.
  server: { proxy: { '/v1': { target: server, changeOrigin: false }, '/api': { target: server, changeOrigin: false }, '/readyz': { target: server, changeOrigin: false } } },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
