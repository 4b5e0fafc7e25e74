/** How much there is to load. */

import { gzipSync } from 'node:zlib';

/**
 * The files that a tab has loaded until now, with their size compressed, and all
 * that there are, with their size as they are; in bytes.
 */
export async function sizes(server, tab) {
  await tab.page.waitForLoadState('networkidle');
  const loaded = await tab.page.evaluate(() => performance.getEntriesByType('resource').map((entry) => new URL(entry.name).pathname));
  const first = ['/', ...loaded.filter((path) => /\.(js|css)$/.test(path))];
  const files = new Map();
  const wanted = [...first];
  for (let path = wanted.shift(); path !== undefined; path = wanted.shift()) {
    if (files.has(path)) continue;
    const response = await fetch(new URL(path, server.url));
    if (!response.ok) throw new Error(`${path}: ${response.status}`);
    const content = Buffer.from(await response.arrayBuffer());
    files.set(path, content);
    for (const [, name] of content.toString().matchAll(/["'`](?:\.?\/)?([\w.-]+\.(?:js|css))["'`]/g)) wanted.push(`/${name}`);
  }
  return {
    first,
    compressed: first.reduce((sum, path) => sum + gzipSync(files.get(path)).length, 0),
    all: [...files.keys()],
    raw: [...files.values()].reduce((sum, content) => sum + content.length, 0),
  };
}
