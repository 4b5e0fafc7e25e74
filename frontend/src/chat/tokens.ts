/** The answer as the events that it came in: an element for each. */

import type { Piece, Surface } from './answer.ts';

/** How many events a block takes before a line that ends is its last, so that a frame lays out one block alone. */
const BLOCK = 200;

/**
 * Tokens draws into an element that keeps white space. The text of the element is the text. An element for each event
 * has its price: a whole session of 100,000 events, as after a reload, holds the page up for some seconds.
 */
export class Tokens implements Surface {
  readonly #element: HTMLElement;
  #drawn: { readonly id: number; readonly node: HTMLElement }[] = [];
  #block: HTMLElement | undefined;

  constructor(element: HTMLElement, onPick: (id: number) => void) {
    this.#element = element;
    element.addEventListener('click', ({ target }) => {
      const id = target instanceof Element ? target.closest<HTMLElement>('.token')?.dataset['id'] : undefined;
      if (id !== undefined) onPick(Number(id));
    });
  }

  append(pieces: readonly Piece[]): void {
    for (const piece of pieces) {
      if (this.#block === undefined) {
        this.#block = document.createElement('div');
        this.#element.append(this.#block);
      }
      const node = draw(piece);
      this.#block.append(node);
      this.#drawn.push({ id: piece.id, node });
      // A newline that ends a block makes no line of its own there.
      if (this.#block.childElementCount >= BLOCK && piece.text.endsWith('\n')) this.#block = undefined;
    }
  }

  /** Events do not change, so those with the same ids stay as they are. */
  replace(pieces: readonly Piece[]): void {
    let same = 0;
    while (same < pieces.length && pieces[same]?.id === this.#drawn[same]?.id) same++;
    for (const { node } of this.#drawn.splice(same)) {
      const block = node.parentElement;
      node.remove();
      if (block?.childElementCount === 0) block.remove();
    }
    this.#block = this.#drawn.at(-1)?.node.parentElement ?? undefined;
    this.append(pieces.slice(same));
  }

  end(): void {}
}

function draw({ id, text, seam }: Piece): HTMLElement {
  const span = document.createElement('span');
  if (seam) {
    span.className = 'seam';
    return span;
  }
  span.className = 'token';
  span.dataset['id'] = String(id);
  span.title = `event ${id}`;
  span.textContent = text;
  return span;
}
