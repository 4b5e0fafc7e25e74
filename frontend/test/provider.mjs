/** A model provider that does not come to the end of an answer before the test has seen what it wants. */

import { once } from 'node:events';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

/** The part of an answer that comes at its rate. The rest trickles, so many pieces a second, until it is released. */
const BEGINNING = 0.8;
const TRICKLE = 4;

export async function startProvider(cleanup) {
  const answers = new Map(); // by the question
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    const { text, size, rate, released } = answers.get(JSON.parse(body).messages.at(-1).content);
    let isReleased = false;
    void released.then(() => (isReleased = true));
    const write = (choice) => response.write(`data: ${JSON.stringify({ choices: [{ index: 0, ...choice }] })}\n\n`);
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (let i = 0; i < text.length && !response.destroyed; i += size) {
      write({ delta: { content: text.slice(i, i + size) } });
      const wait = sleep(1000 / (i < text.length * BEGINNING ? rate : TRICKLE));
      if (!isReleased) await Promise.race([wait, released]);
    }
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

    /** Takes an answer of pieces of so many UTF-16 code units, so many a second; returns the source that asks for it, and what releases it. */
    take(text, size, rate) {
      const question = `text ${answers.size}`;
      let release;
      const released = new Promise((resolve) => (release = resolve));
      answers.set(question, { text, size, rate, released });
      return { source: { type: 'upstream', model: 'slow/writer', messages: [{ role: 'user', content: question }] }, release };
    },
  };
}
