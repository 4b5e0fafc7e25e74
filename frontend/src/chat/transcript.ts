/** The answer on the page: text only ever appended, never parsed. */

/**
 * Past the first length, in UTF-16 code units, a text node is left alone after
 * its next space and a new one begun; past the second, without one. So a frame
 * shapes little text again, and no cluster is torn unless a text has no spaces.
 */
const NODE_LENGTH = 512;
const NODE_LIMIT = 4096;

/** Past this length the attribute is not written with each frame. */
const LARGE = 1 << 16;

const LARGE_INTERVAL = 250; // milliseconds

/**
 * A Transcript draws into an element that keeps white space. Its text is in the
 * element's `data-source` too, whole, whatever becomes of the drawing later.
 */
export class Transcript {
  readonly #element: HTMLElement;
  #text = '';
  #tail: Text | undefined;
  #written = 0; // time of the last write of the attribute

  constructor(element: HTMLElement) {
    this.#element = element;
    this.clear();
  }

  get text(): string {
    return this.#text;
  }

  clear(): void {
    this.#text = '';
    this.#tail = undefined;
    this.#element.replaceChildren();
    this.sync();
  }

  /** Draws more. */
  append(text: string): void {
    if (text === '') return;
    this.#text += text;
    if (this.#tail === undefined || isFull(this.#tail)) {
      this.#tail = document.createTextNode(text);
      this.#element.append(this.#tail);
    } else {
      this.#tail.appendData(text);
    }
    if (this.#text.length < LARGE || performance.now() - this.#written > LARGE_INTERVAL) this.sync();
  }

  /** Brings the attribute up to date. */
  sync(): void {
    this.#element.setAttribute('data-source', this.#text);
    this.#written = performance.now();
  }
}

function isFull(node: Text): boolean {
  return node.length >= NODE_LIMIT || (node.length >= NODE_LENGTH && /[ \n]$/.test(node.data.slice(-1)));
}
