/** A conversation: several turns, an answer once more, and one that goes on where it broke off. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fixtures, long } from './fixtures.mjs';
import { Cleanup, noBrowser, startBrowser, startServer, startUpstream, until } from './harness.mjs';
import { tell } from './tab.mjs';

const MODEL = 'aimock/gpt-4o';

describe('a conversation', { skip: noBrowser(), timeout: 300_000 }, () => {
  const cleanup = new Cleanup();
  let server;
  let browser;

  before(async () => {
    server = await startServer(cleanup, '--drain', '50ms', ...(await startUpstream(cleanup, fixtures)));
    browser = await startBrowser(cleanup);
  });
  after(() => cleanup.run());

  const story = (name, run, options) => test(name, () => tell(browser, server.url, run, options));

  async function ask(tab, prompt) {
    await tab.page.getByRole('option', { name: 'aimock' }).waitFor({ state: 'attached' });
    await tab.choose('Model', MODEL);
    await tab.choose('Speed', '0');
    await tab.send(prompt);
  }

  /** What the conversation shows: questions and answers, in order. */
  async function shown(tab) {
    const questions = await tab.page.locator('.question').allTextContents();
    const answers = await tab.turns.locator('.answer').allInnerTexts();
    return { questions: questions.map((text) => text.trim()), answers: [...answers, await tab.output.innerText()].map((text) => text.trim()) };
  }

  async function turns(tab, n) {
    await until(() => tab.turns.count(), (got) => got === n, `earlier turns, want ${n}`);
  }

  story('three turns, which the model is given, and which a reload brings back', async (open) => {
    const tab = await open();
    const ids = [];
    for (const [n, prompt] of ['who asks first?', 'who asks then?', 'who asks last?'].entries()) {
      await ask(tab, prompt);
      await tab.finished();
      await turns(tab, n);
      ids.push(tab.id);
    }
    assert.equal(new Set(ids).size, 3);
    const told = (await tab.source()).trim().split('\n');
    assert.deepEqual(told.map((line) => /^\d+\. (\w+)/.exec(line)[1]), ['user', 'assistant', 'user', 'assistant', 'user']);
    assert.match(told[0], /who asks fir/);
    assert.match(told[4], /who asks las/);
    const lengths = told.map((line) => Number(/(\d+) characters/.exec(line)[1]));
    assert.equal(lengths[1], (await server.text(ids[0])).length);
    assert.equal(lengths[3], (await server.text(ids[1])).length);

    const before = await shown(tab);
    assert.deepEqual(before.questions, ['who asks first?', 'who asks then?', 'who asks last?']);
    await tab.page.reload();
    await tab.finished();
    await turns(tab, 2);
    assert.deepEqual(await shown(tab), before);

    // Each turn is a session with an address: back and forward go between them.
    await tab.page.goBack();
    await tab.page.waitForURL((url) => url.pathname === `/s/${ids[1]}`);
    await tab.finished();
    await turns(tab, 1);
    assert.equal(await tab.source(), await server.text(ids[1]));
    await tab.page.goForward();
    await tab.page.waitForURL((url) => url.pathname === `/s/${ids[2]}`);
    await tab.finished();
    await turns(tab, 2);
    assert.deepEqual(await shown(tab), before);

    await tab.turns.first().getByRole('link').first().click();
    await tab.page.waitForURL((url) => url.pathname === `/s/${ids[0]}`);
    await tab.finished();
    await turns(tab, 0);
    await tab.page.getByRole('link', { name: 'New' }).click();
    await turns(tab, 0);
    assert.equal(await tab.output.isVisible(), false);
  });

  story('the same question again is another session, and the old one a step back', async (open) => {
    const tab = await open();
    await ask(tab, 'who asks?');
    await tab.finished();
    const first = tab.id;
    await tab.press('Regenerate');
    await tab.page.waitForURL((url) => url.pathname.startsWith('/s/') && !url.pathname.endsWith(first));
    await tab.finished();
    const second = tab.id;
    await turns(tab, 0);
    assert.deepEqual((await shown(tab)).questions, ['who asks?']);
    const [one, two] = [await server.state(first), await server.state(second)];
    assert.deepEqual([two.source, two.unit, two.metadata], [one.source, one.unit, one.metadata]);
    await tab.page.goBack();
    await tab.page.waitForURL((url) => url.pathname.endsWith(first));
    await tab.exact(server, await server.text(first));
  });

  story('an answer of the demo that was stopped is asked for again, and is the same', async (open) => {
    const tab = await open();
    await tab.choose('Speed', '0');
    await tab.send('Tell me of the sea');
    const first = tab.id;
    await tab.reach(10);
    await tab.press('Stop');
    await tab.ended.waitFor();
    await tab.press('Regenerate');
    await tab.page.waitForURL((url) => url.pathname.startsWith('/s/') && !url.pathname.endsWith(first));
    await tab.finished();
    assert.deepEqual((await shown(tab)).questions, ['Tell me of the sea']);
    assert.ok((await tab.source()).startsWith(await server.text(first)));
    await tab.exact(server, await server.text(tab.id));
  });

  /** What is left when an answer went on from where it broke off. */
  async function wentOn(tab, from) {
    await tab.page.waitForURL((url) => url.pathname.startsWith('/s/') && !url.pathname.endsWith(from));
    await tab.page.getByRole('note').getByText('asked to go on').waitFor();
    assert.equal((await server.state(tab.id)).continues, from);
    await turns(tab, 0);
    await tab.exact(server, long);
    await tab.view('Source');
    assert.equal(await tab.output.locator('.seam').count(), 1);
    await tab.page.reload();
    await tab.exact(server, long);
  }

  story('an answer that the death of the relay has interrupted goes on', async (open) => {
    const tab = await open();
    await ask(tab, 'long answer');
    await tab.reach(40);
    const from = tab.id;
    await server.kill();
    await tab.says('reconnecting');
    await server.start();
    await tab.ended.getByText('Interrupted at event').waitFor();
    const begun = await tab.source();
    assert.ok(begun.length > 0 && begun.length < long.length && long.startsWith(begun));
    assert.equal(await tab.ended.getByRole('button').count(), 1);
    await tab.press('Continue the answer');
    await wentOn(tab, from);
  });

  story('so does one that has failed, though the page was opened later', async (open) => {
    const tab = await open();
    await ask(tab, 'break off');
    await tab.ended.getByText('Failed at event').waitFor();
    const from = tab.id;
    await tab.page.reload();
    await tab.press('Continue the answer');
    await wentOn(tab, from);
  });

  story('and one that was stopped', async (open) => {
    const tab = await open();
    await ask(tab, 'long answer');
    await tab.reach(40);
    await tab.press('Stop');
    await tab.ended.getByText('Stopped at event').waitFor();
    const from = tab.id;
    await tab.press('Continue the answer');
    await wentOn(tab, from);
  });

  story('a question in the middle of an answer leaves that where it is', async (open) => {
    const tab = await open();
    await tab.choose('Speed', '0');
    await tab.send('Tell me of the sea');
    const first = tab.id;
    await tab.reach(20);
    await tab.send('Tell me of ships');
    await turns(tab, 1);
    await tab.reach(10);
    assert.notEqual(tab.id, first);
    assert.equal((await server.state(first)).state, 'running', 'the one that was left goes on');
    assert.deepEqual((await shown(tab)).questions, ['Tell me of the sea', 'Tell me of ships']);
    await server.readers(first, 0);
    await tab.turns.first().getByRole('link').first().click();
    await tab.page.waitForURL((url) => url.pathname === `/s/${first}`);
    await tab.finished();
    await tab.exact(server, await server.text(first));
  });
});
