/** Markdown that is drawn while it comes. */

import type { MarkedToken, Tokens } from 'marked';
import { copyOnClick } from './copy.ts';
import { dress } from './dress.ts';
import { isClosed, OpenFence } from './fence.ts';
import { colour } from './highlight.ts';
import { html } from './html.ts';
import { lex, type Links } from './lex.ts';
import { morph } from './morph.ts';
import { closeLast, decided, withTable } from './quiet.ts';
import { sanitise } from './sanitise.ts';

/**
 * In UTF-16 code units. A tail up to this length is lexed and drawn with each append.
 * A longer one has to be paid for: each unit that comes earns so many that may be
 * lexed, of which at most so many are saved. Until there are enough, what came is
 * shown as plain text. So all appends together lex a bounded multiple of the text.
 */
const LIVE = 4096;
const EARNED = 32;
const SAVED = 1 << 18;

/** A line that seems to begin another block than the tail's is drawn at once, with a debt of so many tails at most. */
const DEBT = 8;

/** A definition counts for the text before it too. The first is applied at once, others when the text has grown by a part of 1 / DEFINED. */
const DEFINED = 8;

/** A line that begins another block than the one before it, unless that is one that may hold such lines. */
const BEGINS = /\n(?:[ \t]*\n)+\S|\n(?:#{1,6}[ \t]+\S|(?:[-*+]|\d{1,9}[.)])[ \t]+\S|`{3}|~{3})/g;

/** In UTF-16 code units: how much of what came before is looked at for such a line. */
const LOOK = 16;

/** A settled block: text that follows does not change it. */
interface Block {
  /** What it was drawn from; undefined if it was drawn by its parts. */
  readonly html: string | undefined;
  /** The elements that it has. */
  readonly size: number;
}

/** A list or a table that more may come of. Its parts, items or rows, settle one by one. */
interface Growing {
  readonly container: Element;
  /** What the source of a part is lexed after, so that it gives a part of this list or table, and the parts that this gives by itself. */
  readonly prefix: string;
  readonly skip: number;
  /** Its items have paragraphs. */
  readonly loose: boolean;
  /** Its source up to the tail. */
  source: string;
  /** The last of the parts that have settled. */
  last: Node | null;
}

/**
 * An MdStream draws one answer, a Markdown text, into an element, which gets the
 * class `markdown` and is nobody else's. What it draws is safe whatever the text is.
 * It draws within each call, and calls do not throw. Only the source after the last
 * settled block, the tail, is lexed again.
 */
export class MdStream {
  readonly #element: HTMLElement;
  #text = ''; // with LF alone at the ends of lines
  #pending = ''; // a CR whose LF may follow
  #ended = false;
  #links: Links = none(); // that the settled blocks define
  #defined = false; // there is a definition in the text
  #whole = 0; // the length of the text when it was last lexed from the start
  #blocks: Block[] = []; // the settled ones
  #last: Node | null = null; // the last element of theirs
  #growing: Growing | undefined; // the last of them
  #tail = '';
  #credit = 0; // what may be lexed of long tails
  #shown = 0; // how much of the tail was drawn from its tokens
  #tried = -1; // the place in the text of the last line that seemed to begin a block of a long tail
  #unsettled = false; // a line of the tail has been completed since
  #fence: OpenFence | undefined; // that the tail is
  #plain: Text | undefined; // at the end of the tail

  constructor(element: HTMLElement) {
    this.#element = element;
    element.classList.add('markdown');
    element.replaceChildren();
    copyOnClick(element);
  }

  /** Draws what follows. Settled blocks are not drawn again. */
  append(text: string): void {
    const more = this.#normalise(text);
    if (more === '') return;
    this.#text += more;
    if (this.#ended) {
      this.#ended = false;
      this.#redraw();
      return;
    }
    this.#tail += more;
    this.#credit = Math.min(SAVED, this.#credit + EARNED * more.length);
    this.#unsettled ||= more.includes('\n');
    if (this.#fence !== undefined) {
      if (!this.#fence.write(more)) return;
      this.#fence = undefined;
    }
    if (this.#tail.length > LIVE && this.#credit < this.#tail.length && !this.#begins(more)) {
      this.#drawPlain();
      return;
    }
    if (this.#unsettled) this.#settle();
    this.#draw();
  }

  /** Draws what has waited: what is drawn is what replace draws of the whole text. */
  sync(): void {
    if (this.#plain !== undefined || this.#defined) this.#redraw();
  }

  /** Draws another text, one whose end has not come. Blocks that are the same stay the same nodes. */
  replace(text: string): void {
    this.#pending = '';
    this.#ended = false;
    this.#text = this.#normalise(text);
    this.#redraw();
  }

  /** Nothing more comes: what is drawn is what one render of the whole text gives. */
  end(): void {
    if (this.#pending !== '') this.#text += '\n';
    this.#pending = '';
    this.#ended = true;
    this.#redraw();
  }

  clear(): void {
    this.replace('');
  }

  #normalise(text: string): string {
    const all = this.#pending + text;
    this.#pending = all.endsWith('\r') ? '\r' : '';
    return all.slice(0, all.length - this.#pending.length).replace(/\r\n?/g, '\n').replace(/\0/g, '\ufffd');
  }

  /** Whether what has come last seems to begin a block. */
  #begins(more: string): boolean {
    const end = this.#tail.slice(-more.length - LOOK);
    const found = [...end.matchAll(BEGINS)].at(-1);
    if (found === undefined || this.#credit < -DEBT * this.#tail.length) return false;
    const at = this.#text.length - end.length + found.index;
    if (at === this.#tried) return false;
    this.#tried = at;
    this.#unsettled = true;
    return true;
  }

  #lex(source: string, links: Links): MarkedToken[] {
    if (source.length > LIVE) this.#credit -= source.length;
    return lex(source, links);
  }

  /** Settles what the complete lines of the tail tell to be settled, and if it is long the line that is not complete. */
  #settle(): void {
    this.#unsettled = false;
    const prefix = this.#growing?.prefix ?? '';
    const links = under(this.#links);
    const source = this.#tail.length > LIVE ? decided(this.#tail) : this.#tail.slice(0, this.#tail.lastIndexOf('\n') + 1);
    const tokens = this.#lex(prefix + source, links);
    if (Object.keys(links).length > 0 && (!this.#defined || this.#text.length >= this.#whole * (1 + 1 / DEFINED))) return this.#redraw();
    const first = tokens[0];
    if (this.#growing !== undefined) {
      if (!continues(this.#growing, first)) return this.#unfold();
      const complete = lastBlock(tokens) > 0;
      this.#grow(this.#growing, first, complete);
      if (!complete) return;
      this.#growing = undefined;
      this.#settleAll(tokens.slice(1, settledCount(tokens)));
    } else {
      this.#settleAll(tokens.slice(0, settledCount(tokens)));
    }
    this.#beginToGrow(tokens[lastBlock(tokens)]);
  }

  #settleAll(tokens: readonly MarkedToken[]): void {
    this.#tail = this.#tail.slice(length(tokens));
    define(tokens, this.#links);
    for (const source of sources(tokens)) this.#put(source);
  }

  /** Lets the block that the tail begins with settle by its parts, if it has any that are complete. */
  #beginToGrow(block: MarkedToken | undefined): void {
    if (block?.type !== 'list' && block?.type !== 'table') return;
    if (this.#growing !== undefined || !this.#tail.startsWith(block.raw.trimEnd())) return;
    const parts = block.type === 'list' ? block.items.length - 1 : block.rows.length;
    if (parts < 1) return;
    const [element] = drawn(html(block));
    if (element === undefined || containerOf(element) === undefined) return;
    const live = morph(this.#element, this.#last, 1, [element]) as Element;
    const container = containerOf(live) as Element;
    const size = sizeOf(block);
    this.#growing = { container, ...prefixOf(block), source: this.#tail.slice(0, size), last: container.children[parts - 1] ?? null };
    this.#tail = this.#tail.slice(size);
    this.#blocks.push({ html: undefined, size: 1 });
    this.#last = live;
    colour([...container.children].slice(0, parts));
  }

  /** Settles the parts of a growing block that are complete: all but the last item of a list that may go on. */
  #grow(growing: Growing, block: Tokens.List | Tokens.Table, complete: boolean): void {
    const parts = partsOf(block, growing);
    const count = block.type === 'list' && !complete ? parts.length - 1 : parts.length;
    if (count < 1 && !complete) return;
    const last = morph(growing.container, growing.last, Infinity, parts);
    const settled = count === parts.length ? last : (last?.previousSibling ?? null);
    colour(between(growing.last, settled));
    growing.last = settled;
    const size = (complete ? block.raw.length : sizeOf(block)) - growing.prefix.length;
    growing.source += this.#tail.slice(0, size);
    this.#tail = this.#tail.slice(size);
  }

  /** Makes the growing block a part of the tail again: what follows has changed all of it. */
  #unfold(): void {
    const growing = this.#growing as Growing;
    this.#growing = undefined;
    this.#blocks.pop();
    this.#last = this.#last?.previousSibling ?? null;
    this.#tail = growing.source + this.#tail;
    this.#settle();
  }

  /** Draws a settled block over so many elements, if they are there; without a number, over as many as it has. */
  #put(source: string, over?: number): void {
    const elements = drawn(source);
    const before = this.#last;
    this.#last = morph(this.#element, before, over ?? elements.length, elements);
    colour(between(before, this.#last));
    this.#blocks.push({ html: source, size: elements.length });
    this.#plain = undefined;
  }

  /** Draws the tail. */
  #draw(): void {
    this.#plain = undefined;
    const links = under(this.#links);
    const shown = decided(this.#tail);
    this.#shown = shown.length;
    let tokens = this.#lex(withTable((this.#growing?.prefix ?? '') + shown), links);
    closeLast(tokens, links);
    const blocks = tokens;
    if (this.#growing !== undefined) {
      const first = tokens[0];
      if (continues(this.#growing, first)) morph(this.#growing.container, this.#growing.last, Infinity, partsOf(first, this.#growing));
      tokens = tokens.slice(1);
    }
    morph(this.#element, this.#last, Infinity, sources(tokens).flatMap(drawn));
    const code = [...(this.#element.lastElementChild?.querySelectorAll('pre > code') ?? [])].at(-1);
    if (code) this.#fence = OpenFence.open(blocks, shown, this.#tail, code);
  }

  /** Shows what a long tail has gained since it was drawn, without what its lines have before the text. */
  #drawPlain(): void {
    const came = `\n${decided(this.#tail).slice(this.#shown)}`.replace(/\n[ \t>]*/g, '\n');
    const text = /\n[ \t>]*$/.test(this.#tail.slice(0, this.#shown)) ? came : came.slice(1);
    if (this.#plain === undefined) {
      let at: Element = this.#element;
      while (at.lastElementChild !== null && /^(?:[OU]L|LI|BLOCKQUOTE|P|H\d)$/.test(at.lastElementChild.tagName)) at = at.lastElementChild;
      const element = document.createElement(/^(?:LI|P|H\d)$/.test(at.tagName) ? 'span' : 'p');
      element.className = 'plain';
      this.#plain = element.appendChild(document.createTextNode(''));
      at.append(element);
    }
    this.#plain.data = text;
  }

  /** Lexes from the start. Blocks that are drawn already are not drawn again. */
  #redraw(): void {
    this.#whole = this.#text.length;
    this.#growing = this.#fence = this.#plain = undefined;
    this.#unsettled = false;
    const lines = this.#ended ? this.#text.length : this.#text.lastIndexOf('\n') + 1;
    const tokens = lex(this.#text.slice(0, lines), (this.#links = none()));
    this.#defined = Object.keys(this.#links).length > 0;
    const settled = tokens.slice(0, this.#ended ? tokens.length : settledCount(tokens));
    const old = this.#blocks;
    this.#blocks = [];
    this.#last = null;
    for (const source of sources(settled)) {
      const was = old[this.#blocks.length];
      if (was !== undefined && was.html === source) {
        this.#blocks.push(was);
        for (let i = 0; i < was.size; i++) this.#last = this.#last === null ? this.#element.firstChild : this.#last.nextSibling;
      } else {
        this.#put(source, was?.size);
      }
    }
    this.#tail = this.#ended ? '' : this.#text.slice(length(settled));
    if (!this.#ended) this.#beginToGrow(tokens[lastBlock(tokens)]);
    this.#draw();
  }
}

function none(): Links {
  return Object.create(null) as Links;
}

/** Links that add to others. */
function under(links: Links): Links {
  return Object.create(links) as Links;
}

function length(tokens: readonly { readonly raw: string }[]): number {
  return tokens.reduce((sum, token) => sum + token.raw.length, 0);
}

function lastBlock(tokens: readonly MarkedToken[]): number {
  return tokens.findLastIndex((token) => token.type !== 'space');
}

/** How many of the tokens of complete lines are settled: those before the last block, and this too if it is closed by what it is. */
function settledCount(tokens: readonly MarkedToken[]): number {
  const last = lastBlock(tokens);
  const block = tokens[last];
  return block?.type === 'code' && isClosed(block.raw) ? last + 1 : Math.max(0, last);
}

function sources(tokens: readonly MarkedToken[]): string[] {
  return tokens.filter((token) => token.type !== 'space').map(html);
}

/** The siblings after one element, or from the first on, up to another. */
function between(after: Node | null, last: Node | null): Element[] {
  const found: Element[] = [];
  for (let at = last; at !== after && at !== null; at = at.previousSibling) found.push(at as Element);
  return found.reverse();
}

function drawn(source: string): Element[] {
  return dress(sanitise(source));
}

/** Adds the definitions among tokens to links. */
function define(tokens: readonly MarkedToken[], links: Links): void {
  for (const token of tokens) {
    if (token.type === 'def') links[token.tag] ??= { href: token.href, title: token.title };
  }
}

function containerOf(element: Element): Element | undefined {
  if (/^[OU]L$/.test(element.tagName)) return element;
  return element.querySelector(':scope > table > tbody') ?? undefined;
}

/** The length of the source of what settles of a growing block that may go on: of all items but the last, or of the rows. A row's end belongs to what follows. */
function sizeOf(block: Tokens.List | Tokens.Table): number {
  return block.type === 'list' ? length(block.items.slice(0, -1)) : block.raw.trimEnd().length;
}

function prefixOf(block: Tokens.List | Tokens.Table): Pick<Growing, 'prefix' | 'skip' | 'loose'> {
  if (block.type === 'table') return { prefix: /^[^\n]*\n[^\n]*/.exec(block.raw)?.[0].trimEnd() ?? '', skip: 0, loose: false };
  const marker = /^ *(?:\d+[.)]|[-*+])/.exec(block.raw)?.[0] ?? '-';
  return block.loose ? { prefix: `${marker} .\n\n`, skip: 1, loose: true } : { prefix: '', skip: 0, loose: false };
}

/** Whether a token gives parts of a growing block that are like those it has. */
function continues(growing: Growing, token: MarkedToken | undefined): token is Tokens.List | Tokens.Table {
  const type = growing.container.tagName === 'TBODY' ? 'table' : 'list';
  return token?.type === type && (token.type !== 'list' || (token as Tokens.List).loose === growing.loose);
}

function partsOf(block: Tokens.List | Tokens.Table, growing: Growing): Element[] {
  const [element] = drawn(html(block));
  return [...((element && containerOf(element))?.children ?? [])].slice(growing.skip);
}
