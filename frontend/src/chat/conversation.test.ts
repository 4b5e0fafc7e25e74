import { describe, expect, test } from 'vitest';
import type { MessageGiven, SourceGiven } from '../client/index.ts';
import { wire, wireDone, wireRange } from '../client/testing.ts';
import { creates, generate, open, said, stateOf, upstream, world, type Stored } from './conversation.harness.ts';
import { harness, inVirtualTime, problem, question, text, tick, type Harness } from './harness.ts';
import { MAX_TURNS } from './turn.ts';

inVirtualTime();

describe('send', () => {
  test('a turn after the other: the one before stays as it was drawn, and the new session names it', async () => {
    const h = world({});
    void h.talk.send({ ...question, prompt: 'one' });
    await tick(1000);
    void h.talk.send({ ...question, prompt: 'two' });
    expect(h.talk).toMatchObject({ prompt: 'two', turns: [{ id: 'n1', prompt: 'one', model: 'demo', text: text(2, 9), outcome: 'done', events: 10 }] });
    expect(h.reading).toMatchObject({ phase: 'sending', cursor: 0 });
    await tick(1000);
    expect(h.reading).toMatchObject({ phase: 'done', id: 'n2' });
    expect(creates(h).map((body) => body['metadata'])).toEqual([{ prompt: 'one' }, { prompt: 'two', previous: 'n1' }]);
    expect(creates(h)[1]!['source']).toMatchObject({ type: 'generate', prompt: 'two' });
    expect(h.entries()).toBe(2);
    expect(h.url()).toBe('/s/n2?at=10');
  });

  test('a question of blanks is none', async () => {
    const h = world({});
    expect(h.talk.send({ ...question, prompt: ' \n' })).toBe(false);
    await tick(100);
    expect(h.reading.phase).toBe('idle');
    expect(h.calls).toEqual([]);
  });

  test('a model is asked with all that was said', async () => {
    const h = world({});
    void h.talk.send({ ...question, prompt: 'one' });
    await tick(1000);
    void h.talk.send({ ...question, prompt: 'two', model: 'p/m' });
    await tick(1000);
    void h.talk.send({ ...question, prompt: 'three', model: 'p/m' });
    await tick(1000);
    const answer = said('assistant', text(2, 9));
    expect(creates(h).map((body) => (body['source'] as { messages?: unknown }).messages)).toEqual([
      undefined,
      [said('user', 'one'), answer, said('user', 'two')],
      [said('user', 'one'), answer, said('user', 'two'), answer, said('user', 'three')],
    ]);
  });

  test('while an answer is under way: it is left where it is', async () => {
    const h = world({}, (l) => l.write(wireRange(1, 5)), (l) => l.write(wireRange(1, 9) + wireDone(10)));
    void h.talk.send({ ...question, prompt: 'one' });
    await tick(300);
    void h.talk.send({ ...question, prompt: 'two' });
    h.lines[0]!.write(wireRange(6, 9));
    await tick(1000);
    expect(h.lines[0]!.aborted).toBe(true);
    expect(h.talk.turns).toMatchObject([{ id: 'n1', text: text(2, 5), outcome: 'left', events: 5 }]);
    expect(h.reading).toMatchObject({ id: 'n2', phase: 'done' });
    expect(h.answer.text).toBe(text(2, 9));
    expect(h.calls.some((call) => call.url.endsWith('/stop'))).toBe(false);
  });

  test('twice before the first is there: the second is not taken, and the page says why', async () => {
    let away = true;
    const h = harness([(l) => l.write(wireRange(1, 9))], {}, undefined, (url) => (away && url === '/v1/sessions' ? problem(503, 'unavailable', 'not now') : undefined));
    expect(h.talk.send({ ...question, prompt: 'one' })).toBe(true);
    await tick(100);
    expect(h.talk.send({ ...question, prompt: 'two' })).toBe(false);
    expect(h.reading).toMatchObject({ phase: 'sending', trouble: { title: 'This question is not sent', detail: 'the one before it is still on its way' } });
    away = false;
    await tick(10_000);
    expect(h.talk).toMatchObject({ prompt: 'one', turns: [] });
    expect(h.reading).toMatchObject({ phase: 'live', trouble: undefined });
    expect(h.talk.send({ ...question, prompt: 'two' })).toBe(true);
    await tick(100);
    expect(h.talk).toMatchObject({ prompt: 'two', turns: [{ prompt: 'one' }] });
    expect(creates(h).map((body) => (body['metadata'] as { prompt: string }).prompt)).toEqual(['one', 'one', 'two']);
  });

  for (const [speed, want] of [
    [30, { phase: 'live', pace: 30, stepping: false }],
    ['step', { phase: 'paused', pace: 0, stepping: true }],
  ] as const) {
    test(`the speed is what it is when the session begins: ${speed}`, async () => {
      let answer: ((response: Response) => void) | undefined;
      const h = harness([(l) => l.write(wire(1))], {}, undefined, (url) => (url === '/v1/sessions' ? new Promise<Response>((resolve) => (answer = resolve)) : undefined));
      h.talk.send({ ...question, speed: 120 });
      await tick(10);
      expect(h.reading).toMatchObject({ phase: 'sending', pace: 120 });
      h.reading.setSpeed(speed);
      answer!(stateOf('s1', { state: 'running' }));
      await tick(100);
      expect(h.reading).toMatchObject({ id: 's1', ...want });
    });
  }

  test('refused: again asks the same, after the same turns', async () => {
    let refused = false;
    const h = harness([(l) => l.write(wireRange(1, 9) + wireDone(10))], {}, () => {
      if (!refused && creates(h).length > 1) {
        refused = true;
        return problem(400, 'invalid_field', 'no');
      }
      return new Response(JSON.stringify({ id: `n${creates(h).length}`, state: 'running', source: { type: 'generate' }, unit: 'token', last_event_id: 1 }));
    });
    void h.talk.send({ ...question, prompt: 'one' });
    await tick(1000);
    void h.talk.send({ ...question, prompt: 'two' });
    await tick(1000);
    expect(h.reading).toMatchObject({ phase: 'refused', id: '' });
    expect(h.talk).toMatchObject({ repeatable: true, prompt: 'two', turns: [{ id: 'n1' }] });
    expect(h.talk.again()).toBe(true);
    await tick(1000);
    expect(h.reading).toMatchObject({ phase: 'done', id: 'n3' });
    expect(h.talk.turns).toHaveLength(1);
    expect(creates(h)[2]).toEqual(creates(h)[1]);
  });

  test('after a session that is gone: it is a turn that says so', async () => {
    const h = world({}, () => problem(410, 'session_expired', 'gone'), (l) => l.write(wireRange(1, 3)));
    open(h, 's1');
    await tick(100);
    expect(h.reading.phase).toBe('refused');
    void h.talk.send({ ...question, prompt: 'two' });
    await tick(100);
    expect(h.talk.turns).toMatchObject([{ id: 's1', outcome: 'gone', why: 'This session has expired' }]);
    expect(creates(h)[0]!['metadata']).toEqual({ prompt: 'two', previous: 's1' });
  });

  test('the address of the turn before is up to date when the history moves on', async () => {
    const moves: string[] = [];
    const h = world({}, (l) => l.write(wireRange(1, 5)));
    void h.talk.send({ ...question, prompt: 'one' });
    await tick(300);
    expect(h.pending()).toBe(true);
    void h.talk.send({ ...question, prompt: 'two' });
    expect(h.pending()).toBe(false);
    moves.push(h.url());
    await tick(10);
    moves.push(h.url());
    expect(moves).toEqual(['/s/n1?at=5', '/s/n2?at=0']);
  });
});

describe('what was asked before', () => {
  const long = 'x'.repeat(2000);
  const cut = long.slice(0, 512);
  const asked = upstream(said('user', 'earlier'), said('assistant', 'said'), said('user', long));
  const contents = (h: Harness): unknown => (creates(h)[0]!['source'] as { messages: MessageGiven[] }).messages.map((message) => message.content);

  /** A server that fails on a source as long as it is told to. */
  function failing(failure: () => Response): Harness & { mend(): void } {
    let broken = true;
    const c: Stored = { source: asked, prompt: cut };
    const h = harness([(l) => l.write(wireRange(1, 9) + wireDone(10))], {}, undefined, (url) => {
      if (url === '/v1/sessions') return stateOf('n1', { state: 'running', source: asked });
      if (url.endsWith('/source')) return broken ? failure() : new Response(JSON.stringify(asked));
      return stateOf('c', c);
    });
    return Object.assign(h, { mend: () => void (broken = false) });
  }

  test('its beginning is shown until it is there, and is sent to nobody', async () => {
    const h = failing(() => {
      throw new TypeError('connection refused');
    });
    open(h, 'c');
    await tick(1000);
    expect(h.talk.prompt).toBe(cut);
    h.talk.send({ ...question, model: 'p/m', prompt: 'two' });
    await tick(10_000);
    expect(h.reading).toMatchObject({ phase: 'sending', trouble: { title: 'The server cannot be reached', detail: 'it does not answer; trying again' } });
    expect(creates(h)).toEqual([]);
    h.mend();
    await tick(5000);
    expect(contents(h)).toEqual(['earlier', 'said', long, text(2, 9), 'two']);
    expect(h.talk.turns.at(-1)).toMatchObject({ prompt: long });
  });

  test('that cannot be had: the page says so, and Try again asks for it once more', async () => {
    const h = failing(() => problem(500, 'internal_error', 'oops'));
    open(h, 'c');
    await tick(1000);
    h.talk.send({ ...question, model: 'p/m', prompt: 'two' });
    await tick(1000);
    expect(h.reading).toMatchObject({ phase: 'refused', trouble: { title: 'What was asked before cannot be read', detail: 'oops' } });
    expect(h.talk).toMatchObject({ prompt: 'two', repeatable: true });
    expect(creates(h)).toEqual([]);
    h.mend();
    h.talk.again();
    await tick(1000);
    expect(contents(h)).toEqual(['earlier', 'said', long, text(2, 9), 'two']);
  });

  test('of a session that was gone when it was opened there is nothing to ask with', async () => {
    const h = world({}, () => problem(410, 'session_expired', 'gone'), (l) => l.write(wireRange(1, 3)));
    open(h, 's1');
    await tick(100);
    h.talk.send({ ...question, model: 'p/m', prompt: 'two' });
    await tick(100);
    expect(contents(h)).toEqual(['two']);
  });

  test('a failure that passes makes no turn gone', async () => {
    let failures = 2;
    const a: Stored = { text: 'first', source: generate('one') };
    const h = world({
      a: {
        ...a,
        instead: () => {
          if (failures-- > 0) throw new TypeError('connection refused');
          return stateOf('a', a);
        },
      },
      c: { previous: 'a' },
    });
    open(h, 'c');
    await tick(5000);
    expect(h.talk.turns).toMatchObject([{ id: 'a', prompt: 'one', text: 'first', outcome: 'done' }]);
  });
});

describe('again', () => {
  test('after a reading that was refused: the same session at the same place', async () => {
    for (const [speed, want] of [
      [30, { phase: 'live', pace: 30, stepping: false, cursor: 9 }],
      ['step', { phase: 'paused', pace: 0, stepping: true, cursor: 5 }],
    ] as const) {
      const h = world({}, (l) => l.write(wireRange(1, 5)), () => problem(416, 'cursor_ahead', 'less than that'), (l) => l.write(wireRange(l.after + 1, 9)));
      h.talk.send({ ...question, prompt: 'one', speed: 0 });
      await tick(1000);
      h.lines[0]!.reset();
      await tick(2000);
      expect(h.reading).toMatchObject({ phase: 'refused', id: 'n1', cursor: 5 });
      h.reading.setSpeed(speed);
      expect(h.talk.repeatable).toBe(true);
      expect(h.talk.again()).toBe(true);
      await tick(1000);
      expect(h.reading).toMatchObject({ id: 'n1', trouble: undefined, ...want });
      expect(h.talk.prompt).toBe('one');
      expect(creates(h)).toHaveLength(1);
      expect(h.entries()).toBe(1);
    }
  });

  test('not of a session that is no more', async () => {
    const h = world({}, () => problem(410, 'session_expired', 'gone'));
    open(h, 's1');
    await tick(100);
    expect(h.reading.phase).toBe('refused');
    expect(h.talk.again()).toBe(false);
  });
});

describe('an address', () => {
  test('the turns before are read, and the whole question', async () => {
    const long = 'x'.repeat(600);
    const h = world({
      a: { text: 'first', source: generate('one') },
      b: { text: 'second', source: upstream(said('user', 'one'), said('assistant', 'first'), said('user', 'two')), previous: 'a', state: 'stopped' },
      c: { previous: 'b', source: generate(long) },
    });
    open(h, 'c');
    await tick(1000);
    expect(h.talk.turns).toMatchObject([
      { id: 'a', prompt: 'one', model: 'demo', text: 'first', outcome: 'done', events: 7 },
      { id: 'b', prompt: 'two', model: 'p/m', text: 'second', outcome: 'stopped', events: 8 },
    ]);
    expect(h.talk.prompt).toBe(long);
    expect(h.entries()).toBe(0);
  });

  test('until the whole question is there, its beginning', async () => {
    const h = world({ c: { source: generate('whole') } });
    open(h, 'c');
    expect(h.talk.prompt).toBe('');
    await tick(1000);
    expect(h.talk.prompt).toBe('whole');
    const g = world({ c: { source: { type: 'push' }, prompt: 'pushed' } });
    open(g, 'c');
    await tick(1000);
    expect(g.talk.prompt).toBe('pushed');
  });

  test('a session under way before it is told as that', async () => {
    const h = world({ a: { state: 'running', text: 'so far' }, c: { previous: 'a' } });
    open(h, 'c');
    await tick(1000);
    expect(h.talk.turns).toMatchObject([{ id: 'a', text: 'so far', outcome: 'running' }]);
  });

  for (const [how, instead, why] of [
    ['gone', () => problem(410, 'session_expired', 'gone'), 'This session has expired'],
    ['not there', () => problem(404, 'session_not_found', 'no such session'), 'There is no such session'],
    ['not given', () => problem(500, 'internal_error', 'oops'), 'The server refused'],
    ['nonsense', () => new Response('<html>'), 'It could not be read'],
  ] as const) {
    test(`a turn that is ${how} says so and ends the chain`, async () => {
      const h = world({ a: {}, b: { previous: 'a', instead }, c: { previous: 'b', text: 'third' }, d: { previous: 'c' } });
      open(h, 'd');
      await tick(1000);
      expect(h.talk.turns).toMatchObject([
        { id: 'b', outcome: 'gone', why, text: '' },
        { id: 'c', text: 'third', outcome: 'done' },
      ]);
      expect(h.reading).toMatchObject({ phase: 'done', trouble: undefined });
      expect(h.calls.some((call) => call.url === '/v1/sessions/a')).toBe(false);
    });
  }

  test('a slow turn keeps nobody waiting', async () => {
    let answer: ((response: Response) => void) | undefined;
    const h = world({ a: { text: 'first', instead: () => new Promise<Response>((resolve) => (answer = resolve)) }, c: { previous: 'a' } });
    open(h, 'c');
    await tick(1000);
    expect(h.reading).toMatchObject({ phase: 'done', cursor: 10 });
    expect(h.answer.text).toBe(text(2, 9));
    expect(h.talk.turns).toEqual([]);
    answer!(stateOf('a', { text: 'first' }));
    await tick(10);
    expect(h.talk.turns).toMatchObject([{ id: 'a', text: 'first' }]);
  });

  test('a turn that comes when the conversation was left is nobody’s', async () => {
    let answer: ((response: Response) => void) | undefined;
    const h = world({ a: { instead: () => new Promise<Response>((resolve) => (answer = resolve)) }, c: { previous: 'a' }, d: {} });
    open(h, 'c');
    await tick(1000);
    open(h, 'd');
    answer!(stateOf('a', { text: 'first' }));
    await tick(1000);
    expect(h.talk).toMatchObject({ turns: [], prompt: 'd' });
  });

  test('a question to a model waits for what was said before it', async () => {
    let answer: ((response: Response) => void) | undefined;
    const h = world({ a: { text: 'first', source: generate('one'), instead: () => new Promise<Response>((resolve) => (answer = resolve)) }, c: { previous: 'a', source: generate('two') } });
    open(h, 'c');
    await tick(1000);
    void h.talk.send({ ...question, model: 'p/m', prompt: 'three' });
    await tick(1000);
    expect(h.reading.phase).toBe('sending');
    answer!(stateOf('a', { text: 'first' }));
    await tick(100);
    expect((creates(h)[0]!['source'] as { messages: unknown }).messages).toEqual([
      said('user', 'one'),
      said('assistant', 'first'),
      said('user', 'two'),
      said('assistant', text(2, 9)),
      said('user', 'three'),
    ]);
    expect(h.talk.turns.map((turn) => turn.prompt)).toEqual(['one', 'two']);
  });

  test('the demo does not wait: it is asked with its prompt alone', async () => {
    const h = world({ a: { instead: () => new Promise<Response>(() => {}) }, c: { previous: 'a' } });
    open(h, 'c');
    await tick(1000);
    void h.talk.send({ ...question, prompt: 'three' });
    await tick(1000);
    expect(h.reading).toMatchObject({ id: 'n1', phase: 'done' });
    expect(creates(h)[0]).toMatchObject({ source: { type: 'generate', prompt: 'three' }, metadata: { previous: 'c' } });
  });

  test('a question to a model, of a session that the server had not told of yet', async () => {
    let away = true;
    const c: Stored = { previous: 'a', source: generate('two') };
    const h = world({
      a: { text: 'first', source: generate('one') },
      c: {
        ...c,
        instead: () => {
          if (away) throw new TypeError('connection refused');
          return stateOf('c', c);
        },
      },
    });
    open(h, 'c');
    await tick(100);
    void h.talk.send({ ...question, model: 'p/m', prompt: 'three' });
    await tick(1000);
    away = false;
    await tick(5000);
    expect((creates(h)[0]!['source'] as { messages: MessageGiven[] }).messages.map((message) => message.content)).toEqual(['one', 'first', 'two', text(2, 9), 'three']);
  });

  test('without a turn before, the messages that a model was asked with are turns', async () => {
    const source = upstream(said('system', 'be brief'), said('user', 'one'), said('assistant', 'first'), said('user', 'two'));
    const h = world({ c: { source: { ...source, dialect: 'chat' } as SourceGiven } });
    open(h, 'c');
    await tick(1000);
    expect(h.talk).toMatchObject({ prompt: 'two', turns: [{ id: '', prompt: 'one', text: 'first', outcome: 'given', model: 'p/m' }] });
    void h.talk.send({ ...question, model: 'p/m', prompt: 'three' });
    await tick(1000);
    expect((creates(h)[0]!['source'] as { messages: unknown }).messages).toEqual([...source['messages' as 'type'], said('assistant', text(2, 9)), said('user', 'three')]);
  });

  test('contents of several parts, and messages of another protocol', async () => {
    const parts = [{ type: 'text', text: 'what ' }, { type: 'image_url' }, { type: 'text', text: 'is this' }];
    const source: SourceGiven = { type: 'upstream', model: 'p/m', dialect: 'responses', messages: [{ role: 'user', content: parts }] };
    const h = world({ c: { source } });
    open(h, 'c');
    await tick(1000);
    expect(h.talk.prompt).toBe('what is this');
    void h.talk.send({ ...question, model: 'p/m', prompt: 'and this' });
    await tick(1000);
    expect((creates(h)[0]!['source'] as { messages: MessageGiven[] }).messages.map((message) => message.content)).toEqual(['what is this', text(2, 9), 'and this']);
  });

  test('too many turns: the page says where they go on', async () => {
    const sessions: Record<string, Stored> = {};
    for (let i = 0; i < MAX_TURNS + 5; i++) sessions[`t${i}`] = { ...(i > 0 ? { previous: `t${i - 1}` } : {}) };
    const h = world(sessions);
    open(h, `t${MAX_TURNS + 4}`);
    await tick(1000);
    expect(h.talk.turns).toHaveLength(MAX_TURNS);
    expect(h.talk.earlier).toBe('t3');
  });

  test('a chain that bites its tail ends', async () => {
    const h = world({ a: { previous: 'b' }, b: { previous: 'a' }, c: { previous: 'b' } });
    open(h, 'c');
    await tick(1000);
    expect(h.talk.turns.map((turn) => turn.id)).toEqual(['a', 'b']);
  });

  test('back and forward: each entry shows its session, and nothing of the other', async () => {
    const h = world({ a: { text: 'first' }, b: { previous: 'a', text: 'second' } });
    open(h, 'b');
    await tick(1000);
    open(h, 'a', 5);
    expect(h.talk).toMatchObject({ turns: [], prompt: '' });
    expect(h.answer.text).toBe('');
    await tick(1000);
    expect(h.talk).toMatchObject({ turns: [], prompt: 'a' });
    expect(h.reading.id).toBe('a');
    open(h, 'b');
    await tick(1000);
    expect(h.talk.turns.map((turn) => turn.id)).toEqual(['a']);
    expect(h.entries()).toBe(0);
  });
});
