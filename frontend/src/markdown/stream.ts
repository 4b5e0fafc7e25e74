/** Markdown that is drawn while it comes. */

import type { MarkedToken, Tokens } from 'marked';
import { copyOnClick } from './copy.ts';
import { dress } from './dress.ts';
import { isClosed, OpenFence } from './fence.ts';
import { colour } from './highlight.ts';
import { html } from './html.ts';
import { lex, type Links } from './lex.ts';
import { morph } from './morph.ts';
import { closeLast, settledPart } from './quiet.ts';
import { sanitise } from './sanitise.ts';

/**
 * In UTF-16 code units. A tail up to this length is lexed and drawn with each append.
 * A longer one is drawn again when it has grown by a part of 1 / GROWN; until then what
 * came is shown as plain text. So all appends together lex a bounded multiple of the text.
 */
const LIVE = 2048;
const GROWN = 8;

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
  #whole = 0; // the length of the text when it was last lexed from the start
  #blocks: Block[] = []; // the settled ones
  #last: Node | null = null; // the last element of theirs
  #growing: Growing | undefined; // the last of them
  #tail = '';
  #lexed = 0; // the length of the tail when it was last drawn from its tokens
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
    this.#unsettled ||= more.includes('\n');
    if (this.#fence !== undefined) {
      if (!this.#fence.write(more)) return;
      this.#fence = undefined;
    } else if (this.#tail.length > LIVE && this.#tail.length < this.#lexed * (1 + 1 / GROWN)) {
      this.#addPlain(more);
      return;
    }
    if (this.#unsettled) this.#settle();
    this.#draw();
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

  /** Settles what the complete lines of the tail tell to be settled. */
  #settle(): void {
    this.#unsettled = false;
    const prefix = this.#growing?.prefix ?? '';
    const tokens = lex(prefix + this.#tail.slice(0, this.#tail.lastIndexOf('\n') + 1), copy(this.#links));
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
    const defined = define(tokens, this.#links);
    for (const source of sources(tokens)) this.#put(source);
    // A definition counts for the text before it too. Not each of many costs a pass over the whole: end makes up for it.
    if (defined && this.#text.length >= this.#whole * (1 + 1 / GROWN)) this.#redraw();
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
    this.#lexed = this.#tail.length;
    this.#plain = undefined;
    const links = copy(this.#links);
    let tokens = lex(settledPart((this.#growing?.prefix ?? '') + this.#tail), links);
    closeLast(tokens, links);
    if (this.#growing !== undefined) {
      const first = tokens[0];
      if (continues(this.#growing, first)) morph(this.#growing.container, this.#growing.last, Infinity, partsOf(first, this.#growing));
      tokens = tokens.slice(1);
    }
    const elements = sources(tokens).flatMap(drawn);
    const last = morph(this.#element, this.#last, Infinity, elements);
    const open = tokens[lastBlock(tokens)];
    if (this.#growing !== undefined || open?.type !== 'code' || open.codeBlockStyle !== undefined || elements.length !== 1) return;
    const code = (last as Element).querySelector('pre > code');
    if (code) this.#fence = OpenFence.open(this.#tail.replace(/^(?:[ \t]*\n)+/, ''), code);
  }

  /** Shows more of a long tail as it stands. */
  #addPlain(text: string): void {
    if (this.#plain === undefined) {
      const element = document.createElement('p');
      element.className = 'plain';
      this.#plain = element.appendChild(document.createTextNode(''));
      this.#element.append(element);
    }
    this.#plain.appendData(text);
  }

  /** Lexes from the start. Blocks that are drawn already are not drawn again. */
  #redraw(): void {
    this.#whole = this.#text.length;
    this.#growing = this.#fence = this.#plain = undefined;
    this.#unsettled = false;
    const lines = this.#ended ? this.#text.length : this.#text.lastIndexOf('\n') + 1;
    const tokens = lex(this.#text.slice(0, lines), (this.#links = none()));
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

function copy(links: Links): Links {
  return Object.assign(none(), links);
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

/** Adds the definitions among tokens to links, and reports whether there is a new one. */
function define(tokens: readonly MarkedToken[], links: Links): boolean {
  let added = false;
  for (const token of tokens) {
    if (token.type !== 'def' || links[token.tag] !== undefined) continue;
    links[token.tag] = { href: token.href, title: token.title };
    added = true;
  }
  return added;
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
