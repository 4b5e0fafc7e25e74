/** Markdown of somebody who means harm, through the relay and onto the page: nothing of it runs, and nothing is loaded. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Cleanup, loadModule, noBrowser, startBrowser, startServer } from './harness.mjs';
import { tell } from './tab.mjs';

/** What an answer is drawn with: of Markdown, and of the page itself around tables and code. */
const ELEMENTS =
  'a abbr b blockquote br button code del div em h2 h3 h4 h5 h6 hr i ins kbd li mark ol p pre s samp small span strong sub sup table tbody td th thead tr u ul var'.split(' ');
const ATTRIBUTES = 'align aria-label class data-id hidden href rel role start tabindex target title type'.split(' ');

/** Tabs at a time, which wait more than they work. */
const TABS = 3;

describe('hostile Markdown', { skip: noBrowser(), timeout: 300_000 }, () => {
  const cleanup = new Cleanup();
  let server;
  let browser;
  let corpus;

  before(async () => {
    ({ HOSTILE: corpus } = await loadModule(cleanup, 'src/markdown/hostile.ts'));
    server = await startServer(cleanup);
    browser = await startBrowser(cleanup);
  });
  after(() => cleanup.run());

  test('is drawn while it comes, and does nothing', async (t) => {
    t.diagnostic(`${corpus.length} texts`);
    assert.ok(corpus.length > 50);
    await Promise.all(Array.from({ length: TABS }, (_, n) => read(corpus.filter((_, i) => i % TABS === n))));
  });

  /** What is on the page that an answer has no business with. */
  function faults(tab) {
    return tab.output.evaluate(
      (output, [elements, attributes]) => {
        const found = [];
        for (const element of output.querySelectorAll('*')) {
          if (!elements.includes(element.localName)) found.push(`<${element.localName}>`);
          for (const { name, value } of element.attributes) {
            if (!attributes.includes(name)) found.push(`${element.localName} ${name}`);
            if (name === 'href' && !/^(https?|mailto):/.test(value)) found.push(`${element.localName} ${name}=${value}`);
          }
          if (element.localName === 'a' && (element.target !== '_blank' || !/\bnoopener\b/.test(element.rel))) found.push(element.outerHTML);
        }
        if (document.querySelectorAll('main').length !== 1 || document.scripts.length !== 1) found.push('something beside the answer');
        return found;
      },
      [ELEMENTS, ATTRIBUTES],
    );
  }

  async function read(texts) {
    await tell(browser, server.url, async (open, context) => {
      await context.addInitScript(() => {
        globalThis.reports = [];
        addEventListener('securitypolicyviolation', (event) => globalThis.reports.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`));
      });
      const tab = await open();
      await tab.page.waitForLoadState('networkidle');
      const asked = [];
      tab.page.on('request', (request) => asked.push(new URL(request.url()).pathname));
      tab.page.on('popup', (popup) => tab.wrong.push(`opened ${popup.url()}`));
      tab.page.on('framenavigated', (frame) => {
        if (!frame.url().startsWith(`${server.url}/s/`)) tab.wrong.push(`went to ${frame.url()}`);
      });
      const names = await tab.page.evaluate(() => Object.getOwnPropertyNames(globalThis));
      for (const text of [...texts, texts.join('\n\n')]) {
        const id = await server.create({ source: { type: 'text', text }, unit: 'grapheme', rate: 1000 });
        await tab.page.evaluate((path) => {
          history.pushState(null, '', path);
          dispatchEvent(new PopStateEvent('popstate'));
        }, `/s/${id}`);
        await tab.page.waitForFunction((text) => document.querySelector('[data-testid="output"]').dataset.source === text && document.querySelector('[data-testid="done"]'), text);
        assert.deepEqual(await faults(tab), [], JSON.stringify(text));
        assert.deepEqual(await tab.page.evaluate(() => globalThis.reports), [], JSON.stringify(text));
        assert.deepEqual(tab.wrong, [], JSON.stringify(text));
      }
      for (const view of ['Source', 'Tokens']) {
        await tab.view(view);
        assert.deepEqual(await faults(tab), [], view);
      }
      assert.deepEqual(await tab.page.evaluate(() => globalThis.reports), []);
      assert.deepEqual(asked.filter((path) => !path.startsWith('/v1/') && path !== '/readyz' && !/^\/[\w.-]+\.js$/.test(path)), []);
      const known = new Set(names);
      assert.deepEqual((await tab.page.evaluate(() => Object.getOwnPropertyNames(globalThis))).filter((name) => !known.has(name) && !/^__playwright|^reports$/.test(name)), []);
    });
  }
});
