/** The real binary, a foreign upstream and a browser, for the tests of the page. */

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { LLMock } from '@copilotkit/aimock';
import { chromium } from 'playwright-core';
import { build as bundle } from 'vite';

export const frontend = fileURLToPath(new URL('..', import.meta.url));
const root = join(frontend, '..');

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';

/** Why there is no browser, or false. A build server has to have one. */
export function noBrowser() {
  if (existsSync(CHROMIUM)) return false;
  const why = `no Chromium at ${CHROMIUM}: set CHROMIUM to one`;
  if (process.env.CI === 'true') throw new Error(why);
  return why;
}

/** The seed of what a run leaves to chance; E2E_SEED repeats a run. */
export const seed = Number(process.env.E2E_SEED ?? Math.floor(Math.random() * 2 ** 31));

/** Returns a function that yields whole numbers from low to high, the same for one seed and salt. */
export function chance(salt) {
  let n = (seed + Math.imul(salt, 0x9e3779b9)) >>> 0;
  return (low, high) => {
    n = (Math.imul(n, 1664525) + 1013904223) >>> 0;
    return low + Math.floor((n / 2 ** 32) * (high - low + 1));
  };
}

/** Where a test gives back what it has taken, last first. */
export class Cleanup {
  #steps = [];
  add(step) {
    this.#steps.push(step);
  }
  async run() {
    for (const step of this.#steps.splice(0).reverse()) await step();
  }
}

/** Builds page and binary, unless TOKENRELAY_BIN names one. */
function build(cleanup) {
  if (process.env.TOKENRELAY_BIN) return process.env.TOKENRELAY_BIN;
  const dir = mkdtempSync(join(tmpdir(), 'tokenrelay-'));
  cleanup.add(() => rmSync(dir, { recursive: true, force: true }));
  execFileSync('npx', ['vite', 'build', '--logLevel', 'warn'], { cwd: frontend, stdio: ['ignore', 'ignore', 'inherit'] });
  const binary = join(dir, 'tokenrelay');
  execFileSync('go', ['build', '-o', binary, '.'], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
  return binary;
}

/** Starts the server on a free port, with a directory of its own for its sessions. */
export async function startServer(cleanup, ...flags) {
  const data = mkdtempSync(join(tmpdir(), 'tokenrelay-data-'));
  cleanup.add(() => rmSync(data, { recursive: true, force: true }));
  const server = new Server(build(cleanup), ['--data', data, ...flags]);
  cleanup.add(() => server.kill('SIGTERM'));
  await server.start('127.0.0.1:0');
  return server;
}

/** The running binary, which can be killed and started again on the same port and data. */
class Server {
  /** Its lines on stderr, from all starts. */
  log = [];
  #binary;
  #flags;
  #child;
  #gone;

  constructor(binary, flags) {
    this.#binary = binary;
    this.#flags = flags;
  }

  async start(listen = new URL(this.url).host) {
    const child = spawn(this.#binary, ['serve', '--listen', listen, ...this.#flags], { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child = child;
    this.#gone = once(child, 'exit');
    const ready = new Promise((resolve) => {
      createInterface({ input: child.stderr }).on('line', (line) => {
        this.log.push(line);
        const match = /msg=listening .*?addr=(\S+)/.exec(line);
        if (match !== null) resolve(`http://${match[1]}`);
      });
    });
    const early = this.#gone.then(() => {
      throw new Error(`the server ended before it listened:\n${this.log.join('\n')}`);
    });
    early.catch(() => {});
    this.url = await Promise.race([ready, early]);
  }

  /** Ends it, by the loss of all that it has not written down if nothing else is asked. */
  async kill(signal = 'SIGKILL') {
    this.#child.kill(signal);
    await this.#gone;
  }
}

/** Builds the client library for Node; returns its module. */
export async function loadClient(cleanup) {
  const outDir = mkdtempSync(join(tmpdir(), 'tokenrelay-client-'));
  cleanup.add(() => rmSync(outDir, { recursive: true }));
  await bundle({
    configFile: false,
    logLevel: 'warn',
    build: { outDir, emptyOutDir: false, target: 'node20', lib: { entry: join(frontend, 'src/client/index.ts'), formats: ['es'], fileName: 'client' } },
  });
  return import(pathToFileURL(join(outDir, 'client.js')).href);
}

/** Starts a foreign upstream; returns the flag that names it to the server. */
export async function startUpstream(cleanup, fixtures) {
  const mock = new LLMock({ port: 0, strict: true });
  mock.addFixturesFromJSON(fixtures);
  await mock.start();
  cleanup.add(() => mock.stop());
  return ['--upstream', `name=aimock,base_url=${mock.url}/v1,model=gpt-4o`];
}

/** Stands between browser and server and breaks, in the middle of whatever passes. */
export async function startBadNetwork(to) {
  const { port } = new URL(to);
  const pairs = new Set();
  let left = Infinity; // bytes to the browser until all lines break
  let broken;
  let isDown = false;
  const breakAll = () => {
    for (const [browser, server] of pairs) {
      browser.resetAndDestroy();
      server.destroy();
    }
    left = Infinity;
    broken?.();
  };
  const listener = createServer((browser) => {
    if (isDown) {
      network.refused++;
      browser.resetAndDestroy();
      return;
    }
    const server = connect(Number(port), '127.0.0.1');
    const pair = [browser, server];
    pairs.add(pair);
    for (const socket of pair) {
      socket.on('error', () => {});
      socket.on('close', () => {
        pairs.delete(pair);
        browser.destroy();
        server.destroy();
      });
    }
    browser.pipe(server);
    server.on('data', (data) => {
      // The first part has to have left before the reset, which drops what is in the socket.
      browser.write(data.subarray(0, left), left < data.length ? () => setImmediate(breakAll) : undefined);
      left -= Math.min(left, data.length);
    });
  });
  await once(listener.listen(0, '127.0.0.1'), 'listening');
  const network = {
    url: `http://127.0.0.1:${listener.address().port}/`,
    refused: 0,
    breakAfter(bytes) {
      left = bytes;
      return new Promise((resolve) => (broken = resolve));
    },
    down() {
      isDown = true;
      breakAll();
    },
    up() {
      isDown = false;
    },
    async close() {
      breakAll();
      listener.close();
      await once(listener, 'close');
    },
  };
  return network;
}

export async function startBrowser(cleanup) {
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
  cleanup.add(() => browser.close());
  return browser;
}

/**
 * Opens a tab that notes what must not happen: a request to another host, a
 * report of the content security policy, an uncaught error.
 */
export async function openTab(context, url) {
  const page = await context.newPage();
  const wrong = [];
  const origin = new URL(url).origin;
  page.on('request', (request) => {
    const to = new URL(request.url());
    if (to.origin !== origin && to.protocol !== 'data:') wrong.push(`request to ${request.url()}`);
  });
  page.on('pageerror', (error) => wrong.push(`uncaught: ${error.stack ?? error}`));
  page.on('console', (message) => {
    if (/content security policy/i.test(message.text())) wrong.push(message.text());
  });
  await page.goto(url);
  return new Tab(page, wrong);
}

/** The page as its user has it. */
export class Tab {
  constructor(page, wrong) {
    this.page = page;
    this.wrong = wrong;
    this.prompt = page.getByRole('textbox');
    this.output = page.getByTestId('output');
    this.done = page.getByTestId('done');
    this.strip = page.getByTestId('strip');
    this.status = page.getByRole('status');
  }

  button(name) {
    return this.page.getByRole('button', { name, exact: true });
  }

  async choose(label, value) {
    await this.page.getByLabel(label).selectOption(value);
  }

  async send(prompt) {
    await this.prompt.fill(prompt);
    await this.button('Send').click();
    await this.page.waitForURL(/\/s\//);
  }

  /** The session in the address. */
  get id() {
    return /\/s\/([^/?]+)/.exec(this.page.url())[1];
  }

  async source() {
    return (await this.output.getAttribute('data-source')) ?? '';
  }

  /** The text as drawn. */
  async shown() {
    return this.output.evaluate((element) => element.textContent);
  }

  async cursor() {
    return Number(await this.page.getByTestId('cursor').textContent());
  }

  /** Waits until this event is drawn, or a later one. */
  async reach(id) {
    await this.page.waitForFunction((id) => Number(document.querySelector('[data-testid="cursor"]')?.textContent) >= id, id, { polling: 'raf' });
  }

  /** Waits until the strip tells of a line that is back. */
  async back(cuts) {
    const text = cuts > 1 ? `${cuts} cuts` : 'back at';
    await this.strip.filter({ hasText: 'back at' }).filter({ hasText: text }).waitFor();
    return (await this.strip.textContent()).replace(/\s+/g, ' ').trim();
  }

  async finished() {
    await this.done.waitFor({ timeout: 60_000 });
  }
}

/** Waits until probe gives a value for which ok holds; fails with the last value. */
export async function until(probe, ok, what, timeout = 10_000) {
  const deadline = Date.now() + timeout;
  for (;;) {
    const value = await probe();
    if (ok(value)) return value;
    if (Date.now() > deadline) throw new Error(`${what}: still ${JSON.stringify(value)} after ${timeout} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
