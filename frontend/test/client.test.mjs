import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fixtures, long, unicode } from './fixtures.mjs';
import { Cleanup, loadClient, startServer, startUpstream } from './harness.mjs';

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
