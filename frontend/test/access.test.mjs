import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import { markdown } from './fixtures.mjs';
import { Cleanup, noBrowser, startBrowser, startServer } from './harness.mjs';
import { openTab, tell } from './tab.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

describe('access', { skip: noBrowser(), timeout: 300_000 }, () => {
  const cleanup = new Cleanup();
  let server;
  let browser;

  before(async () => {
    server = await startServer(cleanup);
    browser = await startBrowser(cleanup);
  });
  after(() => cleanup.run());

  for (const colorScheme of ['light', 'dark']) {
    for (const viewport of [
      { width: 360, height: 740 },
      { width: 1280, height: 800 },
    ]) {
      test(`${colorScheme}, ${viewport.width} wide`, async () => {
        const context = await browser.newContext({ colorScheme, viewport });
        try {
          const tab = await openTab(context, server.url);
          const { page } = tab;

          const check = async (when) => {
            // Past the policy, which would refuse the checker as it should.
            const { violations, passes } = await page.evaluate(`${axe}; axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })`);
            assert.ok(passes.length > 15, `${when}: the checker found little to check`);
            assert.deepEqual(
              violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join(' ')}`),
              [],
              when,
            );
            const { wide, small } = await page.evaluate(() => ({
              wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
              small: [...document.querySelectorAll('button, select, textarea, summary, a:not(.answer a), input[type=range], label:has([type=radio])')]
                .filter((element) => element.checkVisibility())
                .map((element) => ({ box: element.getBoundingClientRect(), name: element.outerHTML }))
                .filter(({ box }) => box.width > 0 && (box.height < 44 || box.width < 44))
                .map(({ name }) => name),
            }));
            assert.equal(wide, 0, `${when}: scrolls sideways`);
            assert.deepEqual(small, [], `${when}: too small to touch`);
            assert.equal(await page.getByRole('status').count(), 1);
            assert.equal(await page.locator('[aria-live]:not([aria-live=off]), [role=log], [role=alert]').count(), 0, `${when}: something else speaks`);
          };

          await check('idle');
          const prompt = 'Tell me of a-word-that-is-much-too-long-for-any-line-of-a-phone-and-then-goes-on-for-a-while';
          const long = await server.create({ source: { type: 'text', text: markdown.repeat(20) }, unit: 'token', rate: 60, metadata: { prompt } });
          await page.goto(`${server.url}/s/${long}`);
          await tab.reach(10);
          await check('streaming');
          await tab.mended(() => tab.press('Cut'));
          await check('back');
          await tab.pause();
          const at = await tab.cursor();
          for (const summary of ['Continue with curl', 'Continue with OpenAI SDK']) await page.locator('summary', { hasText: summary }).click();
          await check('paused');
          assert.ok((await page.locator('.handover code').allTextContents()).some((code) => code === `curl -N -H 'Last-Event-ID: ${at}' ${server.url}/v1/sessions/${tab.id}/events`), 'curl');
          await tab.choose('Speed', 'step');
          await check('step by step');
          await tab.choose('Speed', '0');
          await tab.press('Continue');
          await tab.press('Stop');
          await tab.ended.waitFor();
          await check('stopped');
          await tab.send('Tell me of ships'); // a second turn
          await tab.reach(5);
          await tab.press('Stop');
          await tab.ended.waitFor();
          await check('two turns');
          const id = await server.create({ source: { type: 'text', text: markdown }, unit: 'token' });
          await page.goto(`${server.url}/s/${id}`);
          await tab.finished();
          await page.locator('summary', { hasText: 'Read it with curl' }).click();
          await check('done');
          for (const view of ['Source', 'Tokens']) {
            await tab.view(view);
            await check(`done, as ${view}`);
          }
          await tab.view('Text');
          await tab.scrubber.fill('100');
          await tab.at(100);
          await check('sought');
          await tab.page.goto(`${server.url}/s/aaaaaaaaaaaaaaaaaaaaaaaaaa`);
          await tab.trouble.waitFor();
          assert.equal(await tab.button('Try again').count(), 0);
          await check('refused');
          await page.route('**/v1/sessions/joined', (route) => route.fulfill({ json: { id: 'joined', state: 'done', source: { type: 'upstream', model: 'provider/model' }, unit: 'word', last_event_id: 5 } }));
          await page.route('**/v1/sessions/joined/events*', (route) =>
            route.fulfill({
              contentType: 'text/event-stream',
              body: [
                'event: session\ndata: {"id":"joined","unit":"word"}',
                'data: {"text":"Once upon a ti"}',
                'event: seam\ndata: {"by":"message","offset":14}',
                'data: {"text":"me\\nthere was"}',
                'event: done\ndata: {"reason":"stop"}',
              ]
                .map((event, i) => `id: ${i + 1}\n${event}\n\n`)
                .join(''),
            }),
          );
          await page.goto(`${server.url}/s/joined`);
          await tab.finished();
          await page.getByRole('note').getByText('asked to go on after 14 characters').waitFor();
          await tab.view('Source');
          assert.equal(await page.locator('.seam').evaluate((mark) => mark.getClientRects().length), 1);
          for (const text of [await tab.source(), await tab.shown(), await tab.output.innerText()]) assert.equal(text, 'Once upon a time\nthere was');
          await check('seam');
          assert.deepEqual(tab.wrong, []);
        } finally {
          await context.close();
        }
      });
    }
  }

  test('the status says what happened, never the text', async () => {
    await tell(browser, server.url, async (open) => {
      const tab = await open();
      await tab.page.evaluate(() => {
        globalThis.said = [];
        const status = document.querySelector('[role=status]');
        new MutationObserver(() => globalThis.said.push(status.textContent)).observe(status, { childList: true, characterData: true, subtree: true });
      });
      await tab.choose('Speed', '0');
      await tab.send('Tell me of the sea');
      await tab.reach(10);
      await tab.pause();
      await tab.press('Continue');
      await tab.reach(30);
      await tab.mended(() => tab.press('Cut'));
      await tab.finished();
      const said = await tab.page.evaluate(() => globalThis.said.filter((text) => text !== ''));
      const want = [
        /^Started$/,
        /^Paused at event \d+$/,
        /^Continued after event \d+$/,
        /^The line was lost at event \d+; reconnecting$/,
        /^Back at event \d+, 0 lost, 0 repeated$/,
        /^Done at event \d+$/,
      ];
      assert.equal(said.length, want.length, said.join('\n'));
      for (const [i, text] of said.entries()) assert.match(text, want[i]);
    });
  });
});
