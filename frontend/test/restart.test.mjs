import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fixtures, long, markdown } from './fixtures.mjs';
import { chance, Cleanup, loadClient, noBrowser, seed, startBrowser, startServer, startUpstream, until } from './harness.mjs';
import { tell } from './tab.mjs';

/** Milliseconds from the server's being back to the page's: the longest wait, and a busy machine. */
const SOON = 4000;

const PROMPT = 'Tell me of ships';

describe('a restart of the server', { skip: noBrowser(), timeout: 300_000 }, () => {
  const cleanup = new Cleanup();
  let server;
  let browser;

  before(async () => {
    const upstream = await startUpstream(cleanup, fixtures);
    server = await startServer(cleanup, '--drain', '50ms', ...upstream);
    browser = await startBrowser(cleanup);
  });
  after(() => cleanup.run());

  /** Runs a story in a browser of its own. Whatever it does, no error is left on the screen. */
  function story(name, salt, run) {
    test(name, async (t) => {
      t.diagnostic(`E2E_SEED=${seed}`);
      await tell(browser, server.url, async (open) => {
        const tab = await open();
        await run(tab, chance(salt), t);
        await tab.trouble.waitFor({ state: 'detached' });
      });
    });
  }

  const asked = async (prompt) => {
    const { sessions } = await (await fetch(`${server.url}/v1/sessions?limit=200`)).json();
    return sessions.filter((session) => session.metadata?.prompt === prompt);
  };

  /** Opens a session of a text that leaves time to kill the server. */
  async function begin(tab, upTo) {
    const id = await server.create({ source: { type: 'text', text: markdown }, unit: 'token', rate: 120, metadata: { prompt: PROMPT } });
    await tab.page.goto(`${server.url}/s/${id}`);
    await tab.reach(upTo);
  }

  /** Starts the server again, and tells how long the page takes then. */
  async function startAgain(t, back) {
    await server.start();
    const began = performance.now();
    const found = await back();
    const took = performance.now() - began;
    t.diagnostic(`back ${Math.round(took)} ms after the server`);
    assert.ok(took < SOON, `back ${took} ms after the server`);
    return found;
  }

  story('and a reload of the page: while it is down, and while the page opens', 2, async (tab, random, t) => {
    await begin(tab, random(10, 40));
    await server.kill();
    await tab.says('reconnecting');
    const address = tab.page.url();
    const at = await tab.cursor();
    assert.equal(tab.parameter('at'), String(at));
    await assert.rejects(tab.page.reload(), /ERR_CONNECTION_REFUSED/); // the browser's own page
    await startAgain(t, async () => {
      // As its reload button does; it may come before by itself.
      await tab.page.goto(address).catch((error) => {
        if (!/interrupted by another navigation/.test(error.message)) throw error;
      });
      await tab.reach(at + 1);
    });
    await tab.page.locator('.question').getByText(PROMPT).waitFor();

    for (const path of [`/s/${tab.id}`, `/s/${tab.id}?at=${await tab.cursor()}`]) {
      // The page has come, and its first requests find nobody.
      let killed;
      await tab.page.route('**/v1/**', async (route) => {
        await (killed ??= server.kill());
        await route.continue();
      });
      await tab.page.goto(server.url + path);
      await tab.says('reconnecting');
      await tab.page.unroute('**/v1/**');
      await startAgain(t, () => tab.reach(5));
      await tab.page.locator('.question').getByText(PROMPT).waitFor();
      await tab.page.getByRole('option', { name: 'aimock' }).waitFor({ state: 'attached' });
    }
    await tab.exact(server, markdown);
  });

  story('and a session that is paused: by its reader, then for all', 3, async (tab, random, t) => {
    await begin(tab, random(10, 40));
    await tab.pause();
    let drawn = await tab.source();
    await server.kill();
    await server.start();
    await server.kill();
    assert.equal(await tab.source(), drawn);
    assert.equal(await tab.strip.count(), 0);
    await tab.mended(async () => {
      await tab.press('Continue'); // while it is down
      await tab.says('reconnecting');
      await startAgain(t, () => tab.says('live'));
    });

    await server.post(tab.id, 'pause');
    await tab.says('session paused');
    drawn = await tab.source();
    await tab.mended(async () => {
      await server.kill();
      await tab.says('reconnecting');
      await startAgain(t, () => tab.says('session paused'));
      assert.equal(await tab.source(), drawn);
      await tab.press('Resume for all');
    });
    await tab.exact(server, markdown);
  });

  story('and a stop while it is down', 4, async (tab, random, t) => {
    await begin(tab, random(10, 30));
    await server.kill();
    await tab.press('Stop');
    await tab.trouble.getByText('Stop has not got through yet').waitFor();
    await startAgain(t, () => tab.ended.getByText('Stopped at event').waitFor());
    assert.equal((await server.state(tab.id)).state, 'stopped');
    assert.equal(await tab.source(), await server.text(tab.id));
  });

  story('and a question while it is down', 5, async (tab, random, t) => {
    const prompt = `Tell me of number ${random(1, 1e9)}`;
    await tab.choose('Model', 'demo');
    await tab.choose('Speed', '0');
    await server.kill();
    await tab.prompt.fill(prompt);
    await tab.press('Send');
    await tab.trouble.getByText('The server cannot be reached').waitFor();
    await startAgain(t, () => tab.page.waitForURL(/\/s\//));
    await tab.finished();
    assert.equal(await tab.source(), await server.text(tab.id));
    assert.equal((await asked(prompt)).length, 1);
  });

  story('and a question whose answer is lost with it', 6, async (tab, random, t) => {
    const prompt = `Tell me of number ${random(1, 1e9)}`;
    await tab.choose('Model', 'demo');
    await tab.choose('Speed', '0');
    const lost = async (route) => {
      assert.equal((await route.fetch()).status(), 201);
      await server.kill();
      await route.abort('connectionreset');
    };
    await tab.page.route('**/v1/sessions', lost, { times: 1 });
    await tab.prompt.fill(prompt);
    await tab.press('Send');
    await tab.trouble.getByText('The server cannot be reached').waitFor();
    await startAgain(t, () => tab.page.waitForURL(/\/s\//));
    await tab.finished();
    assert.equal(await tab.source(), await server.text(tab.id));
    assert.deepEqual((await asked(prompt)).map((session) => session.id), [tab.id]);
  });

  story('interrupts an answer of a model, and the page says so', 7, async (tab, random, t) => {
    await tab.page.getByRole('option', { name: 'aimock' }).waitFor({ state: 'attached' });
    await tab.choose('Model', 'aimock/gpt-4o');
    await tab.choose('Unit', 'rune');
    await tab.choose('Speed', '0');
    await tab.send('long answer');
    await tab.reach(random(20, 300));
    await server.kill();
    await tab.says('reconnecting');
    const panel = tab.ended;
    await startAgain(t, () => panel.getByText('Interrupted at event').waitFor());
    for (const visit of ['first', 'after a reload']) {
      await panel.getByText('The relay was restarted in the middle of this answer').waitFor();
      await tab.says('interrupted');
      const source = await tab.source();
      assert.ok(source.length > 15 && source.length < long.length && long.startsWith(source), visit);
      assert.equal(source, await server.text(tab.id));
      const { state: got, error, reason, last_event_id } = await server.state(tab.id);
      assert.deepEqual({ got, reason, code: error.code }, { got: 'interrupted', reason: 'restart', code: 'not_continuable' });
      assert.equal(await tab.cursor(), last_event_id);
      assert.equal(await tab.done.count(), 0);
      if (visit === 'first') await tab.page.reload();
    }
  });
});

describe('the client library in Node, over restarts of the server', { timeout: 120_000 }, () => {
  const cleanup = new Cleanup();
  let server;
  let library;
  let client;

  before(async () => {
    server = await startServer(cleanup);
    library = await loadClient(cleanup);
    client = new library.Client({ base: server.url });
  });
  after(() => cleanup.run());

  async function restart() {
    await server.kill();
    await server.start();
  }

  /** All events as they are, but for what is each session's own. */
  async function read(id, onEvent) {
    const follow = client.follow(id);
    const events = [];
    for await (const event of follow) {
      events.push(event.type === 'session' ? { ...event, session: { unit: event.session.unit } } : event);
      onEvent?.(event);
    }
    const { missing, repeated } = follow.counters;
    assert.deepEqual({ missing, repeated }, { missing: 0, repeated: 0 });
    return events;
  }

  test('reads the same events over 3 kills', async (t) => {
    t.diagnostic(`E2E_SEED=${seed}`);
    const random = chance(20);
    const source = { type: 'generate', prompt: 'a long story', seed: 7, length: 300 };
    const want = await read((await client.create({ source, unit: 'token' })).id);

    const { id } = await client.create({ source, unit: 'token', rate: 400 });
    const kills = [1, 2, 3].map((part) => random(80 * part, 80 * part + 60));
    t.diagnostic(`killed after events ${kills} of ${want.length}`);
    let restarts = Promise.resolve();
    const got = await read(id, (event) => {
      if (kills.includes(event.id)) restarts = restarts.then(restart);
    });
    await restarts;
    assert.deepEqual(got, want);
    assert.equal(await client.text(id), want.map((event) => event.text ?? '').join(''));
  });

  test('appends each text once over 3 kills', async (t) => {
    t.diagnostic(`E2E_SEED=${seed}`);
    const random = chance(21);
    const parts = Array.from({ length: 90 }, (_, i) => `part ${i} 🙂\r\n`);
    const { id } = await client.create({ source: { type: 'push' }, unit: 'grapheme' });
    const reading = read(id);
    const kills = [0, 1, 2].map((part) => random(30 * part, 30 * part + 25));
    let failures = 0;
    let restarts = Promise.resolve();
    for (const [i, text] of parts.entries()) {
      if (kills.includes(i)) restarts = restarts.then(restart); // not waited for: it meets appends under way
      await library.persist(() => client.append(id, { text, producer: 'p', seq: i + 1 }), { onFailure: () => failures++ });
    }
    await restarts;
    await library.persist(() => client.finish(id));
    t.diagnostic(`killed at appends ${kills}; ${failures} tries failed`);
    assert.ok(failures >= 3, `${failures} tries failed`);
    const events = await reading;
    assert.deepEqual(events.map((event) => event.id), events.map((_, i) => i + 1));
    assert.equal(events.map((event) => event.text ?? '').join(''), parts.join(''));
    assert.equal(events.at(-1).outcome, 'done');
  });
});
