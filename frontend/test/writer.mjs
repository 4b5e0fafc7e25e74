/**
 * Texts that come piece by piece, and do not end before a test has seen what it
 * wants: from a provider that the relay asks, or appended to a session.
 */

import { once } from 'node:events';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

/** The part of a text that comes at its rate. The rest trickles, so many pieces a second, until it is released. */
const BEGINNING = 0.8;
const TRICKLE = 4;

export class Writing {
  #pieces;
  #rate;
  #isReleased = false;
  #released;

  /** Takes the pieces of a text, so many to come a second. */
  constructor(pieces, rate) {
    this.#pieces = pieces;
    this.#rate = rate;
    this.#released = new Promise((resolve) => {
      /** Lets the rest come at once. */
      this.release = () => {
        this.#isReleased = true;
        resolve();
      };
    });
  }

  async *[Symbol.asyncIterator]() {
    for (const [i, piece] of this.#pieces.entries()) {
      yield piece;
      const rate = i < this.#pieces.length * BEGINNING ? this.#rate : TRICKLE;
      if (!this.#isReleased) await Promise.race([sleep(1000 / rate), this.#released]);
    }
  }

  /** Appends it to a session, over restarts of the server, until signal aborts. */
  async appendTo(server, id, signal) {
    let seq = 0;
    const persist = async (...command) => {
      while (!signal.aborted) {
        try {
          return await server.post(id, ...command);
        } catch (error) {
          if (!(error instanceof TypeError) && !/^\w+: 503/.test(error.message)) throw error; // it is not there, or going
          await sleep(20);
        }
      }
    };
    for await (const text of this) await persist('append', { text, producer: 'writer', seq: ++seq });
    await persist('finish');
  }
}

/** Starts a provider of chat completions. */
export async function startProvider(cleanup) {
  const answers = new Map(); // by the question
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    const write = (choice) => response.write(`data: ${JSON.stringify({ choices: [{ index: 0, ...choice }] })}\n\n`);
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for await (const content of answers.get(JSON.parse(body).messages.at(-1).content)) write({ delta: { content } });
    write({ delta: {}, finish_reason: 'stop' });
    response.end('data: [DONE]\n\n');
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  cleanup.add(() => {
    server.close();
    server.closeAllConnections();
  });
  return {
    /** What names it to the relay. */
    flags: ['--upstream', `name=slow,base_url=http://127.0.0.1:${server.address().port}/v1,model=writer`],

    /** Takes the answer to a question; returns the source that asks it. */
    take(writing, question = `text ${answers.size}`) {
      answers.set(question, writing);
      return { type: 'upstream', model: 'slow/writer', messages: [{ role: 'user', content: question }] };
    },
  };
}
