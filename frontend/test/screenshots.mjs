/** Takes the pictures of docs/images from the running product: npm run screenshots. */

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fixtures } from './fixtures.mjs';
import { Cleanup, frontend, startBrowser, startServer, startUpstream } from './harness.mjs';
import { openTab } from './tab.mjs';

const to = join(frontend, '..', 'docs', 'images');
mkdirSync(to, { recursive: true });

const MODEL = 'aimock/gpt-4o';
const wide = { width: 1280, height: 800 };
const views = {
  light: { colorScheme: 'light', viewport: wide },
  dark: { colorScheme: 'dark', viewport: wide },
  phone: { colorScheme: 'light', viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true },
};

const cleanup = new Cleanup();
try {
  const { url } = await startServer(cleanup, ...(await startUpstream(cleanup, fixtures)));
  const browser = await startBrowser(cleanup);

  for (const [name, options] of Object.entries(views)) {
    const context = await browser.newContext(options);
    const tab = await openTab(context, url);
    const { page } = tab;
    const picture = async (what) => {
      await page.mouse.move(0, 0);
      await page.screenshot({ path: join(to, `page-${what}-${name}.png`), animations: 'disabled' });
    };
    const ask = async (prompt) => {
      await page.getByRole('option', { name: MODEL }).waitFor({ state: 'attached' });
      await tab.choose('Model', MODEL);
      await tab.choose('Speed', '0');
      await tab.send(prompt);
    };

    await page.getByRole('heading', { level: 1 }).waitFor();
    if (name === 'light') await picture('idle');

    await ask('Tell the story of a lighthouse keeper who counts the ships');
    await tab.reach(60);
    await tab.mended(() => tab.button('Cut').click());
    await tab.reach(120);
    await picture('cut');
    await tab.reach(140);
    await tab.pause();
    if (name === 'light') {
      await picture('paused');
      await tab.view('Tokens');
      await tab.output.locator('.token').nth(60).hover();
      await page.screenshot({ path: join(to, `page-tokens-${name}.png`), animations: 'disabled' });
      await tab.view('Text');
    }
    await tab.button('Continue').click();
    await tab.finished();

    await ask('Show the book as a table, and how the next number is found in Go');
    await tab.finished();
    await tab.output.locator('.hljs-keyword').first().waitFor();
    await picture('turns');
    await context.close();
  }
} finally {
  await cleanup.run();
}
