import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fixtures, markdown, settled, unicode } from './fixtures.mjs';
import { Cleanup, noBrowser, startBrowser, startServer, startUpstream, until } from './harness.mjs';
import { sizes } from './sizes.mjs';
import { tell } from './tab.mjs';

describe('the page', { skip: noBrowser(), timeout: 600_000 }, () => {
  const cleanup = new Cleanup();
  let server;
  let browser;

  before(async () => {
    server = await startServer(cleanup, ...(await startUpstream(cleanup, fixtures)));
    browser = await startBrowser(cleanup);
  });
  after(() => cleanup.run());

  const story = (name, run, options) => test(name, () => tell(browser, server.url, run, options));

  story('types out the demo', async (open) => {
    const tab = await open();
    await tab.choose('Model', 'demo');
    await tab.choose('Speed', '0');
    await tab.send('Tell me of the sea');
    await tab.reach(20);
    assert.equal(await tab.done.count(), 0);
    const source = await tab.source(); // first: both grow
    assert.ok((await server.text(tab.id)).startsWith(source));
    await tab.finished();
    await tab.exact(server, await server.text(tab.id));
    assert.match(await tab.status.textContent(), /^Done at event \d+$/);
    const { last_event_id: last, rate } = await server.state(tab.id);
    assert.equal(tab.parameter('at'), String(last));
    assert.equal(rate, 160);
    assert.match(await tab.done.textContent(), new RegExp(`^\\s*Done: ${last} events, ~\\d+ tokens, \\d+ tokens/s\\s*$`));
  });

  for (const unit of ['rune', 'grapheme', 'token', 'word', 'line', 'delta']) {
    story(`draws all that comes by ${unit}`, async (open) => {
      const tab = await open();
      await tab.choose('Unit', unit);
      await tab.send('Tell me of the sea');
      assert.equal((await server.state(tab.id)).unit, unit);
      await server.post(tab.id, 'stop');
      const text = markdown + unicode;
      const id = await server.create({ source: { type: 'text', text }, unit });
      await tab.page.goto(`${server.url}/s/${id}`);
      await tab.exact(server, text);
    });
  }

  story('selects the demo, though a model is offered, and shows whose answer is on the page', async (open) => {
    const tab = await open();
    await tab.page.getByRole('option', { name: 'aimock' }).waitFor({ state: 'attached' });
    assert.equal(await tab.page.getByLabel('Model', { exact: true }).inputValue(), 'demo');
    await tab.choose('Model', 'aimock/gpt-4o');
    await tab.send('unicode');
    await tab.reach(5);
    await tab.page.reload();
    await tab.page.getByTestId('model').getByText('Answer of aimock/gpt-4o').waitFor();
    assert.equal(await tab.page.getByLabel('Model', { exact: true }).inputValue(), 'demo');
  });

  story('stop', async (open) => {
    const tab = await open();
    await tab.choose('Model', 'demo');
    await tab.choose('Speed', '0');
    await tab.send('Tell me of the sea');
    await tab.reach(10);
    await tab.press('Stop');
    await tab.ended.getByText('Stopped at event').waitFor();
    assert.equal((await server.state(tab.id)).state, 'stopped');
    assert.equal(await tab.source(), await server.text(tab.id));
    assert.equal(await tab.done.count(), 0);
    const id = tab.id;
    await tab.press('Try again');
    await tab.page.waitForURL((to) => to.pathname.startsWith('/s/') && !to.pathname.endsWith(id));
    await tab.reach(5);
    await server.post(tab.id, 'stop');
  });

  story('a pause of the whole session is told', async (open) => {
    const tab = await open();
    await tab.send('Tell me of the sea');
    await tab.reach(5);
    await server.post(tab.id, 'pause');
    await tab.status.filter({ hasText: 'paused for all readers' }).waitFor();
    await tab.says('session paused');
    await tab.press('Resume for all');
    await tab.status.filter({ hasText: 'resumed for all readers' }).waitFor();
    await server.post(tab.id, 'stop');
  });

  story('an upstream that breaks off is a failure, with one button', async (open) => {
    const tab = await open();
    await tab.page.getByRole('option', { name: 'aimock' }).waitFor({ state: 'attached' });
    await tab.choose('Model', 'aimock/gpt-4o');
    await tab.choose('Speed', '0');
    await tab.send('break off');
    for (const visit of ['first', 'after a reload']) {
      await tab.ended.getByText('Failed at event').waitFor();
      assert.notEqual((await tab.ended.locator('span').first().textContent()).trim(), '', visit);
      assert.equal(await tab.ended.getByRole('button').count(), 1, visit);
      assert.equal(await tab.source(), await server.text(tab.id), visit);
      assert.equal(await tab.done.count(), 0, visit);
      if (visit === 'first') await tab.page.reload();
    }
  });

  story('a session that is not there', async (open) => {
    const tab = await open('/s/aaaaaaaaaaaaaaaaaaaaaaaaaa?at=5');
    await tab.trouble.getByText('There is no such session').waitFor();
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
    await tab.press('Cut');
    await tab.trouble.waitFor();
    assert.equal((await tab.trouble.locator('p').first().textContent()).trim(), 'There is no such session');
    assert.match(await tab.page.getByTestId('status-line').textContent(), /^failed · event \d+/);
    assert.equal(await tab.strip.count(), 0);
    await server.post(tab.id, 'stop');
  });

  story('a disk that takes nothing is told of', async (open) => {
    const id = await server.create({ source: { type: 'push' }, unit: 'word' });
    const append = (text) => server.post(id, 'append', { text });
    await append('there is text until the disk fails ');
    const tab = await open();
    await tab.page.route('**/readyz', (route) =>
      route.fulfill({ status: 503, contentType: 'application/problem+json', body: JSON.stringify({ status: 503, code: 'unavailable', detail: 'the store takes nothing at the moment' }) }),
    );
    await tab.page.goto(`${server.url}/s/${id}`);
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
    await server.post(id, 'finish');
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
    await tab.press('Send');
    await tab.trouble.getByText('there are 10000 sessions').waitFor();
    await tab.page.unroute('**/v1/sessions');
    await tab.reach(3); // by itself
    await server.post(tab.id, 'stop');
  });

  story('back and forward go between sessions', async (open) => {
    const texts = [markdown, unicode];
    const ids = [];
    for (const text of texts) ids.push(await server.create({ source: { type: 'text', text }, unit: 'token' }));
    const tab = await open();
    const shows = async (n) => {
      await tab.page.waitForURL(`**/s/${ids[n]}*`);
      await until(() => tab.source(), (source) => source === texts[n], 'the text');
      await tab.finished();
    };
    for (const id of ids) await tab.page.goto(`${server.url}/s/${id}`);
    await shows(1);
    await tab.page.getByRole('link', { name: 'New' }).click();
    assert.equal(await tab.output.isVisible(), false);
    await tab.page.goBack();
    await shows(1);
    await tab.page.goBack();
    await shows(0);
    await tab.page.goForward();
    await shows(1);
    await tab.exact(server, unicode);
  });

  story(
    'with reduced motion all that has come is drawn',
    async (open) => {
      const tab = await open(`/s/${await server.create({ source: { type: 'text', text: markdown }, unit: 'token', rate: 200 })}`);
      await tab.reach(10);
      assert.equal(await tab.page.evaluate(() => document.getAnimations().length), 0);
      await tab.exact(server, markdown);
    },
    { reducedMotion: 'reduce' },
  );

  story('code is coloured while an answer comes as it is at once, and has a button that copies it', async (open, context) => {
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    const tab = await open(`/s/${await server.create({ source: { type: 'text', text: markdown }, unit: 'token', rate: 300 })}`);
    await tab.finished();
    const again = await open(`/s/${tab.id}`);
    await again.finished();
    const colours = (tab) => tab.output.locator('pre code').evaluateAll((all) => all.map((code) => code.innerHTML));
    const [go, js, text] = await until(() => colours(tab), ([go, js]) => /hljs/.test(go) && /hljs/.test(js), 'the colours');
    assert.doesNotMatch(text, /hljs/);
    await until(() => colours(again), (got) => got[0] === go && got[1] === js && got[2] === text, 'the same colours');
    await again.output.getByRole('button', { name: 'Copy code' }).first().click();
    const want = /```go\n([^]*?)```/.exec(markdown)[1];
    await until(() => again.page.evaluate(() => navigator.clipboard.readText()), (got) => got.trimEnd() === want.trimEnd(), 'the clipboard');
  });

  story('what has come is drawn as the same place is when it is opened', async (open) => {
    const tab = await open(`/s/${await server.create({ source: { type: 'text', text: markdown }, unit: 'token', rate: 150 })}`);
    for (const at of [95, 130, 165, 200, 260, 330]) {
      await tab.reach(at);
      await tab.pause();
      const again = await open(`/s/${tab.id}?at=${await tab.cursor()}&paused=1`);
      await again.paused();
      assert.equal(await tab.drawn(), await again.drawn(), `at event ${await tab.cursor()}`);
      await again.page.close();
      await tab.press('Continue');
    }
    await tab.exact(server, markdown);
  });

  story('lists keep their numbers, and tables their sides', async (open) => {
    const tab = await open(`/s/${await server.create({ source: { type: 'text', text: '3. three\n4. four\n\n| a | b |\n| :-: | --: |\n| 1 | 2 |\n' } })}`);
    await tab.finished();
    assert.equal(await tab.output.locator('ol').getAttribute('start'), '3');
    assert.deepEqual(await tab.output.locator('td').evaluateAll((cells) => cells.map((cell) => getComputedStyle(cell).textAlign)), ['center', 'right']);
  });

  for (const viewport of [
    { width: 1280, height: 800 },
    { width: 360, height: 740 },
  ]) {
    story(
      `nothing jumps while text, tables and code come, ${viewport.width} wide`,
      async (open) => {
        const id = await server.create({ source: { type: 'text', text: settled }, unit: 'token', rate: 200 });
        const tab = await open(`/s/${id}`);
        const shift = await tab.shift();
        assert.ok(shift <= 0.02, `layout shift is ${shift}`);
      },
      { viewport },
    );
  }

  story('who has scrolled up reads on undisturbed, and gets back by one button', async (open) => {
    const tab = await open(`/s/${await server.create({ source: { type: 'text', text: markdown }, unit: 'token', rate: 200 })}`);
    const scroller = tab.page.getByRole('region', { name: 'Conversation' });
    const isAtEnd = () => scroller.evaluate((element) => element.scrollHeight - element.clientHeight - element.scrollTop < 2);
    await tab.page.waitForFunction(() => {
      const element = document.querySelector('.scroller');
      return element.scrollHeight > element.clientHeight + 200;
    });
    assert.ok(await isAtEnd());
    await scroller.hover();
    await tab.page.mouse.wheel(0, -150);
    await tab.button('Latest').waitFor();
    const top = () => tab.output.evaluate((element) => element.getBoundingClientRect().top);
    let where = await top();
    await until(async () => [where, (where = await top())], ([before, now]) => before === now, 'the scrolling, want it to end');
    await tab.finished();
    assert.equal(await top(), where);
    await tab.press('Latest');
    await until(isAtEnd, (yes) => yes, 'the end');
    assert.equal(await tab.button('Latest').count(), 0);
  });

  test('the first load is at most 80 kB compressed, and all there is 400 kB as it is', async (t) => {
    await tell(browser, server.url, async (open) => {
      const { first, compressed, all, raw } = await sizes(server, await open());
      t.diagnostic(`first load: ${compressed} bytes compressed (${first.join(', ')}); all: ${raw} bytes (${all.join(', ')})`);
      assert.ok(compressed <= 80_000, `${compressed} bytes compressed`);
      assert.ok(raw <= 400_000, `${raw} bytes`);
    });
  });
});
