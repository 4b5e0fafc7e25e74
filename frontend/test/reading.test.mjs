/** A place in the text: seen, moved, linked to, and read on from at the reader's own speed. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { markdown } from './fixtures.mjs';
import { Cleanup, noBrowser, startBrowser, startServer, until } from './harness.mjs';
import { tell } from './tab.mjs';

describe('a place in the text', { skip: noBrowser(), timeout: 300_000 }, () => {
  const cleanup = new Cleanup();
  let server;
  let browser;
  let ended; // a session
  let last; // its last event

  before(async () => {
    server = await startServer(cleanup);
    browser = await startBrowser(cleanup);
    ended = await server.create({ source: { type: 'text', text: markdown }, unit: 'token' });
    ({ last_event_id: last } = await until(() => server.state(ended), ({ state }) => state === 'done', 'the end'));
  });
  after(() => cleanup.run());

  const story = (name, run, options) => test(name, () => tell(browser, server.url, run, options));
  const writing = (rate) => server.create({ source: { type: 'text', text: markdown }, unit: 'token', rate });

  /** Checks that the reader stands still at this event, with the text up to it and not a character more. */
  async function standsAt(tab, id) {
    await tab.at(id);
    assert.equal(await tab.source(), await server.textUpTo(tab.id, id));
    assert.equal(await tab.scrubber.inputValue(), String(id));
    await until(() => tab.parameter('at'), (at) => at === String(id), 'the address');
  }

  story('the scrubber, by keyboard', async (open) => {
    const tab = await open(`/s/${ended}`);
    await tab.finished();
    const { keyboard } = tab.page;
    await tab.scrubber.focus();
    assert.equal(await tab.scrubber.getAttribute('aria-valuetext'), `event ${last} of ${last}`);
    for (const [key, want] of [
      ['ArrowLeft', last - 1],
      ['ArrowLeft', last - 2],
      ['ArrowRight', last - 1],
      ['Home', 0],
      ['ArrowRight', 1],
      ['ArrowRight', 2],
      ['ArrowUp', 3],
    ]) {
      await keyboard.press(key);
      await standsAt(tab, want);
      await tab.button('Continue').waitFor();
      assert.equal(await tab.scrubber.getAttribute('aria-valuetext'), `event ${want} of ${last}`);
      assert.ok(await tab.scrubber.evaluate((input) => input === document.activeElement), `${key}: the focus has left the scrubber`);
    }
    await keyboard.press('End');
    await tab.exact(server, markdown);
  });

  story('the scrubber, back and forth while the text is written', async (open) => {
    const tab = await open(`/s/${await writing(200)}`);
    await tab.reach(60);
    await tab.scrubber.fill('20');
    await standsAt(tab, 20);
    await tab.paused();
    await server.readers(tab.id, 0);
    // What is behind is there; what was never received is asked for.
    await until(async () => (await server.state(tab.id)).last_event_id, (head) => head > 150, 'the head');
    await until(async () => Number(await tab.scrubber.getAttribute('max')), (head) => head > 150, 'the end of the scrubber');
    await tab.scrubber.fill('150');
    await standsAt(tab, 150);
    await tab.paused();
    await tab.still();
    await tab.press('Continue');
    await tab.exact(server, markdown);
  });

  story('a link to an event of a text that is written, and of one that has ended', async (open) => {
    const live = await writing(200);
    await until(async () => (await server.state(live)).last_event_id, (head) => head > 80, 'the head');
    for (const id of [live, ended]) {
      const tab = await open(`/s/${id}?at=57&paused=1`);
      await tab.paused();
      await standsAt(tab, 57);
      await server.readers(id, 0);
      await tab.press('Continue');
      await tab.reach(60);
      await tab.page.goto(`${server.url}/s/${id}?at=57`);
      await tab.exact(server, markdown);
    }
  });

  story('an address is told by its own button, and opens at the same event', async (open, context) => {
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    const tab = await open(`/s/${ended}`);
    await tab.finished();
    await tab.scrubber.fill('120');
    await standsAt(tab, 120);
    await tab.press('Copy link');
    const link = await tab.page.evaluate(() => navigator.clipboard.readText());
    const { origin, pathname, searchParams } = new URL(link);
    assert.deepEqual([origin, pathname, searchParams.get('at')], [server.url, `/s/${ended}`, '120']);
    const other = await open(link);
    await other.reach(120);
    await tab.press('Copy answer');
    assert.equal(await tab.page.evaluate(() => navigator.clipboard.readText()), await server.textUpTo(ended, 120));
  });

  story('replay after the end, at the speed of the reader', async (open) => {
    const tab = await open(`/s/${ended}`);
    await tab.finished();
    await tab.choose('Speed', '120');
    const from = last - 80;
    await tab.scrubber.fill(String(from));
    await standsAt(tab, from);
    await tab.page.evaluate(() => {
      const cursor = document.querySelector('[data-testid="cursor"]');
      globalThis.seen = new Set();
      new MutationObserver(() => globalThis.seen.add(Number(cursor.textContent))).observe(cursor, { childList: true, characterData: true, subtree: true });
    });
    await tab.press('Continue');
    await tab.finished();
    const seen = await tab.page.evaluate(() => [...globalThis.seen]);
    assert.ok(seen.length > 20, `80 events at 120 a second came in ${seen.length} parts`);
    assert.deepEqual(seen, seen.toSorted((a, b) => a - b));
    await tab.exact(server, markdown);
  });

  story('a click on a token goes to its event', async (open) => {
    const tab = await open(`/s/${ended}`);
    await tab.finished();
    await tab.view('Tokens');
    const tokens = tab.output.locator('.token');
    assert.equal(await tokens.count(), last - 2, 'a token for each event but the first and the last');
    assert.deepEqual(await tokens.evaluateAll((all) => all.map((token) => Number(token.dataset.id))), Array.from({ length: last - 2 }, (_, i) => i + 2));
    assert.equal(await tokens.nth(40).getAttribute('title'), 'event 42');
    assert.equal(await tokens.evaluateAll((all) => all.map((token) => token.textContent).join('')), markdown);
    await tab.output.locator('[data-id="42"]').click();
    await standsAt(tab, 42);
    assert.equal(await tokens.count(), 41);
    await tab.press('Continue');
    await tab.exact(server, markdown);
  });

  story('step by step', async (open) => {
    const tab = await open(`/s/${await writing(100)}`);
    await tab.reach(10);
    await tab.pause();
    await tab.choose('Speed', 'step');
    const at = await tab.cursor();
    for (const n of [1, 2, 3]) {
      await tab.press('Step');
      await standsAt(tab, at + n);
      assert.ok(await tab.button('Step').evaluate((button) => button === document.activeElement), 'the focus has left the button');
    }
    await tab.still();
    await server.readers(tab.id, 0);
    assert.equal(await tab.button('Pause').count() + (await tab.button('Continue').count()), 0);
    await tab.choose('Speed', '0');
    if ((await tab.button('Continue').count()) > 0) await tab.press('Continue');
    await tab.exact(server, markdown);
  });

  story('speed is the pace of this reader alone', async (open) => {
    const text = markdown.repeat(4);
    const id = await server.create({ source: { type: 'text', text }, unit: 'token', rate: 400 });
    const tab = await open(`/s/${id}?at=1&pace=30`);
    assert.equal(await tab.page.getByLabel('Speed', { exact: true }).inputValue(), '30');
    await tab.reach(20);
    const { last_event_id: end } = await until(() => server.state(id), ({ state }) => state === 'done', 'the end at the server');
    const at = await tab.cursor();
    assert.ok(at < end / 2, `at event ${at} of ${end}`);
    assert.equal(await tab.done.count(), 0);
    await tab.choose('Speed', '120');
    await until(() => tab.parameter('pace'), (pace) => pace === '120', 'the address');
    await tab.reach(at + 20);
    await tab.choose('Speed', '0');
    await tab.exact(server, text);
  });

  story('a stop, while the reader is behind, leaves the rest to be read', async (open) => {
    const id = await server.create({ source: { type: 'text', text: markdown.repeat(20) }, unit: 'token', rate: 200 });
    const tab = await open(`/s/${id}?at=1&pace=30`);
    await tab.reach(10);
    await until(async () => (await server.state(id)).last_event_id, (head) => head > 150, 'the head');
    await tab.press('Stop');
    await until(async () => (await server.state(id)).state, (state) => state === 'stopped', 'the state');
    await tab.paused();
    assert.ok((await tab.cursor()) < (await server.state(id)).last_event_id);
    await tab.choose('Speed', '0');
    await tab.press('Continue');
    await tab.ended.getByText('Stopped at event').waitFor();
    assert.equal(await tab.source(), await server.text(id));
    assert.equal(await tab.done.count(), 0);
  });
});
