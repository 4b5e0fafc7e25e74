/** A tab that nobody reads has no line; when somebody is back, the text goes on. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { markdown } from './fixtures.mjs';
import { Cleanup, noBrowser, startServer, startWindow, until } from './harness.mjs';
import { openTab } from './tab.mjs';
import { Writing } from './writer.mjs';

describe('a tab that nobody looks at', { skip: noBrowser(), timeout: 300_000 }, () => {
  const cleanup = new Cleanup();
  let server;
  let context;
  let other; // a tab that can be in front

  before(async () => {
    server = await startServer(cleanup);
    context = await startWindow(cleanup);
    other = await context.newPage();
  });
  after(() => cleanup.run());

  /** Tells a story of a tab with a session that is written until it is released. */
  function story(name, run) {
    test(name, async () => {
      const leaving = new AbortController();
      const id = await server.create({ source: { type: 'push' }, unit: 'token' });
      const writing = new Writing(markdown.match(/[^]{1,4}/gu), 100);
      const appended = writing.appendTo(server, id, leaving.signal);
      const tab = await openTab(context, server.url);
      try {
        await tab.page.clock.install();
        await tab.page.goto(`${server.url}/s/${id}`);
        await show(tab);
        await tab.reach(10);
        await run(tab, id, async () => {
          writing.release();
          await appended;
        });
        assert.deepEqual(tab.wrong, []);
      } finally {
        leaving.abort();
        await tab.page.close();
      }
    });
  }

  async function visible(tab, state) {
    await until(() => tab.page.evaluate(() => document.visibilityState), (got) => got === state, `visibility, want ${state}`);
  }

  async function hide(tab) {
    await other.bringToFront();
    await visible(tab, 'hidden');
  }

  async function show(tab) {
    await tab.page.bringToFront();
    await visible(tab, 'visible');
  }

  story('keeps its line for 30 seconds, and then lets go of it', async (tab, id, release) => {
    await hide(tab);
    await tab.page.clock.runFor(25_000);
    await server.readers(id, 1);
    await tab.page.clock.runFor(6_000);
    await until(() => tab.lines.size, (n) => n === 0, 'lines');
    await server.readers(id, 0);
    const source = await tab.source();
    await release();
    assert.equal(await tab.source(), source);
    await show(tab);
    await tab.exact(server, markdown);
  });

  story('a phone that is put to sleep and woken', async (tab, id, release) => {
    const cdp = await context.newCDPSession(tab.page);
    await hide(tab);
    await cdp.send('Page.setWebLifecycleState', { state: 'frozen' });
    const source = await tab.source();
    await until(async () => (await server.state(id)).last_event_id, (head) => head > 200, 'what is written meanwhile');
    assert.equal(await tab.source(), source, 'it sleeps');
    await cdp.send('Page.setWebLifecycleState', { state: 'active' });
    await show(tab);
    await tab.reach((await server.state(id)).last_event_id);
    await release();
    await tab.exact(server, markdown);
  });

  story('a phone whose line is gone when it wakes', async (tab, id, release) => {
    const cdp = await context.newCDPSession(tab.page);
    await hide(tab);
    await cdp.send('Page.setWebLifecycleState', { state: 'frozen' });
    await server.kill();
    await server.start();
    await until(async () => (await server.state(id)).last_event_id, (head) => head > 100, 'what is written meanwhile');
    await cdp.send('Page.setWebLifecycleState', { state: 'active' });
    await show(tab);
    await tab.reach((await server.state(id)).last_event_id);
    await release();
    await tab.exact(server, markdown);
  });

  story('paused, it has no line, and gets none by being looked at', async (tab, id, release) => {
    await tab.pause();
    await server.readers(id, 0);
    const source = await tab.source();
    await hide(tab);
    await tab.page.clock.runFor(40_000);
    await show(tab);
    await tab.page.clock.runFor(10_000);
    assert.equal(tab.lines.size, 0);
    await server.readers(id, 0);
    assert.equal(await tab.source(), source);
    await tab.press('Continue');
    await release();
    await tab.exact(server, markdown);
  });

  story('done, it has no line, and asks for nothing', async (tab, id, release) => {
    await release();
    await tab.exact(server, markdown);
    const asked = [];
    tab.page.on('request', (request) => asked.push(request.url()));
    await hide(tab);
    await tab.page.clock.runFor(60_000);
    await show(tab);
    await tab.page.clock.runFor(60_000);
    assert.deepEqual(asked, []);
    await server.readers(id, 0);
  });
});
