import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

const server = process.env['TOKENRELAY_URL'] ?? 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [svelte()],
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
