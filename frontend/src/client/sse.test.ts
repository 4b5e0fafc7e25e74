import { describe, expect, test } from 'vitest';
import { EventTooLargeError, Parser } from './sse.ts';

interface Seen {
  events: { name: string; data: string; id: string | undefined; last: string }[];
  comments: string[];
  retries: number[];
  lastEventId: string;
}

function parse(chunks: Uint8Array[]): Seen {
  const seen: Seen = { events: [], comments: [], retries: [], lastEventId: '' };
  const parser = new Parser({
    event: (e) => seen.events.push({ name: e.name, data: e.data, id: e.id, last: e.lastEventId }),
    comment: (c) => seen.comments.push(c),
    retry: (ms) => seen.retries.push(ms),
  });
  for (const chunk of chunks) parser.push(chunk);
  seen.lastEventId = parser.lastEventId;
  return seen;
}

const event = (data: string, rest: Partial<Seen['events'][number]> = {}): Seen['events'][number] => ({
  name: '',
  data,
  id: undefined,
  last: rest.id ?? '',
  ...rest,
});

/** The standard's words as they stand, over the whole text. */
function reference(text: string): Seen {
  const seen: Seen = { events: [], comments: [], retries: [], lastEventId: '' };
  let [name, data, id, buffer] = ['', [] as string[], undefined as string | undefined, ''];
  const lines = text.replace(/^\uFEFF/, '').split(/\r\n|\r|\n/);
  for (const line of lines.slice(0, -1)) {
    const [, field, value] = /^([^:]*)(?::\x20?([^]*))?$/.exec(line)!;
    if (line === '') {
      seen.lastEventId = buffer;
      if (data.length > 0) seen.events.push({ name, data: data.join('\n'), id, last: buffer });
      [name, data, id] = ['', [], undefined];
    } else if (field === '') seen.comments.push(line.slice(1));
    else if (field === 'data') data.push(value ?? '');
    else if (field === 'event') name = value ?? '';
    else if (field === 'id' && !value?.includes('\0')) id = buffer = value ?? '';
    else if (field === 'retry' && /^[0-9]+$/.test(value ?? '')) seen.retries.push(Number(value));
  }
  return seen;
}

const cases: { name: string; input: string; want: Partial<Seen> }[] = [
  { name: 'nothing', input: '', want: { events: [] } },
  { name: 'one event', input: 'data: a\n\n', want: { events: [event('a')] } },
  { name: 'CR', input: 'data: a\r\rdata: b\r\r', want: { events: [event('a'), event('b')] } },
  { name: 'CRLF', input: 'data: a\r\n\r\ndata: b\r\n\r\n', want: { events: [event('a'), event('b')] } },
  { name: 'mixed line ends', input: 'data: a\r\ndata: b\rdata: c\n\r\n', want: { events: [event('a\nb\nc')] } },
  { name: 'CR then empty line by LF', input: 'data: a\r\n\ndata: b\n\n', want: { events: [event('a'), event('b')] } },
  { name: 'LF CR is two line ends', input: 'data: a\n\rdata: b\n\r', want: { events: [event('a'), event('b')] } },
  { name: 'CR CRLF is two line ends', input: 'data: a\r\r\ndata: b\r\r\n', want: { events: [event('a'), event('b')] } },
  { name: 'line ends before all', input: '\r\n\r\n\rdata: a\n\n', want: { events: [event('a')] } },
  { name: 'leading BOM', input: '\uFEFFdata: a\n\n', want: { events: [event('a')] } },
  { name: 'only one BOM is dropped', input: '\uFEFF\uFEFFdata: a\n\ndata: b\n\n', want: { events: [event('b')] } },
  { name: 'BOM later is text', input: 'data: \uFEFFa\n\n', want: { events: [event('\uFEFFa')] } },
  { name: 'BOM before a line of its own', input: '\uFEFF\ndata: a\n\n', want: { events: [event('a')] } },
  { name: 'unfinished event', input: 'data: a\n\ndata: b\n', want: { events: [event('a')] } },
  { name: 'unfinished line', input: 'data: a\n\ndata: b', want: { events: [event('a')] } },
  { name: 'unfinished id does not count', input: 'id: 1\ndata: a\n\nid: 2\ndata: b\n', want: { lastEventId: '1' } },
  { name: 'one space after the colon', input: 'data:a\n\ndata:  a\n\n', want: { events: [event('a'), event(' a')] } },
  { name: 'several data lines', input: 'data: a\ndata\ndata: \ndata:b\n\n', want: { events: [event('a\n\n\nb')] } },
  { name: 'bare data is an empty event', input: 'data\n\n', want: { events: [event('')] } },
  { name: 'no data, no event', input: 'event: x\nid: 4\n\n', want: { events: [], lastEventId: '4' } },
  { name: 'the name does not stay', input: 'event: x\n\ndata: a\n\n', want: { events: [event('a')] } },
  { name: 'bare name is none', input: 'event: x\nevent\ndata: a\n\n', want: { events: [event('a')] } },
  { name: 'name', input: 'event: done\ndata: {}\n\n', want: { events: [event('{}', { name: 'done' })] } },
  { name: 'last name wins', input: 'event: a\nevent: b\ndata: c\n\n', want: { events: [event('c', { name: 'b' })] } },
  {
    name: 'id stays in force',
    input: 'id: 7\ndata: a\n\ndata: b\n\n',
    want: { events: [event('a', { id: '7' }), event('b', { last: '7' })] },
  },
  {
    name: 'empty id resets',
    input: 'id: 7\ndata: a\n\nid\ndata: b\n\n',
    want: { events: [event('a', { id: '7' }), event('b', { id: '', last: '' })], lastEventId: '' },
  },
  {
    name: 'id with NUL is ignored',
    input: 'id: 7\ndata: a\n\nid: 8\0\ndata: b\n\n',
    want: { events: [event('a', { id: '7' }), event('b', { last: '7' })] },
  },
  {
    name: 'an id counts when its event is dispatched, though that has no data',
    input: 'id: 7\n\ndata: a\n\nid: 8',
    want: { events: [event('a', { last: '7' })], lastEventId: '7' },
  },
  { name: 'last id wins', input: 'id: 7\nid: 8\ndata: a\n\n', want: { events: [event('a', { id: '8' })], lastEventId: '8' } },
  { name: 'id keeps its spaces but one', input: 'id:  7 \ndata: a\n\n', want: { events: [event('a', { id: ' 7 ' })] } },
  { name: 'case matters', input: 'Data: a\nDATA: b\ndata: c\n\n', want: { events: [event('c')] } },
  { name: 'space before the colon', input: 'data : a\ndata: b\n\n', want: { events: [event('b')] } },
  { name: 'unknown fields', input: 'foo: a\nbar\ndata: b\n\n', want: { events: [event('b')] } },
  { name: 'comments', input: ': ka\n:\ndata: a\n: in it\n\n', want: { comments: [' ka', '', ' in it'], events: [event('a')] } },
  { name: 'retry', input: 'retry: 1000\nretry: 1s\nretry:\nretry: -1\nretry:20\n\n', want: { retries: [1000, 20] } },
  { name: 'retry in digits of ASCII alone', input: 'retry:  5\nretry: 5 \nretry: +5\nretry: 1e3\nretry: 0x5\nretry: ٣\nretry: 007\n', want: { retries: [7] } },
  { name: 'retry counts at once', input: 'retry: 5', want: { retries: [] } },
  { name: 'colon in the value', input: 'data: a: b:c\n\n', want: { events: [event('a: b:c')] } },
  {
    name: 'unicode',
    input: 'data: naïve 👩‍👩‍👧 日本語\nid: 1\n\n',
    want: { events: [event('naïve 👩‍👩‍👧 日本語', { id: '1' })] },
  },
  {
    name: 'the native protocol',
    input: 'retry: 1000\n: ka\n\nid: 1\nevent: session\ndata: {"id":"x"}\n\nid: 2\ndata: {"text":"Hel"}\n\nevent: ping\ndata: {"at":2}\n\n',
    want: {
      events: [
        event('{"id":"x"}', { name: 'session', id: '1' }),
        event('{"text":"Hel"}', { id: '2' }),
        event('{"at":2}', { name: 'ping', last: '2' }),
      ],
      comments: [' ka'],
      retries: [1000],
    },
  },
];

describe('Parser', () => {
  for (const { name, input, want } of cases) {
    const bytes = new TextEncoder().encode(input);

    test(`${name}: whole`, () => {
      expect(parse([bytes])).toMatchObject(want);
    });

    test(`${name}: byte by byte`, () => {
      expect(parse([...bytes].map((b) => Uint8Array.of(b)))).toMatchObject(want);
    });

    test(`${name}: cut at every byte`, () => {
      const whole = parse([bytes]);
      for (let cut = 0; cut <= bytes.length; cut++) {
        expect(parse([bytes.subarray(0, cut), new Uint8Array(), bytes.subarray(cut)]), `cut at ${cut}`).toEqual(whole);
      }
    });
  }

  test('streams made by chance, cut by chance, are read as the standard says', () => {
    let seed = 1;
    const below = (n: number): number => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return Math.floor((seed / 2 ** 32) * n);
    };
    const parts = ['data: a\n', 'data:b\r', 'id: 7\r\n', 'event: x\n', 'retry: 5\r', 'data', 'event', 'id', 'retry', 'Data', ':', ':', ': ', ' ', '7', 'a', 'é', '👩‍👩‍👧', '\0', '\uFEFF', '\r', '\n', '\n', '\r\n', '\n\n', '\r\r', '\r\n\r\n'];
    let events = 0;
    for (let i = 0; i < 5000; i++) {
      let text = below(5) === 0 ? '\uFEFF' : '';
      for (let n = below(40); n > 0; n--) text += parts[below(parts.length)];
      const bytes = new TextEncoder().encode(text);
      const chunks: Uint8Array[] = [];
      for (let at = 0; at < bytes.length; ) chunks.push(bytes.subarray(at, (at += 1 + below(8))));
      const want = reference(text);
      expect(parse(chunks), JSON.stringify(text)).toEqual(want);
      events += want.events.length;
    }
    expect(events).toBeGreaterThan(1000);
  });

  test('an event is dispatched without waiting for the LF of a CRLF', () => {
    expect(parse([new TextEncoder().encode('data: a\r\n\r')]).events).toHaveLength(1);
  });

  test('invalid UTF-8 becomes U+FFFD', () => {
    const bytes = Uint8Array.of(...new TextEncoder().encode('data: '), 0xff, 0x0a, 0x0a);
    expect(parse([bytes]).events).toEqual([event('\uFFFD')]);
  });

  test('size limit', () => {
    const push = (input: string, size = 7): void => {
      const parser = new Parser({ event: () => {} }, { maxEventSize: 16 });
      const bytes = new TextEncoder().encode(input);
      for (let i = 0; i < bytes.length; i += size) parser.push(bytes.subarray(i, i + size));
    };
    push('data: 0123456789\n\n'.repeat(20)); // 16 each
    expect(() => push('data: 0123456789A\n\n')).toThrow(EventTooLargeError);
    expect(() => push('data: 01\ndata: 234\n\n')).toThrow(EventTooLargeError);
    expect(() => push('x'.repeat(17))).toThrow(EventTooLargeError);
    expect(() => push(`:${'x'.repeat(17)}\n`, 40)).toThrow(EventTooLargeError);
    push(': comment\n'.repeat(20)); // comments belong to no event
  });
});
