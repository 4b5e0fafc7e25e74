/**
 * Measures the page in Chromium against the binary: npm run bench. Figures of a
 * shared machine move; the time of a token comes as a ratio to a floor too, which
 * is measured in the same run: the same text, appended to one node of a bare page.
 */

import { settled } from './fixtures.mjs';
import { Cleanup, startBrowser, startServer, until } from './harness.mjs';
import { sizes } from './sizes.mjs';
import { openTab } from './tab.mjs';

const RUNS = Number(process.env.BENCH_RUNS ?? 3);
const PACE = 200; // tokens a second
const MEASURED = 800; // tokens

const cleanup = new Cleanup();
const rows = [];
let server;
let browser;

/** Notes what was measured, in one figure a run. */
function note(what, unit, goal, figures, digits = 1) {
  const sorted = figures.toSorted((a, b) => a - b);
  const [least, median, most] = [sorted[0], sorted[Math.floor(sorted.length / 2)], sorted.at(-1)].map((figure) => figure.toFixed(digits));
  const of = unit && ` ${unit}`;
  rows.push(`| ${what} | ${goal && goal + of} | **${median}**${of}${figures.length > 1 ? ` (${least}–${most})` : ''} |`);
  console.error(rows.at(-1)); // as it goes; the whole table comes last
}

/** Runs a measurement in contexts of their own; returns what each has given. */
async function runs(measure, times = RUNS) {
  const figures = [];
  for (let i = 0; i < times; i++) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
    figures.push(await measure(context));
    await context.close();
  }
  return figures;
}

/** A session with a text of this size, in bytes and a little more, that has ended. */
async function textOf(size) {
  let text = '';
  while (Buffer.byteLength(text) < size) text += `${settled}\n`;
  const id = await server.create({ source: { type: 'text', text }, unit: 'token' });
  const { last_event_id: last } = await until(() => server.state(id), ({ state }) => state === 'done', 'the end');
  return { id, last, text };
}

/** CPU time of the main thread until now, in milliseconds. */
async function threadTime(cdp) {
  const { metrics } = await cdp.send('Performance.getMetrics');
  return 1000 * metrics.find(({ name }) => name === 'ThreadTime').value;
}

/** CPU time of the main thread while something is done, in milliseconds. */
async function mainThread(cdp, run) {
  const before = await threadTime(cdp);
  await run();
  return (await threadTime(cdp)) - before;
}

async function profiled(context, page) {
  const cdp = await context.newCDPSession(page);
  await cdp.send('Performance.enable');
  return cdp;
}

/** Reads the last tokens of a text at its pace, all before them being there; measure is given the tab and what waits for the last. */
async function reading(context, { id, last }, measure) {
  const from = last - MEASURED - 100;
  const tab = await openTab(context, `${server.url}/s/${id}?at=${from}&pace=${PACE}`);
  await tab.reach(from + 50);
  return measure(tab, await profiled(context, tab.page), () => tab.reach(from + 50 + MEASURED));
}

async function perToken(context, session) {
  return reading(context, session, async (tab, cdp, rest) => (await mainThread(cdp, rest)) / MEASURED);
}

/** The same, of a bare page on which the pieces are appended to one node. */
async function floor(context, { text }) {
  const page = await context.newPage();
  await page.goto(`${server.url}/healthz`); // a page of its own, with nothing on it
  const cdp = await profiled(context, page);
  const pieces = text.slice(-4 * MEASURED).match(/[^]{4}/g);
  return (
    (await mainThread(cdp, () =>
      page.evaluate(
        async ({ begun, pieces, pace }) => {
          const element = document.createElement('div');
          element.style.cssText = 'white-space: pre-wrap; width: 720px; font: 17px/1.7 sans-serif';
          const node = document.createTextNode(begun);
          element.append(node);
          document.body.replaceChildren(element);
          const start = performance.now();
          for (let drawn = 0; drawn < pieces.length; ) {
            await new Promise(requestAnimationFrame);
            const due = Math.min(pieces.length, Math.floor(((performance.now() - start) * pace) / 1000));
            while (drawn < due) node.appendData(pieces[drawn++]);
            scrollTo(0, document.body.scrollHeight);
          }
        },
        { begun: text.slice(0, -4 * MEASURED), pieces, pace: PACE },
      ),
    )) / pieces.length
  );
}

/** Frames a second, and the 95th of 100 frames in milliseconds, while tokens come. */
async function frames(context, session, slowed) {
  return reading(context, session, async (tab, cdp, rest) => {
    await cdp.send('Emulation.setCPUThrottlingRate', { rate: slowed });
    await tab.page.evaluate(() => {
      globalThis.frames = [];
      const frame = (time) => {
        globalThis.frames.push(time);
        requestAnimationFrame(frame);
      };
      requestAnimationFrame(frame);
    });
    await rest();
    const times = await tab.page.evaluate(() => globalThis.frames);
    const gaps = times.slice(1).map((time, i) => time - times[i]);
    return { rate: (1000 * gaps.length) / (times.at(-1) - times[0]), p95: gaps.toSorted((a, b) => a - b)[Math.floor(gaps.length * 0.95)] };
  });
}

async function shift(context, viewport) {
  const id = await server.create({ source: { type: 'text', text: settled }, unit: 'token', rate: PACE });
  const tab = await openTab(context, `${server.url}/s/${id}`);
  await tab.page.setViewportSize(viewport);
  return tab.shift();
}

/** CPU time of the main thread to draw all of a text that has been read, in milliseconds. */
async function redraw(context, { id, last }) {
  const tab = await openTab(context, `${server.url}/s/${id}`);
  await tab.finished();
  await tab.scrubber.fill('0');
  await tab.at(0);
  const cdp = await profiled(context, tab.page);
  return mainThread(cdp, () =>
    tab.page.evaluate(async (last) => {
      const scrubber = document.querySelector('[data-testid="scrubber"]');
      scrubber.value = last;
      scrubber.dispatchEvent(new Event('input', { bubbles: true }));
      scrubber.dispatchEvent(new Event('change', { bubbles: true }));
      for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);
    }, last),
  );
}

async function firstPaint(context) {
  const tab = await openTab(context, server.url);
  await tab.page.waitForFunction(() => performance.getEntriesByName('first-contentful-paint').length > 0);
  return tab.page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0].startTime);
}

/** Milliseconds from the click on Continue to the first new event on the screen. */
async function onContinue(context, { id, last }) {
  const tab = await openTab(context, `${server.url}/s/${id}?at=${Math.floor(last / 2)}&paused=1&pace=${PACE}`);
  await tab.paused();
  return tab.page.evaluate(
    () =>
      new Promise((resolve) => {
        const cursor = document.querySelector('[data-testid="cursor"]');
        const button = [...document.querySelectorAll('button')].find((button) => button.textContent.trim() === 'Continue');
        new MutationObserver((_, observer) => {
          observer.disconnect();
          requestAnimationFrame(() => resolve(performance.now() - start));
        }).observe(cursor, { childList: true, characterData: true, subtree: true });
        const start = performance.now();
        button.click();
      }),
  );
}

/** Milliseconds from a reload in mid-answer until all that was shown is shown again. */
async function reload(context, { id, last }) {
  const at = Math.floor(last / 2);
  const tab = await openTab(context, `${server.url}/s/${id}?at=${at}&pace=20`);
  await tab.reach(at + 10);
  const length = (await tab.source()).length;
  await tab.page.addInitScript((length) => {
    const look = () => {
      const source = document.querySelector('[data-testid="output"]')?.dataset.source ?? '';
      if (source.length >= length) globalThis.back = performance.now();
      else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  }, length);
  await tab.page.reload();
  await tab.page.waitForFunction(() => globalThis.back !== undefined);
  return tab.page.evaluate(() => globalThis.back);
}

try {
  server = await startServer(cleanup);
  browser = await startBrowser(cleanup);
  const [{ compressed, raw }] = await runs(async (context) => sizes(server, await openTab(context, server.url)), 1);
  note('first load, gzipped', 'kB', '≤ 80', [compressed / 1000]);
  note('all files, as they are', 'kB', '≤ 400', [raw / 1000]);
  note('first paint, nothing cached', 'ms', '≤ 500', await runs(firstPaint), 0);

  const [small, large] = [await textOf(20_000), await textOf(28_000)];
  note('CPU time to draw 20 KB anew', 'ms', '≤ 100', await runs((context) => redraw(context, small)), 0);
  note('reload in mid-answer, until 10 KB are back', 'ms', '≤ 300', await runs((context) => reload(context, small)), 0);
  note('Continue, until the first new event is drawn', 'ms', '≤ 150', await runs((context) => onContinue(context, small)), 0);

  const floors = await runs((context) => floor(context, large));
  const tokens = await runs((context) => perToken(context, large));
  note('CPU time a token, 200 tokens/s at the end of 28 KB', 'ms', '≤ 0.6', tokens, 2);
  note('the floor: the same text appended to a node', 'ms', '', floors, 2);
  note('token, × floor', '×', '', tokens.map((figure, i) => figure / floors[i]), 2);

  for (const [slowed, name, rate, p95] of [
    [1, '', '≥ 58', '≤ 20'],
    [4, ', slowed 4×', '≥ 50', ''],
  ]) {
    const measured = await runs((context) => frames(context, large, slowed));
    note(`frames a second at 200 tokens/s${name}`, '', rate, measured.map((figure) => figure.rate), 0);
    note(`95 of 100 frames take at most${name}`, 'ms', p95, measured.map((figure) => figure.p95), 1);
  }
  note('layout shift of a whole answer, 1280 wide', '', '≤ 0.02', await runs((context) => shift(context, { width: 1280, height: 800 })), 4);
  note('layout shift of a whole answer, 360 wide', '', '≤ 0.02', await runs((context) => shift(context, { width: 360, height: 740 })), 4);
  console.log(['| | goal | figure |', '| --- | --- | --- |', ...rows].join('\n'));
} finally {
  await cleanup.run();
}
