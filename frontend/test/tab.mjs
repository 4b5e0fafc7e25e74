/** The page as its user has it, for the tests in a browser. */

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from './harness.mjs';

/**
 * Opens a tab that notes what must not happen: a request to another host, a
 * report of the content security policy, a dialog, an uncaught error.
 */
export async function openTab(context, url) {
  const tab = new Tab(await context.newPage(), new URL(url).origin);
  await tab.page.goto(url);
  return tab;
}

/**
 * Tells a story in a browser context of its own, and checks what holds for all:
 * nothing of what must not happen has happened in any tab.
 */
export async function tell(browser, url, run, options = {}) {
  const context = await browser.newContext(options);
  try {
    const tabs = [];
    await run(async (path = '/') => {
      const tab = await openTab(context, new URL(path, url).href);
      tabs.push(tab);
      return tab;
    }, context);
    for (const tab of tabs) assert.deepEqual(tab.wrong, []);
  } finally {
    await context.close();
  }
}

export class Tab {
  /** What has happened that must not. */
  wrong = [];
  /** The requests for events that are open. */
  lines = new Set();

  constructor(page, origin) {
    this.page = page;
    this.prompt = page.getByRole('textbox', { name: 'Prompt' });
    this.output = page.getByTestId('output');
    this.done = page.getByTestId('done');
    this.ended = page.getByTestId('ended');
    this.trouble = page.getByTestId('trouble');
    this.turns = page.getByTestId('turn');
    this.strip = page.getByTestId('strip');
    this.scrubber = page.getByTestId('scrubber');
    this.status = page.getByRole('status');
    page.on('request', (request) => {
      const to = new URL(request.url());
      if (to.origin !== origin && to.protocol !== 'data:') this.wrong.push(`request to ${request.url()}`);
      if (to.pathname.endsWith('/events')) this.lines.add(request);
    });
    for (const end of ['requestfinished', 'requestfailed']) page.on(end, (request) => this.lines.delete(request));
    page.on('pageerror', (error) => this.wrong.push(`uncaught: ${error.stack ?? error}`));
    page.on('console', (message) => {
      if (/content security policy/i.test(message.text())) this.wrong.push(message.text());
    });
    page.on('dialog', (dialog) => {
      this.wrong.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
  }

  button(name) {
    return this.page.getByRole('button', { name, exact: true });
  }

  /** Presses a button. A tab behind another has a frame a second, which would make this slow. */
  async press(name) {
    await this.page.bringToFront();
    await this.button(name).click();
  }

  async choose(label, value) {
    await this.page.getByLabel(label, { exact: true }).selectOption(value);
  }

  async send(prompt) {
    const before = this.page.url();
    await this.prompt.fill(prompt);
    await this.press('Send');
    await this.page.waitForURL((url) => /^\/s\//.test(url.pathname) && url.pathname !== new URL(before).pathname);
  }

  /** The session in the address. */
  get id() {
    return /\/s\/([^/?]+)/.exec(this.page.url())[1];
  }

  /** A parameter of the address, null without it. */
  parameter(name) {
    return new URL(this.page.url()).searchParams.get(name);
  }

  async source() {
    return (await this.output.getAttribute('data-source')) ?? '';
  }

  /** The text as drawn. */
  async shown() {
    return this.output.evaluate((element) => element.textContent);
  }

  /** The elements as drawn, without the colours of code: they come later, and not at all if they were asked for while there was no network. */
  async drawn() {
    return this.output.evaluate((element) => {
      const copy = element.cloneNode(true);
      for (const code of copy.querySelectorAll('pre code')) code.textContent = code.textContent;
      return copy.innerHTML;
    });
  }

  /** Shows the answer as Text, Source or Tokens. */
  async view(name) {
    await this.page.bringToFront();
    await this.page.getByRole('radiogroup', { name: 'View' }).getByText(name, { exact: true }).click();
    assert.ok(await this.page.getByRole('radio', { name, exact: true }).isChecked(), name);
  }

  async cursor() {
    return Number(await this.page.getByTestId('cursor').textContent());
  }

  /** Waits until this event is drawn, or a later one. */
  async reach(id) {
    await this.page.waitForFunction((id) => Number(document.querySelector('[data-testid="cursor"]')?.textContent) >= id, id, { polling: 'raf' });
  }

  /** Waits until this very event is the last one drawn. */
  async at(id) {
    await until(() => this.cursor(), (got) => got === id, `the cursor, want ${id}`);
  }

  /** Moves the scrubber to an event, once it is known that there is one. */
  async seek(to) {
    await until(async () => Number(await this.scrubber.getAttribute('max')), (head) => head >= to, `the end of the scrubber, want ${to}`);
    await this.page.bringToFront();
    await this.scrubber.fill(String(to));
    await this.at(to);
  }

  /** Waits until the line above the buttons says so. */
  async says(hasText) {
    await this.page.getByTestId('status-line').filter({ hasText }).waitFor();
  }

  /** Waits until the reader has paused, or is where an address of a pause leads. */
  async paused() {
    await this.button('Continue').waitFor();
    await until(() => this.lines.size, (n) => n === 0, 'lines of a paused tab');
  }

  async pause() {
    await this.press('Pause');
    await this.paused();
  }

  /** Checks that nothing comes for a while: the one fixed wait of these tests. */
  async still(ms = 400) {
    const before = [await this.source(), await this.drawn(), await this.cursor(), this.lines.size];
    await sleep(ms);
    assert.deepEqual([await this.source(), await this.drawn(), await this.cursor(), this.lines.size], before);
  }

  /** Lets the line be lost; returns what the strip tells when it is back, in numbers. */
  async mended(lose) {
    const telling = () => this.page.evaluate(() => document.querySelector('[data-testid="strip"]')?.textContent.replace(/\s+/g, ' ').trim() ?? '');
    const before = await telling();
    await lose();
    const strip = await until(telling, (now) => now !== before && now.includes('back at'), 'the strip, want a line that is back', 30_000);
    const match = /^cut at (\d+) · (\d+\.\d) s · back at (\d+) · (\d+) lost · (\d+) repeated\b/.exec(strip);
    assert.ok(match, strip);
    const [at, seconds, back, lost, repeated] = match.slice(1).map(Number);
    assert.deepEqual({ back, lost, repeated }, { back: at + 1, lost: 0, repeated: 0 }, strip);
    return { at, seconds };
  }

  /** Sums how far things jump from the opening of the page to the end of the answer, as CLS does. */
  async shift() {
    await this.page.evaluate(() => {
      globalThis.shift = 0;
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) if (!entry.hadRecentInput) globalThis.shift += entry.value;
      }).observe({ type: 'layout-shift', buffered: true });
    });
    await this.finished();
    return this.page.evaluate(() => globalThis.shift);
  }

  /** Waits for the end of the answer, or for one of other words. */
  async finished() {
    await this.done.waitFor({ timeout: 60_000 });
  }

  /**
   * Checks what is left when all is done: the same text everywhere, drawn as
   * one render of the whole draws it, and no line.
   */
  async exact(server, want) {
    await this.finished();
    assert.equal(await server.text(this.id), want);
    assert.equal(await this.source(), want);
    for (const view of ['Source', 'Tokens']) {
      await this.view(view);
      assert.equal(await this.shown(), want, view);
    }
    await this.view('Text');
    const again = await openTab(this.page.context(), new URL(`/s/${this.id}`, this.page.url()).href);
    await again.finished();
    assert.equal(await this.drawn(), await again.drawn(), 'drawn in parts, and at once');
    assert.deepEqual(again.wrong, []);
    await again.page.close();
    await this.page.bringToFront();
    await until(() => this.lines.size, (n) => n === 0, 'lines after the end');
    await server.readers(this.id, 0);
  }
}
