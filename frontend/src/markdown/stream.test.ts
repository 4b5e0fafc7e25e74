// @vitest-environment happy-dom

import { tests } from 'commonmark-spec';
import { Lexer } from 'marked';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { MdStream } from './stream.ts';
import { TEXTS } from './texts.ts';

vi.mock('./sanitise.ts', () => import('./sanitise.fake.ts'));

function open(): { element: HTMLElement; stream: MdStream } {
  const element = document.createElement('div');
  return { element, stream: new MdStream(element) };
}

/** What is drawn of a text that comes in pieces. */
function drawn(pieces: Iterable<string>): string {
  const { element, stream } = open();
  for (const piece of pieces) stream.append(piece);
  stream.end();
  return element.innerHTML;
}

function cut(text: string, count: number): string[] {
  const size = Math.max(1, Math.ceil(text.length / count));
  return Array.from({ length: Math.ceil(text.length / size) }, (_, i) => text.slice(i * size, (i + 1) * size));
}

/** Numbers from 0 to 1 that look like chance and are the same each time. */
function chance(seed: number): () => number {
  return () => ((seed = (seed * 48271) % 2147483647) - 1) / 2147483646;
}

/** Whether a definition may still count for text that is drawn. */
const defines = (text: string): boolean => /\]:/.test(text);

/**
 * What is drawn of a text that comes in pieces. At so many of its prefixes, by chance, it
 * is compared with what replace draws of the prefix: it is the same, except for a plain
 * tail and definitions that are late, and for these too after sync.
 */
function lawful(pieces: readonly string[], samples: number): string {
  const { element, stream } = open();
  const random = chance(pieces.length + 1);
  let text = '';
  for (const piece of pieces) {
    text += piece;
    stream.append(piece);
    if (random() * pieces.length > samples) continue;
    const late = defines(text) || element.querySelector('.plain') !== null;
    if (late && random() > 0.5) continue;
    if (late) stream.sync();
    const now = open();
    now.stream.replace(text);
    expect(element.innerHTML, `of ${JSON.stringify(text.slice(-80))}`).toBe(now.element.innerHTML);
  }
  stream.end();
  return element.innerHTML;
}

describe('streamed is one shot, and at each prefix', () => {
  test.each(tests)('CommonMark example $number', ({ markdown }) => {
    const once = drawn([markdown]);
    expect(lawful(cut(markdown, 5), 3)).toBe(once);
    expect(lawful([...markdown], 8)).toBe(once);
  });

  test.each(Object.entries(TEXTS))('%s', (_, text) => {
    const once = drawn([text]);
    expect(once).not.toBe('');
    expect(lawful(cut(text, 20), 20)).toBe(once);
    expect(lawful(cut(text, Math.min(text.length, 500)), 30)).toBe(once);
    const { element, stream } = open();
    for (const [i] of cut(text, 20).entries()) stream.replace(text.slice(0, (i * text.length) / 20));
    stream.replace(text);
    stream.end();
    expect(element.innerHTML).toBe(once);
  }, 20_000);

  test('all examples as one text', () => {
    const text = tests.map(({ markdown }) => markdown).join('\n\n');
    expect(drawn(cut(text, 300))).toBe(drawn([text]));
  });
});

/** Counts what is written to the document: nodes added and removed, text and attributes changed. */
async function writes(element: HTMLElement, work: () => void): Promise<number> {
  let count = 0;
  const observer = new MutationObserver((records) => {
    for (const record of records) count += record.type === 'childList' ? record.addedNodes.length + record.removedNodes.length : 1;
  });
  observer.observe(element, { childList: true, characterData: true, attributes: true, subtree: true });
  work();
  await Promise.resolve();
  observer.disconnect();
  return count;
}

test('a footnote is no definition', () => {
  expect(drawn(['Word[^1].\n\n[^1]: Smith'])).toBe('<p>Word[^1].</p><p>[^1]: Smith</p>');
});

test("headings of the source's own HTML are as low as Markdown's", () => {
  expect(drawn(['<h1>a</h1>\n\n<h6>b</h6>\n\n# c'])).toBe('<h2>a</h2><h6>b</h6><h2>c</h2>');
});

describe('settled blocks', () => {
  test('stay the same nodes while the tail grows', () => {
    const { element, stream } = open();
    const text = `${TEXTS['answer']}\n\n${TEXTS['fences']}\n\`\`\`\n\n${TEXTS['CJK']}`;
    let before: Element[] = [];
    for (const piece of cut(text, 200)) {
      stream.append(piece);
      const kept = before.slice(0, -3); // the tail may hold a few
      expect([...element.children].slice(0, kept.length)).toEqual(kept);
      expect(kept.every((node, i) => node === element.children[i])).toBe(true);
      before = [...element.children];
    }
    expect(before.length).toBeGreaterThan(20);
  });

  test.each([
    ['items', '1. first\n2. second\n3. thi', 'rd\n4. fourth\n', 'li', 2],
    ['rows', '| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | ', '4 |\n| 5 | 6 |\n', 'tr', 2],
    ['lines of code', '```js\nlet x\n', 'let y\nlet z\n', 'pre', 1],
  ])('%s stay the same nodes while more come', (_, start, rest, selector, count) => {
    const { element, stream } = open();
    stream.append(start);
    const before = [...element.querySelectorAll(selector)].slice(0, count);
    expect(before).toHaveLength(count);
    for (const character of rest) stream.append(character);
    stream.append('\n\nend\n');
    stream.end();
    expect([...element.querySelectorAll(selector)].slice(0, count).every((node, i) => node === before[i])).toBe(true);
  });

  test('a token writes to the document what it adds', async () => {
    const { element, stream } = open();
    stream.append(`${TEXTS['answer']}\n\nA last paragraph`);
    expect(await writes(element, () => stream.append(' that goes'))).toBe(1);
    expect(await writes(element, () => stream.append(' on'))).toBe(1);
    expect(await writes(element, () => stream.append('\n\n'))).toBe(0);
    expect(await writes(element, () => stream.append('- '))).toBe(0);
    expect(await writes(element, () => stream.append('item'))).toBe(1);
    expect(await writes(element, () => stream.append(' **bold'))).toBe(2);
    expect(await writes(element, () => stream.append(' and** more'))).toBe(2);
  });

  test('the end writes nothing if nothing was left open', async () => {
    const { element, stream } = open();
    for (const piece of cut(`${TEXTS['answer']}`, 150)) stream.append(piece);
    expect(await writes(element, () => stream.end())).toBe(0);
  });

  test('replace back and forth keeps the blocks that are the same', async () => {
    const text = TEXTS['answer'] ?? '';
    const { element, stream } = open();
    stream.append(text);
    const whole = [...element.children];
    stream.replace(text.slice(0, 600));
    const part = [...element.children];
    expect(part.length).toBeGreaterThan(4);
    expect(part.slice(0, -1).every((node, i) => node === whole[i])).toBe(true);
    stream.replace(text);
    expect([...element.children].slice(0, part.length - 1).every((node, i) => node === whole[i])).toBe(true);
    expect(await writes(element, () => stream.replace(text))).toBe(0);
  });

  test('more may come after the end', () => {
    const { element, stream } = open();
    stream.append('a **b');
    stream.end();
    stream.append('** c');
    stream.end();
    expect(element.innerHTML).toBe('<p>a <strong>b</strong> c</p>');
  });

  test('clear leaves nothing', () => {
    const { element, stream } = open();
    stream.append('[a]: https://example.com\n\n- [a]\n- b\n');
    stream.clear();
    expect(element.childNodes).toHaveLength(0);
    stream.append('[a]');
    stream.end();
    expect(element.innerHTML).toBe('<p>[a]</p>');
  });
});

describe('work', () => {
  afterEach(() => vi.restoreAllMocks());

  /** How many characters are lexed for each that comes, and the most for one append. */
  function lexed(pieces: readonly string[]): { each: number; most: number } {
    let total = 0;
    let most = 0;
    let now = 0;
    const lex = Lexer.prototype.lex;
    vi.spyOn(Lexer.prototype, 'lex').mockImplementation(function (this: Lexer, source) {
      now += source.length;
      return lex.call(this, source);
    });
    const { stream } = open();
    for (const piece of pieces) {
      now = 0;
      stream.append(piece);
      total += now;
      most = Math.max(most, now);
    }
    return { each: total / pieces.join('').length, most };
  }

  test('an answer of 28 KB costs each token its block', () => {
    const answer = Array.from({ length: 40 }, () => TEXTS['answer']).join('\n\n').slice(0, 28_000);
    const { each, most } = lexed(cut(answer, 700));
    expect(each).toBeLessThan(20);
    expect(most).toBeLessThan(2000);
  }, 20_000);

  test.each([
    ['one list', '- an item of a list\n'.repeat(100), 60],
    ['one table', `| a | b |\n|---|---|\n${'| 1 | 2 |\n'.repeat(150)}`, 60],
    ['one piece of code', `\`\`\`go\n${'x := 1 // one\n'.repeat(1000)}`, 60],
  ])('%s costs each token what its last part does', (_, text, bound) => {
    const pieces = text.match(/[^]{1,16}/g) ?? [];
    expect(Math.max(...pieces.slice(10).map((piece) => piece.length))).toBe(16);
    expect(lexed(pieces).most).toBeLessThan(bound * 4);
  });

  test.each([
    ['a paragraph', 'word and '.repeat(12_000)],
    ['a quote', '> a line of a quote\n'.repeat(5_000)],
    ['brackets', '['.repeat(5_000)],
    ['stars', '*a '.repeat(5_000)],
    ['quotes in quotes', `${'> '.repeat(5_000)}a`],
    ['lists in lists', `${'- '.repeat(5_000)}a`],
    ['definitions', Array.from({ length: 2_000 }, (_, i) => `[${i}]: https://example.com\n`).join('')],
  ])('%s without end costs a bounded multiple of its length', (_, text) => {
    expect(lexed(cut(text, 60)).each).toBeLessThan(100);
  });

  test('the lines of an item cost a bounded multiple of their length', () => {
    let looked = 0;
    const { exec } = RegExp.prototype;
    vi.spyOn(RegExp.prototype, 'exec').mockImplementation(function (this: RegExp, source) {
      if (this.source.includes('(=+|-+)')) looked += source.length;
      return exec.call(this, source);
    });
    const text = `- a\n${'  a line of an item\n'.repeat(2000)}`;
    drawn([text]);
    expect(looked).toBeGreaterThan(0);
    expect(looked / text.length).toBeLessThan(300);
  });

  test('what a long block has gained since it was drawn is shown as it stands, where it belongs', () => {
    for (const [start, selector] of [['', 'p'], ['- ', 'li'], ['> ', 'blockquote > p'], ['1. a\n   - ', 'ol ul li']] as const) {
      const { element, stream } = open();
      stream.append(start + 'word '.repeat(1000));
      for (let i = 0; element.querySelector('.plain') === null && i < 1000; i++) stream.append('and ');
      stream.append(`\n${start.replace(/.*\n/, '').replace('-', ' ')}**more**`);
      const plain = element.querySelector('.plain');
      expect([plain?.textContent, plain?.parentElement === element.querySelector(selector)]).toEqual(['and \n**more**', true]);
      stream.sync();
      expect(element.querySelector('.plain')).toBeNull();
      expect(element.querySelector('strong')?.textContent).toBe('more');
    }
  });

  test('what follows a long block is drawn at once', () => {
    const { element, stream } = open();
    for (const piece of cut('word **bold** and more. '.repeat(300), 400)) stream.append(piece);
    for (const character of '\n\n## Next\n\n- item **one**\n- item two\n\nA paragraph with *emphasis') {
      stream.append(character);
      for (const block of [...element.children].slice(1)) expect(block.textContent).not.toMatch(/[#*]|^- /);
    }
    expect([...element.children].map((child) => child.tagName)).toEqual(['P', 'H3', 'UL', 'P']);
    expect(element.querySelector('.plain')).toBeNull();
  }, 20_000);

  test.each([
    ['a list', '1. Run:\n   ```js\n', '   let abc = 1; // **x**\n', '   ```\n2. Then **stop**', 'ol > li'],
    ['a quote', '> ```js\n', '> let abc = 1; // **x**\n', '> ```\n> **stop**', 'blockquote'],
    ['a list in a quote', '> - a\n>\n>   ~~~\n', '>   let abc = 1; // **x**\n', '>   ~~~\n> - **stop**', 'blockquote > ul > li'],
  ])('long code in %s is in one piece, and costs what comes', (_, start, line, end, selector) => {
    const { element, stream } = open();
    stream.append(start);
    for (let i = 0; i < 400; i++) {
      for (const piece of cut(line, 3)) stream.append(piece);
      expect(element.querySelector('.plain')).toBeNull();
    }
    const code = element.querySelector(`${selector} pre > code`);
    expect(code?.textContent).toBe(Array.from({ length: 400 }, () => 'let abc = 1; // **x**').join('\n'));
    expect(lexed([start, ...Array.from({ length: 400 }, () => line)]).each).toBeLessThan(10);
    for (const character of end) stream.append(character);
    expect(element.querySelector('strong')?.textContent).toBe('stop');
  });
});
