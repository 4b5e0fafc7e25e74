/** The real binary, a foreign upstream and a browser, for the tests of the page. */

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
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

/** How often each of the scenarios of exact.test.mjs is told, each time with other times. */
export const rounds = Number(process.env.E2E_ROUNDS ?? 1);

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

/** The running binary, which can be killed and started again on the same port and data, and asked what there is. */
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

  /** Makes a session; returns its id. */
  async create(request) {
    const response = await fetch(`${this.url}/v1/sessions`, { method: 'POST', body: JSON.stringify(request) });
    const session = await response.json();
    if (!response.ok) throw new Error(JSON.stringify(session));
    return session.id;
  }

  async state(id) {
    return (await fetch(`${this.url}/v1/sessions/${id}`)).json();
  }

  async text(id) {
    return (await fetch(`${this.url}/v1/sessions/${id}/text`)).text();
  }

  /** The text of the events up to this one. */
  async textUpTo(id, last) {
    const leaving = new AbortController();
    const response = await fetch(`${this.url}/v1/sessions/${id}/events`, { signal: leaving.signal });
    let text = '';
    let held = '';
    try {
      for await (const part of response.body.pipeThrough(new TextDecoderStream())) {
        const events = (held + part).split('\n\n');
        held = events.pop();
        for (const event of events) {
          const number = /^id: (\d+)$/m.exec(event);
          if (number === null) continue;
          if (Number(number[1]) > last) return text;
          if (!/^event: /m.test(event)) text += JSON.parse(/^data: (.*)$/m.exec(event)[1]).text;
        }
      }
      return text;
    } finally {
      leaving.abort();
    }
  }

  async post(id, path, body) {
    const response = await fetch(`${this.url}/v1/sessions/${id}/${path}`, { method: 'POST', body: body && JSON.stringify(body) });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  }

  /** Waits until so many read the session. */
  async readers(id, n) {
    await until(async () => (await this.state(id)).readers, (got) => got === n, `readers of ${id}, want ${n}`);
  }
}

/** Builds the client library for Node; returns its module. */
export function loadClient(cleanup) {
  return loadModule(cleanup, 'src/client/index.ts');
}

/** Builds a module of the front end for Node; returns it. */
export async function loadModule(cleanup, entry) {
  const outDir = mkdtempSync(join(tmpdir(), 'tokenrelay-module-'));
  cleanup.add(() => rmSync(outDir, { recursive: true }));
  await bundle({
    configFile: false,
    logLevel: 'warn',
    build: { outDir, emptyOutDir: false, target: 'node20', lib: { entry: join(frontend, entry), formats: ['es'], fileName: 'module' } },
  });
  return import(pathToFileURL(join(outDir, 'module.js')).href);
}

/** Starts a foreign upstream; returns the flag that names it to the server. */
export async function startUpstream(cleanup, fixtures) {
  const mock = new LLMock({ port: 0, strict: true });
  for (const fixture of fixtures) mock.addFixture(fixture);
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

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export async function startBrowser(cleanup) {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
  cleanup.add(() => browser.close());
  return browser;
}

/**
 * Starts a browser whose tabs can be hidden and put to sleep. In the other's,
 * every tab has the focus at all times. Returns its one context.
 */
export async function startWindow(cleanup) {
  const profile = mkdtempSync(join(tmpdir(), 'tokenrelay-profile-'));
  cleanup.add(() => rm(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })); // some of its processes outlive the first
  const child = spawn(CHROMIUM, [...FLAGS, '--remote-debugging-port=0', `--user-data-dir=${profile}`, 'about:blank'], { stdio: ['ignore', 'ignore', 'pipe'] });
  const gone = once(child, 'exit');
  cleanup.add(async () => {
    child.kill(); // if it is still there
    await gone;
  });
  const address = await new Promise((resolve) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      const match = /listening on (ws:\S+)/.exec(line);
      if (match !== null) resolve(match[1]);
    });
  });
  const browser = await chromium.connectOverCDP(address, { noDefaults: true });
  cleanup.add(async () => {
    const session = await browser.newBrowserCDPSession();
    await session.send('Browser.close'); // the end of the connection alone would leave it running
    await gone;
  });
  return browser.contexts()[0];
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
