import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fixtures, long } from './fixtures.mjs';
import { chance, Cleanup, loadClient, noBrowser, openTab, seed, startBrowser, startServer, startUpstream, until } from './harness.mjs';

/** Milliseconds from the server's being back to the page's: the longest wait, and a busy machine. */
const SOON = 4000;

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
      const context = await browser.newContext();
      try {
        const tab = await openTab(context, server.url);
        await run(tab, chance(salt), t);
        await tab.page.getByTestId('trouble').waitFor({ state: 'detached' });
        assert.deepEqual(tab.wrong, []);
      } finally {
        await context.close();
      }
    });
  }

  const get = async (path) => (await fetch(server.url + path)).json();
  const state = (id) => get(`/v1/sessions/${id}`);
  const text = async (id) => (await fetch(`${server.url}/v1/sessions/${id}/text`)).text();
  const post = async (id, command) => assert.ok((await fetch(`${server.url}/v1/sessions/${id}/${command}`, { method: 'POST' })).ok);
  const asked = async (prompt) => (await get('/v1/sessions?limit=200')).sessions.filter((session) => session.metadata?.prompt === prompt);
  const line = (tab, hasText) => tab.page.getByTestId('status-line').filter({ hasText }).waitFor();

  /** What the demo answers if nobody kills the server. */
  async function undisturbed(prompt) {
    const body = JSON.stringify({ source: { type: 'generate', prompt }, unit: 'token' });
    const { id } = await (await fetch(`${server.url}/v1/sessions`, { method: 'POST', body })).json();
    const { last_event_id } = await until(() => state(id), (session) => session.state === 'done', 'done');
    return { text: await text(id), last: last_event_id };
  }

  /** Asks the demo, which writes at a speed that leaves time to kill it. */
  async function ask(tab, prompt, upTo, speed = 100) {
    await tab.choose('Model', 'demo');
    await tab.choose('Speed', String(speed));
    await tab.send(prompt);
    await tab.reach(upTo);
  }

  async function exact(tab, want) {
    await tab.finished();
    assert.equal(await tab.source(), want.text);
    assert.equal(await tab.shown(), want.text);
    assert.equal(await tab.cursor(), want.last);
    assert.equal(await text(tab.id), want.text);
    assert.equal((await state(tab.id)).last_event_id, want.last);
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

  story('in mid-answer, by kill -9 and then by SIGTERM', 1, async (tab, random, t) => {
    const want = await undisturbed('Tell me of the sea');
    await ask(tab, 'Tell me of the sea', 5);
    for (const [n, signal] of ['SIGKILL', 'SIGTERM'].entries()) {
      await tab.reach((await tab.cursor()) + random(1, 30));
      await server.kill(signal);
      await line(tab, 'reconnecting');
      assert.match(await tab.strip.textContent(), /cut at \d+/);
      assert.ok(want.text.startsWith(await tab.source()));
      const strip = await startAgain(t, () => tab.back(n + 1));
      t.diagnostic(`${signal}: ${strip}`);
      assert.match(strip, /^cut at \d+ · back at \d+ after \d+\.\d s · 0 lost · 0 repeated( · 2 cuts so far)?$/);
      const [, at, back] = /cut at (\d+).*?back at (\d+)/.exec(strip);
      assert.equal(Number(back), Number(at) + 1);
    }
    await exact(tab, want);
    assert.match(await tab.strip.textContent(), /0 lost\s*·\s*0 repeated/);
  });

  story('and a reload of the page: while it is down, and while the page opens', 2, async (tab, random, t) => {
    const want = await undisturbed('Tell me of ships');
    await ask(tab, 'Tell me of ships', random(10, 40));
    await server.kill();
    await line(tab, 'reconnecting');
    const address = tab.page.url();
    const at = await tab.cursor();
    assert.equal(new URL(address).searchParams.get('at'), String(at));
    await assert.rejects(tab.page.reload(), /ERR_CONNECTION_REFUSED/); // the browser's own page
    await startAgain(t, async () => {
      // As its reload button does; it may come before by itself.
      await tab.page.goto(address).catch((error) => {
        if (!/interrupted by another navigation/.test(error.message)) throw error;
      });
      await tab.reach(at + 1);
    });
    await tab.page.locator('.question').getByText('Tell me of ships').waitFor();

    for (const path of [`/s/${tab.id}`, `/s/${tab.id}?at=${await tab.cursor()}`]) {
      // The page has come, and its first requests find nobody.
      let killed;
      await tab.page.route('**/v1/**', async (route) => {
        await (killed ??= server.kill());
        await route.continue();
      });
      await tab.page.goto(server.url + path);
      await line(tab, 'reconnecting');
      await tab.page.unroute('**/v1/**');
      await startAgain(t, () => tab.reach(5));
      await tab.page.locator('.question').getByText('Tell me of ships').waitFor();
      await tab.page.getByRole('option', { name: 'aimock' }).waitFor({ state: 'attached' });
    }
    await exact(tab, want);
  });

  story('and a session that is paused: by its reader, then for all', 3, async (tab, random, t) => {
    const want = await undisturbed('Tell me of the bay');
    await ask(tab, 'Tell me of the bay', random(10, 40));
    await tab.button('Pause').click();
    let drawn = await tab.source();
    await server.kill();
    await server.start();
    await server.kill();
    assert.equal(await tab.source(), drawn);
    assert.equal(await tab.strip.count(), 0);
    await tab.button('Continue').click(); // while it is down
    await line(tab, 'reconnecting');
    await startAgain(t, () => tab.back(1));

    await post(tab.id, 'pause');
    await line(tab, 'session paused');
    drawn = await tab.source();
    await server.kill();
    await line(tab, 'reconnecting');
    await startAgain(t, () => line(tab, 'session paused'));
    assert.equal(await tab.source(), drawn);
    await tab.button('Resume for all').click();
    await tab.back(2);
    await exact(tab, { ...want, last: want.last + 2 }); // paused and resumed
  });

  story('and a stop while it is down', 4, async (tab, random, t) => {
    await ask(tab, 'Tell me of storms', random(10, 30), 30);
    await server.kill();
    await tab.button('Stop').click();
    await tab.page.getByTestId('trouble').getByText('Stop has not got through yet').waitFor();
    await startAgain(t, () => tab.page.getByTestId('ended').getByText('Stopped at event').waitFor());
    assert.equal((await state(tab.id)).state, 'stopped');
    assert.equal(await tab.source(), await text(tab.id));
  });

  story('and a question while it is down', 5, async (tab, random, t) => {
    const prompt = `Tell me of number ${random(1, 1e9)}`;
    await tab.choose('Model', 'demo');
    await tab.choose('Speed', '0');
    await server.kill();
    await tab.prompt.fill(prompt);
    await tab.button('Send').click();
    await tab.page.getByTestId('trouble').getByText('The server cannot be reached').waitFor();
    await startAgain(t, () => tab.page.waitForURL(/\/s\//));
    await tab.finished();
    assert.equal(await tab.source(), await text(tab.id));
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
    await tab.button('Send').click();
    await tab.page.getByTestId('trouble').getByText('The server cannot be reached').waitFor();
    await startAgain(t, () => tab.page.waitForURL(/\/s\//));
    await tab.finished();
    assert.equal(await tab.source(), await text(tab.id));
    assert.deepEqual((await asked(prompt)).map((session) => session.id), [tab.id]);
  });

  story('interrupts an answer of a model, and the page says so', 7, async (tab, random, t) => {
    await tab.choose('Model', 'aimock/gpt-4o');
    await tab.choose('Unit', 'rune');
    await tab.send('long answer');
    await tab.reach(random(20, 300));
    await server.kill();
    await line(tab, 'reconnecting');
    const panel = tab.page.getByTestId('ended');
    await startAgain(t, () => panel.getByText('Interrupted at event').waitFor());
    for (const visit of ['first', 'after a reload']) {
      await panel.getByText('The relay was restarted in the middle of this answer').waitFor();
      await line(tab, 'interrupted');
      const source = await tab.source();
      assert.ok(source.length > 15 && source.length < long.length && long.startsWith(source), visit);
      assert.equal(source, await text(tab.id));
      const { state: got, error, reason, last_event_id } = await state(tab.id);
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
