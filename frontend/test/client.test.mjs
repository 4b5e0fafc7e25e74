import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fixtures, long, unicode } from './fixtures.mjs';
import { chance, Cleanup, frontend, loadClient, startServer, startUpstream } from './harness.mjs';

describe('the client library, in Node against the binary', { timeout: 300_000 }, () => {
  const cleanup = new Cleanup();
  let client;
  let newKey;
  let ProblemError;

  before(async () => {
    const { url } = await startServer(cleanup, ...(await startUpstream(cleanup, fixtures)));
    const library = await loadClient(cleanup);
    client = new library.Client({ base: url });
    ({ newKey, ProblemError } = library);
  });
  after(() => cleanup.run());

  const upstream = (content) => ({ type: 'upstream', model: 'aimock/gpt-4o', messages: [{ role: 'user', content }] });

  for (const [prompt, want] of [
    ['long answer', long],
    ['unicode', unicode],
  ]) {
    test(`20 readers of "${prompt}", each cut about four times`, async () => {
      const session = await client.create({ source: upstream(prompt), unit: 'rune' });
      let cuts = 0;
      await Promise.all(
        Array.from({ length: 20 }, async (_, reader) => {
          let seed = reader + 1; // one event, one step: every run cuts at the same ids
          const follow = client.follow(session.id);
          let text = '';
          let end;
          for await (const event of follow) {
            if (event.type === 'text') text += event.text;
            if (event.type === 'end') end = event.outcome;
            seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
            if (seed / 2 ** 32 < 4 / [...want].length) {
              follow.cut();
              cuts++;
            }
          }
          assert.equal(text, want);
          assert.equal(end, 'done');
          const { missing, repeated } = follow.counters;
          assert.deepEqual({ missing, repeated }, { missing: 0, repeated: 0 });
        }),
      );
      assert.ok(cuts > 20, `${cuts} cuts`);
      assert.equal(await client.text(session.id), want);
    });
  }

  /** Reads what its Follow delivers, and checks that it is the event due and the text that this event has always had. */
  function read(id, options = {}) {
    const r = { texts: [], due: 1, ends: [] };
    let moved = () => {};
    r.follow = client.follow(id, {
      ...options,
      onEvent: (event) => {
        assert.equal(event.id, r.due++);
        const text = event.type === 'text' ? event.text : '';
        assert.equal(r.texts[event.id] ?? text, text);
        r.texts[event.id] = text;
        moved();
      },
      onStatus: (status) => assert.ok(status.type !== 'lost' && status.type !== 'gap', status.type),
      onEnd: (end) => moved(r.ends.push(end)),
    });
    r.seek = (after) => {
      r.due = after + 1;
      r.follow.seek(after);
    };
    r.until = (reached) =>
      new Promise((resolve) => {
        moved = () => reached() && resolve();
        moved();
      });
    /** The text, if every event from the first to the last has come. */
    r.text = () => Array.from(r.texts.slice(1), (text, i) => text ?? assert.fail(`event ${i + 1} has not come`)).join('');
    return r;
  }

  test('pause, resume, seek back and forth, and setPace, while it is written and after its end', async () => {
    const between = chance(86);
    const session = await client.create({ source: upstream('unicode'), unit: 'rune' });
    const r = read(session.id);

    await r.until(() => r.due > 20);
    r.follow.pause();
    const { due } = r;
    while ((await client.state(session.id)).readers !== 0) await setTimeout(20);
    const { last_event_id: head } = await client.state(session.id);
    while ((await client.state(session.id)).last_event_id < head + 20) await setTimeout(20);
    assert.equal(r.due, due, 'nothing has come while it was paused');
    r.follow.resume();
    await r.until(() => r.due > head + 20);

    for (let i = 0; i < 30; i++) {
      r.seek(between(0, (await client.state(session.id)).last_event_id - 1));
      const want = r.due + between(0, 3);
      if (i % 3 > 0) await r.until(() => r.due >= want || r.ends.length > 0);
    }

    r.seek(0);
    r.follow.setPace(50);
    const began = performance.now();
    await r.until(() => r.due > 20);
    assert.ok(performance.now() - began > 300, '20 events at 50 a second');
    r.follow.setPace(0);
    r.ends.length = 0;
    await r.until(() => r.ends.length > 0);
    assert.equal(r.text(), unicode);

    const last = r.due - 1;
    for (const after of [0, last - 1, Math.floor(last / 2), 1]) {
      r.texts.length = after + 1; // to come once more
      r.seek(after);
      await r.until(() => r.ends.length > 1);
      assert.equal(r.ends.pop().type, 'terminal');
      assert.equal(r.text(), unicode);
    }
    r.seek(last);
    await r.until(() => r.ends.length > 1);
    assert.equal(r.ends.pop().type, 'nothing-more');
  });

  test('stop, while one reads, one pauses and one is behind', async () => {
    const session = await client.create({ source: { type: 'generate', prompt: 'a long story', seed: 1, length: 5000 }, unit: 'token', rate: 200 });
    const readers = [read(session.id), read(session.id), read(session.id, { pace: 20 })];
    await readers[0].until(() => readers[0].due > 50);
    readers[1].follow.pause();
    await client.stop(session.id);
    readers[1].follow.resume();
    readers[2].follow.setPace(0);
    const text = await client.text(session.id);
    for (const r of readers) {
      await r.until(() => r.ends.length > 0);
      assert.equal(r.ends[0].event.outcome, 'stopped');
      assert.equal(r.text(), text);
    }
  });

  test('the example of the README', async () => {
    const [, example] = /```ts\nimport .*\n([^]*?)```/.exec(readFileSync(join(frontend, 'src/client/README.md'), 'utf8'));
    const AsyncFunction = (async () => {}).constructor;
    let out = '';
    const logged = [];
    await new AsyncFunction('Client', 'process', 'console', example)(
      function () {
        return client;
      },
      { stdout: { write: (text) => (out += text) } },
      { log: (line) => logged.push(line) },
    );
    const { sessions } = await client.list({ limit: 1 });
    const text = await client.text(sessions[0].id);
    assert.deepEqual(logged, ['\nstopped']);
    assert.equal(out.slice(0, text.length), text);
    assert.ok(text.endsWith(out.slice(text.length)) && out.length > text.length, 'the last events once more');
  });

  test('the question of a session, and a place in it for others', async () => {
    const source = upstream('unicode');
    const session = await client.create({ source, unit: 'rune' });
    assert.deepEqual(await client.source(session.id), source);
    const cursors = await client.cursors(session.id, 1);
    assert.equal(cursors.after, 1);
    assert.equal(cursors.responses.id, `resp_${session.id}`);
    await client.delete(session.id);
  });

  test('all commands', async () => {
    assert.ok((await client.models()).some((model) => model.id === 'demo'));
    const request = { source: { type: 'push' }, unit: 'rune', metadata: { chat: '42' } };
    const key = newKey();
    const session = await client.create(request, { key });
    assert.equal((await client.create(request, { key })).id, session.id);
    await client.append(session.id, { text: 'ab', producer: 'p', seq: 1 });
    await client.append(session.id, { event: 'mine', data: { n: 1 }, producer: 'p', seq: 2 });
    await client.pause(session.id);
    assert.equal((await client.state(session.id)).state, 'paused');
    await client.resume(session.id);
    await client.append(session.id, { text: 'c' });
    await client.finish(session.id);
    const seen = [];
    for await (const event of client.follow(session.id)) seen.push(event.type === 'text' ? event.text : event.type === 'custom' ? event.name : event.type);
    assert.deepEqual(seen, ['session', 'a', 'b', 'mine', 'paused', 'resumed', 'c', 'end']);

    const { last_event_id: last } = await client.state(session.id);
    const ends = [];
    await new Promise((resolve) => client.follow(session.id, { after: last, onEvent: assert.fail, onEnd: (end) => resolve(ends.push(end)) }));
    assert.deepEqual(ends, [{ type: 'nothing-more' }]);

    await client.delete(session.id);
    await assert.rejects(client.state(session.id), (error) => error instanceof ProblemError && (error.status === 404 || error.status === 410));
  });

  test('a cursor ahead of the log is refused for good', async () => {
    const session = await client.create({ source: { type: 'push' } });
    await assert.rejects(
      async () => {
        for await (const event of client.follow(session.id, { after: 1000 })) assert.fail(String(event.id));
      },
      (error) => error instanceof ProblemError && error.status === 416 && error.document.last_event_id === 1,
    );
    await client.stop(session.id);
    await client.stop(session.id);
  });
});
