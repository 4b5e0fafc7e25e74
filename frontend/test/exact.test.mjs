/**
 * What the relay is for, in a browser: whatever becomes of the reader, its line
 * and the server, the text at the end is exact. What happens when is left to
 * chance; E2E_ROUNDS repeats all of it at other times.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { markdown, unicode } from './fixtures.mjs';
import { chance, Cleanup, noBrowser, rounds, seed, startBadNetwork, startBrowser, startServer } from './harness.mjs';
import { tell } from './tab.mjs';
import { startProvider, Writing } from './writer.mjs';

const texts = [
  { name: 'Markdown, by tokens', want: markdown, unit: 'token', pieces: markdown.match(/[^]{1,4}/gu), rate: 150 },
  { name: 'half characters, by code points', want: unicode, unit: 'rune', pieces: unicode.split(''), rate: 200 },
];

const HALF = 200; // events, of the 460 or so that each of the texts makes
const RESTART = 'a restart of the server';

/**
 * The scenarios. Each is given a session that is being written and keeps back its
 * end until it is released, a function that opens it, and chance. What it returns
 * are the tabs that have to be exact.
 */
const scenarios = {
  async straight({ open, half }) {
    const tab = await open();
    await tab.reach(half);
    return [tab];
  },

  async pause({ open, server, id, random, half }) {
    const tab = await open();
    for (const low of [5, half]) {
      await tab.reach(random(low, low + half / 2));
      await server.readers(id, 1);
      await tab.pause();
      const at = await tab.cursor();
      await server.readers(id, 0);
      assert.equal(await tab.status.textContent(), `Paused at event ${at}`);
      await tab.still();
      assert.equal((await server.state(id)).readers, 0);
      assert.equal(tab.parameter('at'), String(at));
      await tab.press('Continue');
    }
    return [tab];
  },

  async reload({ open, random, half }) {
    const tab = await open();
    for (const low of [5, half]) {
      await tab.reach(random(low, low + half / 2));
      const source = await tab.source();
      await tab.page.reload();
      await tab.page.waitForFunction((source) => document.querySelector('[data-testid="output"]')?.dataset.source.startsWith(source), source);
    }
    return [tab];
  },

  async 'the Cut button'({ open, random, half }) {
    const tab = await open();
    for (const low of [5, half]) {
      await tab.reach(random(low, low + half / 2));
      await tab.mended(() => tab.press('Cut'));
    }
    return [tab];
  },

  async 'a network that breaks in the middle of an event'({ open, network, random, half }) {
    const tab = await open(network.url);
    for (const low of [5, half]) {
      await tab.reach(random(low, low + half / 2));
      await tab.mended(() => network.breakAfter(random(0, 300)));
    }
    return [tab];
  },

  async 'pause, then reload'({ open, server, id, random, half }) {
    const tab = await open();
    await tab.reach(random(5, half));
    await tab.pause();
    const at = await tab.cursor();
    const source = await tab.source();
    await tab.page.reload();
    await tab.paused();
    await tab.at(at);
    assert.equal(await tab.source(), source);
    await server.readers(id, 0);
    await tab.still();
    assert.equal(await tab.source(), await server.textUpTo(id, at));
    await tab.press('Continue');
    return [tab];
  },

  async 'two tabs'({ open, server, id, random, half, release }) {
    const tabs = [await open(), await open()];
    await server.readers(id, 2);
    for (const tab of tabs) await tab.page.getByTestId('readers').filter({ hasText: '2 read along' }).waitFor();
    const [first, second] = tabs;
    await second.reach(random(5, half));
    await second.pause();
    await server.readers(id, 1);
    const source = await second.source();
    await first.mended(() => first.press('Cut'));
    release();
    await first.finished();
    assert.equal(await second.source(), source);
    await second.press('Continue');
    return tabs;
  },

  async 'offline, and online again'({ open, context, network, random, half }) {
    const tab = await open(network.url);
    await tab.reach(random(5, half));
    await tab.mended(async () => {
      await context.setOffline(true);
      network.down();
      await tab.says('reconnecting');
      network.up();
      await context.setOffline(false);
    });
    return [tab];
  },

  async [RESTART]({ open, server, random, half }) {
    const tab = await open();
    for (const [signal, low] of [['SIGKILL', 5], ['SIGTERM', half]]) {
      await tab.reach(random(low, low + half / 2));
      await tab.mended(async () => {
        await server.kill(signal);
        await tab.says('reconnecting');
        await server.start();
      });
    }
    return [tab];
  },

  async seek({ open, server, id, random, half, release }) {
    const tab = await open();
    await tab.reach(half);
    for (const to of [random(1, half), random(half, half + 50), random(2, half)]) {
      await tab.seek(to);
      await tab.paused();
      assert.equal(await tab.source(), await server.textUpTo(id, to), `at event ${to}`);
    }
    await server.readers(id, 0);
    await tab.press('Continue');
    release();
    await tab.finished();
    const to = random(2, half);
    await tab.seek(to);
    assert.equal(await tab.source(), await server.textUpTo(id, to), `at event ${to} of all`);
    await tab.press('Continue'); // replays the rest
    return [tab];
  },
};

describe('exact', { skip: noBrowser(), timeout: rounds * 600_000 }, () => {
  const cleanup = new Cleanup();
  let provider;
  let shared;
  let browser;

  before(async () => {
    provider = await startProvider(cleanup);
    shared = await startServer(cleanup, ...provider.flags);
    browser = await startBrowser(cleanup);
  });
  after(() => cleanup.run());

  async function run(scenario, { want, unit, pieces, rate }, random) {
    const own = new Cleanup();
    try {
      // An answer of a provider is interrupted by a restart. A text that is appended is not, and has whole characters.
      const restarts = scenario === RESTART;
      const server = restarts ? await startServer(own, '--drain', '50ms') : shared;
      const writing = new Writing(restarts && unit === 'rune' ? [...want] : pieces, rate);
      const network = await startBadNetwork(server.url);
      own.add(() => network.close());
      const id = await server.create({ source: restarts ? { type: 'push' } : provider.take(writing), unit });
      const leaving = new AbortController();
      own.add(() => leaving.abort());
      const appended = restarts && writing.appendTo(server, id, leaving.signal);
      await tell(browser, server.url, async (visit, context) => {
        const open = (base = server.url) => visit(new URL(`/s/${id}`, base).href);
        const tabs = await scenarios[scenario]({ open, context, server, network, id, random, half: HALF, release: writing.release });
        writing.release();
        await appended;
        for (const tab of tabs) await tab.exact(server, want);
      });
    } finally {
      await own.run();
    }
  }

  for (const [n, text] of texts.entries()) {
    // Streams wait more than they work: two at a time.
    describe(text.name, { concurrency: 2 }, () => {
      for (const [m, scenario] of Object.keys(scenarios).entries()) {
        for (let round = 1; round <= rounds; round++) {
          test(rounds === 1 ? scenario : `${scenario}, ${round} of ${rounds}`, async (t) => {
            t.diagnostic(`E2E_SEED=${seed}`);
            await run(scenario, text, chance(1000 * round + 100 * n + m));
          });
        }
      }
    });
  }
});
