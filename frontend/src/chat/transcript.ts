/** The answer as it came: text only ever appended, never parsed. */

import type { Piece, Surface } from './answer.ts';

/**
 * Lengths in UTF-16 code units. Text goes into blocks, so that a frame lays out
 * the last one alone, and in those into nodes, so that it shapes little again.
 * A block ends at the first newline past BLOCK, a node at the first space past
 * NODE, so no cluster is torn; a text without spaces fills its nodes to LIMIT.
 */
const BLOCK = 2048;
const NODE = 512;
const LIMIT = 4096;

/** A Transcript draws into an element that keeps white space. The text of the element is the text. */
export class Transcript implements Surface {
  readonly #element: HTMLElement;
  #last = '\n'; // the text's last code unit
  #block: HTMLElement | undefined;
  #size = 0; // of the block
  #node: Text | undefined;

  constructor(element: HTMLElement) {
    this.#element = element;
    this.#begin();
  }

  append(pieces: readonly Piece[]): void {
    let text = '';
    for (const piece of pieces) {
      text += piece.text;
      if (!piece.seam) continue;
      this.#add(text);
      this.#mark();
      text = '';
    }
    this.#add(text);
  }

  replace(pieces: readonly Piece[]): void {
    this.#element.replaceChildren();
    this.#last = '\n';
    this.#block = undefined;
    this.#begin();
    this.append(pieces);
  }

  end(): void {}

  #add(text: string): void {
    if (text === '') return;
    let previous = this.#last;
    this.#last = text.slice(-1);
    let rest = text;
    while (this.#size + rest.length > BLOCK) {
      const end = endOfLine(rest, Math.max(0, BLOCK - this.#size), previous);
      if (end < 0) break;
      this.#write(rest.slice(0, end));
      this.#begin();
      rest = rest.slice(end + 1);
      previous = '\n';
    }
    this.#write(rest);
  }

  /** Marks the place behind the text so far, by an element that has none. */
  #mark(): void {
    const mark = document.createElement('span');
    mark.className = 'seam';
    this.#block?.append(mark);
    this.#node = undefined;
  }

  /** Begins a block. The newline between two is in the document and has no box: the blocks themselves break the line. */
  #begin(): void {
    if (this.#block !== undefined) {
      const newline = document.createElement('span');
      newline.hidden = true;
      newline.textContent = '\n';
      this.#element.append(newline);
    }
    this.#block = document.createElement('div');
    this.#element.append(this.#block);
    this.#size = 0;
    this.#node = undefined;
  }

  #write(text: string): void {
    if (text === '') return;
    this.#size += text.length;
    if (this.#node === undefined || isFull(this.#node)) {
      this.#node = document.createTextNode(text);
      this.#block?.append(this.#node);
    } else {
      this.#node.appendData(text);
    }
  }
}

/**
 * Where the first newline from start stands that ends a line with something in
 * it, or -1; previous is the character before the text. An empty line cannot
 * end a block: it would have no height.
 */
function endOfLine(text: string, start: number, previous: string): number {
  for (let i = text.indexOf('\n', start); i >= 0; i = text.indexOf('\n', i + 1)) {
    if ((i > 0 ? text[i - 1] : previous) !== '\n') return i;
  }
  return -1;
}

function isFull(node: Text): boolean {
  return node.length >= LIMIT || (node.length >= NODE && /[ \n]$/.test(node.data.slice(-1)));
}
