/** Markdown that is drawn while it comes. */

import type { MarkedToken } from 'marked';
import { html } from './html.ts';
import { lex, type Links } from './lex.ts';
import { morph } from './morph.ts';
import { sanitise } from './sanitise.ts';

/** A settled block: no text that follows changes it. */
interface Block {
  readonly html: string;
  readonly size: number; // elements that it has
}

/**
 * An MdStream draws one answer, a Markdown text, into an element, which gets the
 * class `markdown` and is nobody else's. What it draws is safe whatever the text is.
 * It draws within each call; calls do not throw.
 */
export class MdStream {
  readonly #element: HTMLElement;
  #text = ''; // with LF alone at the ends of lines
  #pending = ''; // a CR whose LF may follow
  #blocks: Block[] = [];
  #elements = 0; // that the settled blocks have
  #tail = ''; // the source after the settled blocks
  #drawn = 0; // elements that the tail has
  #links: Links = none(); // that the settled blocks define
  #ended = false;

  constructor(element: HTMLElement) {
    this.#element = element;
    element.classList.add('markdown');
    element.replaceChildren();
  }

  /** Draws what follows. */
  append(text: string): void {
    const more = this.#normalise(text);
    if (more === '') return;
    this.#text += more;
    this.#tail += more;
    if (this.#ended) {
      this.#ended = false;
      this.#redraw();
      return;
    }
    this.#settle();
    this.#draw();
  }

  /** Draws another text, before its end; blocks that are the same stay the same nodes. */
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
    this.#text = this.#pending = this.#tail = '';
    this.#ended = false;
    this.#blocks = [];
    this.#elements = this.#drawn = 0;
    this.#links = none();
    this.#element.replaceChildren();
  }

  #normalise(text: string): string {
    const all = this.#pending + text;
    this.#pending = all.endsWith('\r') ? '\r' : '';
    return all.slice(0, all.length - this.#pending.length).replace(/\r\n?/g, '\n').replace(/\0/g, '\ufffd');
  }

  /** Settles what the complete lines of the tail tell to be settled: all before their last block. */
  #settle(): void {
    const tokens = lex(this.#tail.slice(0, this.#tail.lastIndexOf('\n') + 1), copy(this.#links));
    const last = tokens.findLastIndex((token) => token.type !== 'space');
    const settled = tokens.slice(0, Math.max(0, last));
    this.#tail = this.#tail.slice(length(settled));
    if (define(settled, this.#links)) this.#redraw();
    else for (const source of sources(settled)) this.#put(source);
  }

  /** Draws a settled block over what the tail has drawn first. */
  #put(source: string): void {
    const elements = sanitise(source);
    const over = Math.min(this.#drawn, elements.length);
    morph(this.#element, this.#elements, over, elements);
    this.#drawn -= over;
    this.#elements += elements.length;
    this.#blocks.push({ html: source, size: elements.length });
  }

  /** Draws the tail. */
  #draw(): void {
    const elements = sources(lex(this.#tail, copy(this.#links))).flatMap(sanitise);
    morph(this.#element, this.#elements, this.#drawn, elements);
    this.#drawn = elements.length;
  }

  /** Lexes from the start. Blocks that are drawn already are not drawn again. */
  #redraw(): void {
    const lines = this.#ended ? this.#text.length : this.#text.lastIndexOf('\n') + 1;
    const tokens = lex(this.#text.slice(0, lines), (this.#links = none()));
    const last = this.#ended ? tokens.length : tokens.findLastIndex((token) => token.type !== 'space');
    const settled = tokens.slice(0, Math.max(0, last));
    const blocks = sources(settled);
    const same = blocks.findIndex((source, i) => this.#blocks[i]?.html !== source);
    const dropped = this.#blocks.splice(same < 0 ? blocks.length : same);
    for (const { size } of dropped) {
      this.#elements -= size;
      this.#drawn += size;
    }
    for (const source of blocks.slice(this.#blocks.length)) this.#put(source);
    this.#tail = this.#ended ? '' : this.#text.slice(length(settled));
    this.#draw();
  }
}

function none(): Links {
  return Object.create(null) as Links;
}

function copy(links: Links): Links {
  return Object.assign(none(), links);
}

function length(tokens: readonly MarkedToken[]): number {
  return tokens.reduce((sum, token) => sum + token.raw.length, 0);
}

function sources(tokens: readonly MarkedToken[]): string[] {
  return tokens.filter((token) => token.type !== 'space').map(html);
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
