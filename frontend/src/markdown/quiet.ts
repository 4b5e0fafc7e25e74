/**
 * What is drawn of a source whose end has not come. Half a syntax is not shown as
 * the characters that it is made of: what it will surely be is drawn already, and
 * what may turn out to be anything waits for the character that tells. What is far
 * more often text is drawn as text: a line with a bar in it that does not begin with
 * one, which the next line may make the head of a table.
 */

import type { Token, Tokens } from 'marked';
import { lexInline, type Links } from './lex.ts';

/** The marks of quotes and lists that a line begins with. */
const CONTAINERS = /^[ \t]*(?:>[ \t]*|(?:[-*+]|\d{1,9}[.)])[ \t]+)*/;

/** A line that may turn out to be a rule, a heading, an underline, a marker, or a table's. */
const UNDECIDED = /^(?:[-=_*+#|:~`>\s]*|\d{1,3}[.)]?\s*)$/;

/** The opening of a fence, whose info string is not complete, and a definition. */
const UNFINISHED = /^(?:`{3,}[^`]*|~{3,}.*|\[(?!\^)[^\]]+\]:.*)$/;

const TASK = /^\[[ xX]?\]?\s*$/;

/** A source without its last line if what that is depends on what follows. */
export function decided(source: string): string {
  const start = source.lastIndexOf('\n') + 1;
  const line = source.slice(start);
  const containers = CONTAINERS.exec(line)?.[0] ?? '';
  const rest = line.slice(containers.length);
  const waits = UNDECIDED.test(rest) || UNFINISHED.test(rest) || (containers.trim() !== '' && TASK.test(rest));
  return waits ? source.slice(0, start) : source;
}

/** A line of cells that stands alone is the head of a table: the line below it, that makes it one, is given to it. */
export function withTable(source: string): string {
  const end = source.endsWith('\n') ? source.length - 1 : source.length;
  const start = source.lastIndexOf('\n', end - 1) + 1;
  const head = source.slice(start, end);
  if (!/^ {0,3}\|/.test(head) || /(?:^|\n) {0,3}\|[^\n]*\n$/.test(source.slice(0, start))) return source;
  const cells = head.trim().replace(/^\||\|$/g, '').split(/(?<!\\)\|/).length;
  return `${source.slice(0, end)}\n${'|-'.repeat(cells)}|`;
}

/** Closes what the last text among blocks leaves open. */
export function closeLast(blocks: readonly Token[], links: Links): void {
  const text = lastText(blocks);
  if (text?.tokens === undefined) return;
  const box = text.tokens[0]?.type === 'checkbox' ? text.tokens[0] : undefined;
  const source = text.text.slice(text.text.startsWith(box?.raw ?? '') ? (box?.raw.length ?? 0) : 0);
  const closed = close(source);
  if (closed !== source) text.tokens = [...(box === undefined ? [] : [box]), ...lexInline(closed, links)];
}

function lastText(blocks: readonly Token[]): { text: string; tokens?: Token[] } | undefined {
  const last = blocks.at(-1);
  switch (last?.type) {
    case 'paragraph':
    case 'heading':
    case 'text':
      return last as Tokens.Paragraph;
    case 'blockquote':
      return lastText((last as Tokens.Blockquote).tokens);
    case 'list':
      return lastText((last as Tokens.List).items.at(-1)?.tokens ?? []);
    case 'table': {
      const { header, rows } = last as Tokens.Table;
      return (rows.at(-1) ?? header).findLast((cell) => cell.text !== '');
    }
    default:
      return undefined;
  }
}

interface Opener {
  readonly mark: string;
  readonly end: number; // of it, in what is written
}

/** A line of text with what it leaves open closed, and without a mark at its end that has nothing to mark yet. */
export function close(text: string, depth = 0): string {
  if (text.length > LONG) return text;
  let out = '';
  const openers: Opener[] = [];
  let code = '';
  for (let i = 0; i < text.length; ) {
    const rest = text.slice(i, i + LOOK);
    const character = text[i] as string;
    let taken = 1;
    if (character === '\\') {
      if (i === text.length - 1) break;
      taken = 2;
    } else if (character === '`') {
      const mark = /^`+/.exec(rest)?.[0] ?? '`';
      const end = endOfCode(text, i + mark.length, mark);
      if (end >= 0) taken = end - i;
      else if (i + mark.length >= text.length) break;
      else if (text.includes('\n', i)) taken = mark.length;
      else {
        out += text.slice(i).replace(/`+$/, '');
        code = mark;
        break;
      }
    } else if (character === '&') {
      if (PARTIAL_ENTITY.test(rest)) break;
    } else if (character === '<') {
      if (PARTIAL_TAG.test(text.slice(i))) break;
      taken = /^<[a-z/!][^<>\n]*>/i.exec(rest)?.[0].length ?? 1;
    } else if (character === '[' || (character === '!' && text[i + 1] === '[')) {
      const open = character === '!' ? 2 : 1;
      if (text[i + open] === '^') {
        out += text.slice(i, i + open); // a footnote, which is text
        i += open;
        continue;
      }
      const end = depth < BRACKETS ? endOfBracket(text, i + open) : NEVER;
      const mayBeLink = end === -1 && !/[\p{L}\p{N}_\])]/u.test(text[i - 1] ?? '');
      const to = end >= 0 && text[end + 1] === '(' ? endOfDestination(text, end + 2) : NEVER;
      if (mayBeLink || end === text.length - 1 || to === -1) {
        // The text of what will be a link.
        return finish(out + close(text.slice(i + open, end < 0 ? undefined : end), depth + 1), openers, code);
      }
      taken = to >= 0 ? to + 1 - i : open;
    } else if (character === '*' || character === '_' || character === '~') {
      const mark = /^(?:\*+|_+|~+)/.exec(rest)?.[0] ?? character;
      taken = mark.length;
      if (i + taken >= text.length) break;
      delimit(text, i, mark, out.length, openers);
      if (openers.length > OPENERS) return text;
    }
    out += text.slice(i, i + taken);
    i += taken;
  }
  return finish(out, openers, code);
}

/** In UTF-16 code units. What is longer is drawn too seldom for its end to matter. */
const LONG = 4096;

/** How many marks that stand open are closed. A text with more of them means none. */
const OPENERS = 6;

const NEVER = -2; // an index

/** How many brackets that stand open are taken for links. */
const BRACKETS = 4;

/** How far a mark is looked at, in UTF-16 code units: a longer run of one character is none. */
const LOOK = 200;

const PARTIAL_ENTITY = /^&(?:#(?:\d{0,7}|x[\da-f]{0,6})|[a-z]{0,30})$/i;

const PARTIAL_TAG = /^<(?:[a-z/!][^\s<>]{0,60}(?:\s+[\w:-]+(?:=(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>]+))){0,9}(?:\s+[\w:-]*(?:=(?:"[^"]{0,500}|'[^']{0,500})?)?)?\s*\/?)?$/i;

/** Opens or closes emphasis by the mark at an index. */
function delimit(text: string, at: number, mark: string, out: number, openers: Opener[]): void {
  const before = text[at - 1] ?? ' ';
  const after = text[at + mark.length] ?? ' ';
  const word = /[\p{L}\p{N}]/u;
  const left = /\s/.test(after) ? false : word.test(after) || !word.test(before);
  const right = /\s/.test(before) ? false : word.test(before) || !word.test(after);
  const inWord = mark[0] === '_' && word.test(before) && word.test(after);
  if (inWord) return;
  let length = mark.length;
  if (right) {
    for (let found; length > 0; ) {
      found = openers.findLastIndex((opener) => opener.mark[0] === mark[0]);
      if (found < 0) break;
      const opener = openers[found] as Opener;
      openers.length = found;
      const used = Math.min(length, opener.mark.length);
      length -= used;
      if (opener.mark.length > used) openers.push({ ...opener, mark: opener.mark.slice(used) });
    }
  }
  if (!left || length === 0 || length > 3) return;
  // A single mark that its line does not close is more often a star than emphasis.
  if (length === 1 && (mark[0] === '~' || text.includes('\n', at))) return;
  openers.push({ mark: mark.slice(0, length), end: out + mark.length });
}

/** Text with its openers closed. */
function finish(text: string, openers: readonly Opener[], code: string): string {
  let out = text.trimEnd();
  const marks = [...openers];
  if (code === '') {
    // One that has nothing behind it is not shown.
    for (let last = marks.at(-1); last !== undefined && last.end >= out.length; last = marks.at(-1)) {
      out = out.slice(0, Math.min(out.length, last.end - last.mark.length)).trimEnd();
      marks.pop();
    }
  }
  return out + code + marks.reverse().map(({ mark }) => mark).join('');
}

function endOfCode(text: string, from: number, mark: string): number {
  for (let at = text.indexOf(mark, from); at >= 0; ) {
    let end = at;
    while (text[end] === '`') end++;
    if (end - at === mark.length) return end;
    at = text.indexOf(mark, end);
  }
  return -1;
}

/** Where the bracket that is open at an index closes, or -1. */
function endOfBracket(text: string, from: number): number {
  let depth = 1;
  for (let i = from; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === '[') depth++;
    else if (text[i] === ']' && --depth === 0) return i;
  }
  return -1;
}

/** Where the parenthesis that is open at an index closes; where it is none after all, its index; -1 if it may close yet. */
function endOfDestination(text: string, from: number): number {
  let depth = 1;
  for (let i = from; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === '\n') return from - 1;
    else if (text[i] === '(') depth++;
    else if (text[i] === ')' && --depth === 0) return i;
  }
  return -1;
}
