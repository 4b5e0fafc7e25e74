/** Takes the pictures of docs/images from the running product: npm run screenshots. */

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fixtures } from './fixtures.mjs';
import { Cleanup, frontend, openTab, startBrowser, startServer, startUpstream } from './harness.mjs';

const to = join(frontend, '..', 'docs', 'images');
mkdirSync(to, { recursive: true });

const prompt = 'Tell the story of a lighthouse keeper who counts the ships';
const views = [
  { name: 'light', colorScheme: 'light', viewport: { width: 1280, height: 800 } },
  { name: 'dark', colorScheme: 'dark', viewport: { width: 1280, height: 800 } },
  { name: 'phone', colorScheme: 'light', viewport: { width: 360, height: 740 }, deviceScaleFactor: 2 },
];

const cleanup = new Cleanup();
try {
  const { url } = await startServer(cleanup, ...(await startUpstream(cleanup, fixtures)));
  const browser = await startBrowser(cleanup);
  for (const { name, ...options } of views) {
    const context = await browser.newContext(options);
    const tab = await openTab(context, url);
    const picture = async (what) => {
      if (name === 'light' || what === 'cut') await tab.page.screenshot({ path: join(to, `page-${what}-${name}.png`), animations: 'disabled' });
    };

    await tab.page.getByRole('heading').waitFor();
    await picture('idle');
    await tab.choose('Model', 'aimock/gpt-4o');
    await tab.send(prompt);
    await tab.reach(60);
    await tab.button('Cut').click();
    await tab.back(1);
    await tab.reach(120);
    await tab.page.mouse.move(0, 0);
    await picture('cut');
    await tab.reach(140);
    await tab.button('Pause').click();
    await tab.page.locator('summary', { hasText: 'curl' }).click();
    await tab.button('Copy').hover(); // once it is in view
    await tab.page.mouse.move(0, 0);
    await picture('paused');
    await tab.button('Continue').click();
    await tab.finished();
    await picture('done');
    await context.close();
  }
} finally {
  await cleanup.run();
}
