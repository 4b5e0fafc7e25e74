import { describe, expect, test } from 'vitest';
import { wire, wireDone, wireRange } from '../client/testing.ts';
import { creates, generate, open, said, upstream, world } from './conversation.harness.ts';
import { harness, inVirtualTime, problem, question, text, tick } from './harness.ts';

inVirtualTime();

describe('regenerate', () => {
  test('asks the same for another answer, in the place of this one', async () => {
    const h = world({ a: { text: 'first' }, c: { previous: 'a', source: { type: 'generate', prompt: 'two', seed: 7, length: 40 } } });
    open(h, 'c');
    await tick(1000);
    expect(h.talk).toMatchObject({ canRegenerate: true, canGoOn: false });
    void h.talk.regenerate();
    void h.talk.regenerate();
    expect(h.talk.busy).toBe(true);
    expect(h.answer.text).toBe(text(2, 9)); // until there is another
    await tick(1000);
    expect(creates(h)).toEqual([{ source: { type: 'generate', prompt: 'two', length: 40 }, unit: 'word', metadata: { prompt: 'short c', previous: 'a' } }]);
    expect(h.talk).toMatchObject({ busy: false, prompt: 'two', turns: [{ id: 'a' }] });
    expect(h.reading).toMatchObject({ id: 'n1', phase: 'done' });
    expect(h.entries()).toBe(1);
  });

  test('of a model, with all that it was asked with', async () => {
    const source = upstream(said('system', 'be brief'), said('user', 'one'));
    const h = world({ c: { source } });
    open(h, 'c');
    await tick(1000);
    void h.talk.regenerate();
    await tick(1000);
    expect(creates(h)[0]!['source']).toEqual(source);
  });

  test('at the speed that is chosen meanwhile', async () => {
    const h = world({ c: { source: generate('one') } });
    open(h, 'c');
    await tick(1000);
    void h.talk.regenerate();
    h.reading.setSpeed(30);
    await tick(1000);
    expect(h.reading).toMatchObject({ id: 'n1', pace: 30 });
  });

  test('of what was sent on this page', async () => {
    const h = world({});
    void h.talk.send({ ...question, prompt: 'one' });
    await tick(1000);
    void h.talk.regenerate();
    await tick(1000);
    expect(creates(h)[1]).toMatchObject({ source: { type: 'generate', prompt: 'one' }, metadata: { prompt: 'one' } });
    void h.talk.send({ ...question, prompt: 'two' });
    await tick(1000);
    expect(creates(h)[2]!['metadata']).toEqual({ prompt: 'two', previous: 'n2' });
  });

  test('that does not get through leaves the answer on the page', async () => {
    const h = harness([(l) => l.write(wireRange(1, 9) + wireDone(10))], { state: 'done' }, () => problem(507, 'storage_full', 'no room'), (url) => (url.endsWith('/source') ? new Response(JSON.stringify(generate('one'))) : undefined));
    open(h, 's1');
    await tick(1000);
    void h.talk.regenerate();
    await tick(100);
    expect(h.reading).toMatchObject({ phase: 'done', cursor: 10, trouble: { title: 'Regenerate has not got through yet', detail: 'no room; trying again' } });
    expect(h.answer.text).toBe(text(2, 9));
    h.talk.leave();
    await tick(10_000);
    expect(creates(h)).toHaveLength(1);
  });

  test('not of a text that was pushed or given, nor before the end', async () => {
    for (const source of [{ type: 'push' }, { type: 'text', text: 'x' }] as const) {
      const h = world({ c: { source } });
      open(h, 'c');
      await tick(1000);
      expect(h.reading.phase).toBe('done');
      expect(h.talk).toMatchObject({ canRegenerate: false, repeatable: false });
      expect(h.talk.again()).toBe(false);
    }
    const h = world({}, (l) => l.write(wireRange(1, 9)));
    void h.talk.send(question);
    await tick(1000);
    expect(h.talk.canRegenerate).toBe(false);
    void h.talk.regenerate();
    await tick(1000);
    expect(creates(h)).toHaveLength(1);
  });
});

describe('goOn', () => {
  const broken = (last: number, name = 'interrupted'): string => `${wireRange(1, last - 1)}id: ${last}\nevent: ${name}\ndata: {"reason":"restart"}\n\n`;
  const seam = (id: number): string => `id: ${id}\nevent: seam\ndata: {"by":"prefill","offset":9}\n\n`;
  const source = upstream(said('user', 'one'));

  test('continues an answer that broke off: what there was comes at once, the rest at the reader’s pace', async () => {
    const h = world({ c: { source, state: 'interrupted', previous: 'a' }, a: {} }, (l) => l.write(broken(10)), (l) => l.write(wireRange(1, 7) + seam(8) + wireRange(9, 30)), (l) => l.write(wireRange(l.after + 1, 12) + wireDone(13)));
    void h.talk.open({ id: 'c', at: 10, paused: false, pace: 0 });
    await tick(1000);
    h.reading.setPace(30);
    expect(h.talk).toMatchObject({ canGoOn: true, canRegenerate: true });
    void h.talk.goOn();
    void h.talk.goOn();
    await tick(20);
    const commands = h.calls.filter((call) => call.url === '/v1/sessions/c/continue');
    expect(commands).toHaveLength(1);
    expect(commands[0]!.key).toMatch(/^[0-9a-f]{32}$/);
    expect(h.lines[1]!.url).toBe('/v1/sessions/n1/events?after=0');
    expect(h.lines[2]!.url).toBe('/v1/sessions/n1/events?pace=30');
    expect(h.lines[2]!.after).toBe(8);
    await tick(1000);
    expect(h.reading).toMatchObject({ id: 'n1', phase: 'done', cursor: 13, seams: [{ id: 8, by: 'prefill' }] });
    expect(h.answer.text).toBe(text(2, 7) + text(9, 12));
    expect(h.talk.turns.map((turn) => turn.id)).toEqual(['a']);
    expect(h.entries()).toBe(1);
    expect(h.url()).toBe('/s/n1?at=13&pace=30');
  });

  test('until the seam is there, the address names no event: a reload does not replay what there was', async () => {
    const h = world({ c: { source } }, (l) => l.write(broken(10)), (l) => l.write(wireRange(1, 7)));
    open(h, 'c');
    await tick(1000);
    h.reading.setPace(30);
    void h.talk.goOn();
    await tick(1000);
    expect(h.url()).toBe('/s/n1?pace=30');
    h.lines[1]!.write(seam(8));
    await tick(100);
    expect(h.url()).toBe('/s/n1?at=8&pace=30');
  });

  test('as long as the server is away it is asked for again, by the same key', async () => {
    let away = true;
    const h = harness([(l) => l.write(broken(10)), (l) => l.write(wireRange(1, 3))], { source: { type: 'upstream', model: 'p/m' } }, undefined, (url) => {
      if (!url.endsWith('/continue')) return undefined;
      if (away) throw new TypeError('connection refused');
      return new Response(JSON.stringify({ id: 's2', state: 'running', source: { type: 'upstream', model: 'p/m' }, unit: 'token', last_event_id: 1 }));
    });
    open(h, 's1');
    await tick(100);
    void h.talk.goOn();
    await tick(100);
    expect(h.reading).toMatchObject({ phase: 'interrupted', trouble: { title: 'Continue has not got through yet', detail: 'it does not answer; trying again' } });
    away = false;
    await tick(5000);
    expect(h.reading).toMatchObject({ id: 's2', phase: 'live', trouble: undefined });
    expect(new Set(h.calls.filter((call) => call.url.endsWith('/continue')).map((call) => call.key)).size).toBe(1);
  });

  test('refused, it says why, and the text stays', async () => {
    const h = harness([(l) => l.write(broken(10))], { source: { type: 'upstream', model: 'p/m' } }, undefined, (url) => (url.endsWith('/continue') ? problem(400, 'invalid_field', 'no upstream has this model') : undefined));
    open(h, 's1');
    await tick(100);
    void h.talk.goOn();
    await tick(100);
    expect(h.reading).toMatchObject({ phase: 'interrupted', trouble: { title: 'Continue did not get through', detail: 'no upstream has this model' } });
    expect(h.answer.text).toBe(text(2, 9));
    expect(h.talk).toMatchObject({ busy: false, canGoOn: true });
  });

  test('not of an answer that is done, called a tool, has no text, or is no model’s', async () => {
    const tool = `${wire(1)}id: 2\nevent: tool_call\ndata: {"name":"f"}\n\nid: 3\nevent: failed\ndata: {}\n\n`;
    for (const [wired, given, want] of [
      [broken(10, 'failed'), source, true],
      [broken(10, 'stopped'), source, true],
      [tool, source, false],
      [`${wire(1)}id: 2\nevent: failed\ndata: {}\n\n`, source, false],
      [wireRange(1, 9) + wireDone(10), source, false],
      [broken(10), generate('one'), false],
    ] as const) {
      const h = world({ c: { source: given } }, (l) => l.write(wired));
      open(h, 'c');
      await tick(1000);
      expect(h.talk.canGoOn).toBe(want);
      void h.talk.goOn();
      await tick(10);
      expect(h.calls.some((call) => call.url.endsWith('/continue'))).toBe(want);
    }
  });

  test('by steps: it pauses at the seam', async () => {
    const h = world({ c: { source } }, (l) => l.write(broken(10)), (l) => l.write(wireRange(1, 7) + seam(8) + wireRange(9, 30)));
    open(h, 'c');
    await tick(1000);
    h.reading.setSpeed('step');
    void h.talk.goOn();
    await tick(100);
    expect(h.reading).toMatchObject({ id: 'n1', phase: 'paused', cursor: 8, stepping: true });
    expect(h.url()).toBe('/s/n1?at=8&paused=1');
  });
});
