/** All of the page by keyboard alone, with the focus where it has to be. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { markdown } from './fixtures.mjs';
import { Cleanup, noBrowser, startBrowser, startServer, until } from './harness.mjs';
import { tell } from './tab.mjs';
import { startProvider, Writing } from './writer.mjs';

/** Presses of Tab that lead to any place of the page. */
const FAR = 60;

describe('by keyboard alone', { skip: noBrowser(), timeout: 300_000 }, () => {
  const cleanup = new Cleanup();
  let server;
  let browser;

  let provider;

  before(async () => {
    provider = await startProvider(cleanup);
    server = await startServer(cleanup, ...provider.flags);
    browser = await startBrowser(cleanup);
  });
  after(() => cleanup.run());

  /** What has the focus, by role and name. */
  const focused = (tab) =>
    tab.page.evaluate(() => {
      const element = document.activeElement;
      const name = element.getAttribute('aria-label') ?? element.labels?.[0]?.innerText ?? element.innerText;
      return `${element.tagName.toLowerCase()} ${name.trim().split('\n')[0].trim()}`;
    });

  async function has(tab, want) {
    await until(() => focused(tab), (got) => got === want, `the focus, want ${want}`);
  }

  /** Goes to an element by Tab, or by Shift+Tab. */
  async function go(tab, want, key = 'Tab') {
    const way = [];
    while (way.at(-1) !== want) {
      assert.ok(way.length < FAR, `no way to ${want}: ${way.join(', ')}`);
      await tab.page.keyboard.press(key);
      way.push(await focused(tab));
    }
    // Where the focus is can be seen.
    const seen = await tab.page.evaluate(() => {
      const element = document.activeElement;
      const box = element.getBoundingClientRect();
      const styles = [element, element.closest('label'), element.closest('form')].filter((it) => it !== null).map((it) => getComputedStyle(it));
      return {
        inView: box.bottom > 0 && box.top < innerHeight,
        ring: element.type === 'range' || styles.some(({ outlineStyle, boxShadow }) => outlineStyle !== 'none' || boxShadow !== 'none'), // a range has it on its thumb
      };
    });
    assert.ok(seen.inView, `${want} is not in view`);
    assert.ok(seen.ring, `${want} does not show that it has the focus`);
  }

  async function copied(tab, want) {
    await until(() => tab.page.evaluate(() => navigator.clipboard.readText()), (got) => got === want, 'the clipboard');
  }

  test('send, pause, continue, cut, seek, look at the tokens, copy, ask again', async () => {
    await tell(browser, server.url, async (open, context) => {
      await context.grantPermissions(['clipboard-read', 'clipboard-write']);
      const tab = await open();
      const { keyboard } = tab.page;
      const answer = () => {
        const writing = new Writing(markdown.match(/[^]{1,4}/gu), 60);
        provider.take(writing, 'Tell me\nof the sea');
        return writing;
      };
      const first = answer();

      await tab.page.getByRole('option', { name: 'slow' }).waitFor({ state: 'attached' });
      await go(tab, 'select Model');
      await keyboard.type('slow');
      assert.equal(await tab.page.getByLabel('Model', { exact: true }).inputValue(), 'slow/writer');
      await go(tab, 'textarea Prompt', 'Shift+Tab');
      await keyboard.type('Tell me');
      await keyboard.press('Shift+Enter');
      await keyboard.type('of the sea');
      assert.equal(await tab.prompt.inputValue(), 'Tell me\nof the sea');
      await keyboard.press('Enter');
      await tab.reach(8);
      await has(tab, 'textarea Prompt');

      await keyboard.press('Escape');
      await tab.paused();
      await has(tab, 'textarea Prompt');
      let at = await tab.cursor();

      await go(tab, 'button Continue', 'Shift+Tab');
      await keyboard.press('Space');
      await tab.reach(at + 5);
      await has(tab, 'button Pause');
      await keyboard.press('Enter');
      await tab.paused();
      await has(tab, 'button Continue');
      await keyboard.press('Enter');
      await has(tab, 'button Pause');

      await go(tab, 'button Cut');
      await tab.mended(() => keyboard.press('Space'));
      await has(tab, 'button Cut');

      await go(tab, 'input Event', 'Shift+Tab');
      await keyboard.press('ArrowLeft');
      await tab.paused();
      at = await tab.cursor();
      await keyboard.press('ArrowLeft');
      await tab.at(at - 1);
      await keyboard.press('ArrowRight');
      await tab.at(at);
      await has(tab, 'input Event');

      await go(tab, 'select Speed');
      await keyboard.type('step');
      await go(tab, 'button Step', 'Shift+Tab');
      await keyboard.press('Space');
      await tab.at(at + 1);
      await keyboard.press('Space');
      await tab.at(at + 2);
      await has(tab, 'button Step');
      await go(tab, 'select Speed');
      await keyboard.type('max');
      assert.equal(await tab.page.getByLabel('Speed', { exact: true }).inputValue(), '0');
      if ((await tab.button('Continue').count()) > 0) {
        await go(tab, 'button Continue', 'Shift+Tab');
        await keyboard.press('Space');
        await has(tab, 'button Pause');
      }
      first.release();
      await tab.finished();

      await go(tab, 'section Conversation', 'Shift+Tab');
      await go(tab, 'input Text');
      await keyboard.press('ArrowRight');
      await has(tab, 'input Source');
      assert.equal(await tab.shown(), await server.text(tab.id));
      await keyboard.press('ArrowRight');
      await has(tab, 'input Tokens');
      assert.equal(await tab.output.locator('.token').count(), (await tab.cursor()) - 2);
      await go(tab, 'button Copy answer');
      await keyboard.press('Enter');
      await copied(tab, await server.text(tab.id));
      assert.equal(await tab.page.evaluate(() => document.activeElement.matches('button.copy, .actions button')), true);
      await go(tab, 'button Copy link');
      await keyboard.press('Enter');
      await until(() => tab.page.evaluate(() => navigator.clipboard.readText()), (got) => got.startsWith(`${server.url}/s/${tab.id}`), 'the clipboard');

      const before = tab.id;
      answer();
      await go(tab, 'button Regenerate');
      await keyboard.press('Enter');
      await tab.page.waitForURL((to) => to.pathname.startsWith('/s/') && !to.pathname.endsWith(before));
      await tab.reach(5);
      assert.notEqual(await focused(tab), 'body ', 'the focus is lost');
      await go(tab, 'button Stop');
      await keyboard.press('Enter');
      await tab.ended.waitFor();
    });
  });
});
