import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fixtures, long, unicode } from './fixtures.mjs';
import { Cleanup, noBrowser, openTab, startBadNetwork, startBrowser, startServer, startUpstream, until } from './harness.mjs';

describe('the page', { skip: noBrowser(), timeout: 600_000 }, () => {
  const cleanup = new Cleanup();
  let url;
  let browser;

  before(async () => {
    const upstream = await startUpstream(cleanup, fixtures);
    ({ url } = await startServer(cleanup, ...upstream));
    browser = await startBrowser(cleanup);
  });
  after(() => cleanup.run());

  /** Runs a story in a browser of its own, and checks what holds for all. */
  function story(name, run, options = {}) {
    test(name, async () => {
      const context = await browser.newContext(options);
      try {
        const tabs = [];
        await run(async (path = '/') => {
          const tab = await openTab(context, new URL(path, url).href);
          tabs.push(tab);
          return tab;
        });
        for (const tab of tabs) assert.deepEqual(tab.wrong, []);
      } finally {
        await context.close();
      }
    });
  }

  const state = async (id) => (await fetch(`${url}/v1/sessions/${id}`)).json();
  const text = async (id) => (await fetch(`${url}/v1/sessions/${id}/text`)).text();
  const post = async (id, command) => assert.ok((await fetch(`${url}/v1/sessions/${id}/${command}`, { method: 'POST' })).ok);
  const readers = (id, n) => until(async () => (await state(id)).readers, (got) => got === n, `readers of ${id}, want ${n}`);

  /** What is left when all is done: the text exactly, and no line. */
  async function exact(tab, want) {
    await tab.finished();
    assert.equal(await tab.source(), want);
    assert.equal(await tab.shown(), want);
    // What one would copy, but for what HTML makes of a CR and of the last newline.
    if (!want.includes('\r')) assert.equal((await tab.output.innerText()).trimEnd(), want.trimEnd());
    assert.equal(await text(tab.id), want);
    await readers(tab.id, 0);
  }

  story('types out the demo', async (open) => {
    const tab = await open();
    await tab.choose('Model', 'demo');
    await tab.choose('Speed', '100');
    await tab.send('Tell me of the sea');
    await tab.reach(20);
    assert.equal(await tab.done.count(), 0);
    assert.ok((await text(tab.id)).startsWith(await tab.source()));
    await tab.finished();
    await exact(tab, await text(tab.id));
    assert.match(await tab.status.textContent(), /^Done at event \d+$/);
    assert.equal(new URL(tab.page.url()).searchParams.get('at'), String((await state(tab.id)).last_event_id));
  });

  for (const unit of ['rune', 'grapheme', 'token', 'word', 'line', 'delta']) {
    story(`cuts the demo into units: ${unit}`, async (open) => {
      const tab = await open();
      await tab.choose('Model', 'demo');
      await tab.choose('Speed', '0');
      await tab.choose('Unit', unit);
      await tab.send('Tell me of the sea');
      await tab.finished();
      assert.equal((await state(tab.id)).unit, unit);
      await exact(tab, await text(tab.id));
    });
  }

  story('selects the demo, though a model is offered, and shows whose answer is on the page', async (open) => {
    const tab = await open();
    await tab.page.getByRole('option', { name: 'aimock' }).waitFor({ state: 'attached' });
    assert.equal(await tab.page.getByLabel('Model').inputValue(), 'demo');
    await tab.choose('Model', 'aimock/gpt-4o');
    await tab.send('unicode');
    await tab.finished();
    await tab.page.reload();
    await tab.page.getByTestId('model').getByText('Answer of aimock/gpt-4o').waitFor();
    assert.equal(await tab.page.getByLabel('Model').inputValue(), 'demo');
  });

  for (const [prompt, want] of [
    ['long answer', long],
    ['unicode', unicode],
  ]) {
    describe(`a foreign upstream: ${prompt}`, () => {
      async function start(open, path) {
        const tab = await open(path);
        await tab.choose('Model', 'aimock/gpt-4o');
        await tab.choose('Unit', 'rune');
        await tab.send(prompt);
        return tab;
      }

      story('straight', async (open) => {
        const tab = await start(open);
        await exact(tab, want);
      });

      story('pause is real, and continue is exact', async (open) => {
        const tab = await start(open);
        await tab.reach(30);
        await readers(tab.id, 1);
        await tab.button('Pause').click();
        const at = await tab.cursor();
        const drawn = await tab.source();
        await readers(tab.id, 0);
        assert.match(await tab.status.textContent(), new RegExp(`^Paused at event ${at}$`));
        // The one fixed wait: nothing is to happen.
        await sleep(400);
        assert.equal(await tab.source(), drawn);
        assert.equal(await tab.shown(), drawn);
        assert.equal(await tab.cursor(), at);
        assert.equal((await state(tab.id)).readers, 0);
        assert.ok(want.startsWith(drawn) && drawn.length < want.length);
        assert.ok(await tab.button('Continue').evaluate((button) => button === document.activeElement), 'focus has left the button');
        await tab.button('Continue').click();
        assert.ok(await tab.button('Pause').evaluate((button) => button === document.activeElement), 'focus has left the button');
        await exact(tab, want);
      });

      story('cut at random moments', async (open) => {
        const tab = await start(open);
        for (let cut = 1; cut <= 4; cut++) {
          const from = await tab.cursor();
          await tab.reach(from + 5 + Math.floor(Math.random() * 25));
          await tab.button('Cut').click();
          const strip = await tab.back(cut);
          assert.match(strip, /^cut at \d+ · back at \d+ after \d+\.\d s · 0 lost · 0 repeated( · \d cuts so far)?$/);
          const [, at, back] = /cut at (\d+).*?back at (\d+)/.exec(strip);
          assert.equal(Number(back), Number(at) + 1);
        }
        await exact(tab, want);
      });

      story('reload while live', async (open) => {
        const tab = await start(open);
        for (const events of [20, 60]) {
          await tab.reach(events);
          const at = Number(new URL(tab.page.url()).searchParams.get('at'));
          await tab.page.reload();
          await tab.reach(at);
        }
        await exact(tab, want);
        assert.equal(await tab.page.locator('.question').textContent(), prompt);
      });

      story('reload while paused', async (open) => {
        const tab = await start(open);
        await tab.reach(40);
        await tab.button('Pause').click();
        const at = await tab.cursor();
        const drawn = await tab.source();
        await tab.page.reload();
        await tab.button('Continue').waitFor();
        assert.equal(await tab.cursor(), at);
        assert.equal(await tab.source(), drawn);
        await readers(tab.id, 0);
        await sleep(400);
        assert.equal(await tab.source(), drawn);
        await tab.button('Continue').click();
        await exact(tab, want);
      });

      story('two tabs, one of them paused', async (open) => {
        const first = await start(open);
        await first.reach(30);
        const second = await open(`/s/${first.id}`);
        await second.reach(35);
        await readers(first.id, 2);
        await second.button('Pause').click();
        await readers(first.id, 1);
        const drawn = await second.source();
        await first.button('Cut').click();
        await first.back(1);
        await first.finished();
        assert.equal(await second.source(), drawn);
        await second.button('Continue').click();
        await exact(second, want);
        await exact(first, want);
      });

      story('a second visit after the end', async (open) => {
        const tab = await start(open);
        await exact(tab, want);
        for (const path of [`/s/${tab.id}`, new URL(tab.page.url()).pathname + new URL(tab.page.url()).search, `/s/${tab.id}?at=57`]) {
          const again = await open(path);
          await exact(again, want);
        }
        const half = await open(`/s/${tab.id}?at=57&paused=1`);
        await half.button('Continue').waitFor();
        assert.equal(await half.cursor(), 57);
        assert.ok(want.startsWith(await half.source()));
      });

      story('over a network that breaks at any byte', async (open) => {
        const network = await startBadNetwork(url);
        try {
          const tab = await start(open, network.url);
          for (let cut = 1; cut <= 3; cut++) {
            await tab.reach((await tab.cursor()) + 5);
            await network.breakAfter(Math.floor(Math.random() * 200));
            assert.match(await tab.back(cut), / · 0 lost · 0 repeated\b/);
          }
          await network.down();
          await tab.page.getByTestId('status-line').filter({ hasText: 'reconnecting' }).waitFor();
          await until(async () => network.refused, (n) => n > 0, 'tries while the network is down');
          await network.up();
          await tab.back(4);
          await exact(tab, want);
        } finally {
          await network.close();
        }
      });

      story('at a pace of the reader', async (open) => {
        const tab = await open();
        await tab.choose('Model', 'aimock/gpt-4o');
        await tab.choose('Reading speed', '10');
        await tab.send(prompt);
        const begun = Date.now();
        await tab.reach(6);
        assert.ok(Date.now() - begun > 300, 'five events at 10 a second took no time');
        await until(async () => (await state(tab.id)).state, (got) => got === 'done', 'the model is not slowed', 60_000);
        assert.equal(await tab.done.count(), 0);
        await tab.choose('Reading speed', '0');
        await exact(tab, want);
      });
    });
  }

  story('stop', async (open) => {
    const tab = await open();
    await tab.choose('Model', 'demo');
    await tab.choose('Speed', '30');
    await tab.send('Tell me of the sea');
    await tab.reach(10);
    await tab.button('Stop').click();
    await tab.page.getByTestId('ended').getByText('Stopped at event').waitFor();
    assert.equal((await state(tab.id)).state, 'stopped');
    assert.equal(await tab.source(), await text(tab.id));
    assert.equal(await tab.done.count(), 0);
    const id = tab.id;
    await tab.button('Try again').click();
    await tab.page.waitForURL((to) => to.pathname.startsWith('/s/') && !to.pathname.endsWith(id));
    await tab.reach(5);
  });

  story('a pause of the whole session is told', async (open) => {
    const tab = await open();
    await tab.choose('Model', 'demo');
    await tab.send('Tell me of the sea');
    await tab.reach(5);
    await post(tab.id, 'pause');
    await tab.status.filter({ hasText: 'paused for all readers' }).waitFor();
    await tab.page.getByTestId('status-line').filter({ hasText: 'session paused' }).waitFor();
    await tab.button('Resume for all').click();
    await tab.status.filter({ hasText: 'resumed for all readers' }).waitFor();
    await tab.choose('Speed', '0');
    await post(tab.id, 'stop');
  });

  story('an upstream that breaks off is a failure, with one button', async (open) => {
    const tab = await open();
    await tab.choose('Model', 'aimock/gpt-4o');
    await tab.send('break off');
    const panel = tab.page.getByTestId('ended');
    await panel.getByText('Failed at event').waitFor();
    assert.notEqual((await panel.locator('span').textContent()).trim(), '');
    assert.equal(await panel.getByRole('button').count(), 1);
    assert.equal(await tab.source(), await text(tab.id));
    assert.equal(await tab.done.count(), 0);
    await tab.page.reload();
    await panel.getByText('Failed at event').waitFor();
  });

  story('a session that is not there', async (open) => {
    const tab = await open('/s/aaaaaaaaaaaaaaaaaaaaaaaaaa?at=5');
    await tab.page.getByTestId('trouble').getByText('There is no such session').waitFor();
    assert.match(await tab.status.textContent(), /^Failed: There is no such session$/);
  });

  story('a session that is gone when its line is cut', async (open) => {
    const tab = await open();
    await tab.choose('Model', 'demo');
    await tab.send('Tell me of the sea');
    await tab.reach(10);
    await tab.page.route('**/v1/sessions/*/events*', (route) =>
      route.fulfill({ status: 404, contentType: 'application/problem+json', body: JSON.stringify({ status: 404, code: 'session_not_found', detail: 'no such session' }) }),
    );
    await tab.button('Cut').click();
    const trouble = tab.page.getByTestId('trouble');
    await trouble.waitFor();
    assert.equal((await trouble.locator('p').textContent()).trim(), 'There is no such session');
    assert.match(await tab.page.getByTestId('status-line').textContent(), /^failed · event \d+/);
    assert.equal(await tab.strip.count(), 0);
    await post(tab.id, 'stop');
  });

  story('a disk that takes nothing is told of', async (open) => {
    const created = await fetch(`${url}/v1/sessions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ source: { type: 'push' }, unit: 'word' }) });
    const { id } = await created.json();
    const append = async (text) =>
      assert.ok((await fetch(`${url}/v1/sessions/${id}/append`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ text }) })).ok);
    await append('there is text until the disk fails ');
    const tab = await open();
    await tab.page.route('**/readyz', (route) =>
      route.fulfill({ status: 503, contentType: 'application/problem+json', body: JSON.stringify({ status: 503, code: 'unavailable', detail: 'the store takes nothing at the moment' }) }),
    );
    await tab.page.goto(new URL(`/s/${id}`, url).href);
    await tab.reach(5);
    const at = await tab.cursor();
    const line = tab.page.getByTestId('status-line');
    await line.filter({ hasText: 'live' }).waitFor();
    await line.filter({ hasText: `relay waits for its disk · event ${at}` }).waitFor();
    assert.doesNotMatch(await line.textContent(), /live|events\/s/);
    await tab.page.getByText('The text goes on, or ends, when the disk is back.').waitFor();
    const green = await tab.page.evaluate(() => {
      const [state, send] = ['.state', '.send'].map((name) => getComputedStyle(document.querySelector(name)));
      return state.color === send.backgroundColor;
    });
    assert.equal(green, false, 'the state is green');
    await append('and more when it is back ');
    await line.filter({ hasText: 'live' }).waitFor();
    await tab.reach(at + 3);
    await post(id, 'finish');
    await tab.finished();
  });

  story('a prompt that the server has no place for shows the reason, and waits', async (open) => {
    const tab = await open();
    await tab.choose('Model', 'demo');
    await tab.page.route('**/v1/sessions', (route) =>
      route.fulfill({
        status: 429,
        contentType: 'application/problem+json',
        headers: { 'retry-after': '2' },
        body: JSON.stringify({ title: 'Too Many Requests', status: 429, code: 'overloaded', detail: 'there are 10000 sessions' }),
      }),
    );
    await tab.prompt.fill('Tell me of the sea');
    await tab.button('Send').click();
    await tab.page.getByTestId('trouble').getByText('there are 10000 sessions').waitFor();
    await tab.page.unroute('**/v1/sessions');
    await tab.reach(3); // by itself
  });

  story('by keyboard alone', async (open) => {
    const tab = await open();
    const { keyboard } = tab.page;
    await tab.choose('Model', 'demo');
    await tab.choose('Speed', '30');
    await tab.prompt.focus();
    await keyboard.type('Tell me');
    await keyboard.press('Shift+Enter');
    await keyboard.type('of the sea');
    assert.equal(await tab.prompt.inputValue(), 'Tell me\nof the sea');
    await keyboard.press('Enter');
    await tab.reach(8);
    await keyboard.press('Escape');
    await tab.button('Continue').waitFor();
    const at = await tab.cursor();
    for (let i = 0; i < 20 && !(await tab.button('Continue').evaluate((button) => button === document.activeElement)); i++) await keyboard.press('Shift+Tab');
    await keyboard.press('Space');
    await tab.button('Pause').waitFor();
    await tab.reach(at + 5);
  });

  story('back and forward go between sessions', async (open) => {
    const tab = await open();
    await tab.choose('Model', 'demo');
    await tab.choose('Speed', '0');
    await tab.send('Tell me of the sea');
    await tab.finished();
    const source = await tab.source();
    await tab.page.getByRole('link', { name: 'New' }).click();
    assert.equal(await tab.output.isVisible(), false);
    await tab.page.goBack();
    await tab.finished();
    assert.equal(await tab.source(), source);
  });

  story(
    'with reduced motion all that has come is drawn',
    async (open) => {
      const tab = await open();
      await tab.choose('Model', 'demo');
      await tab.choose('Speed', '100');
      await tab.send('Tell me of the sea');
      await tab.reach(10);
      assert.equal(await tab.page.evaluate(() => document.getAnimations().length), 0);
      await tab.finished();
      await exact(tab, await text(tab.id));
    },
    { reducedMotion: 'reduce' },
  );

  story('nothing jumps while text comes', async (open) => {
    const tab = await open();
    await tab.page.evaluate(() => {
      globalThis.shift = 0;
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) if (!entry.hadRecentInput) globalThis.shift += entry.value;
      }).observe({ type: 'layout-shift', buffered: true });
    });
    await tab.choose('Model', 'demo');
    await tab.choose('Speed', '100');
    await tab.send('Tell me of the sea');
    await tab.finished();
    const shift = await tab.page.evaluate(() => globalThis.shift);
    assert.ok(shift <= 0.02, `layout shift is ${shift}`);
  });
});
