/** What is drawn of one text: as Markdown, as its source, or as the events that it came in. */

import { MdStream } from '../markdown/index.ts';
import { Tokens } from './tokens.ts';
import { Transcript } from './transcript.ts';

export type View = 'text' | 'source' | 'tokens';

/** What one event has added to a text. */
export interface Piece {
  /** The event. */
  readonly id: number;
  readonly text: string;
  /** No text, but the place where another answer of the model goes on. */
  readonly seam?: boolean;
}

/** Where a text is drawn. */
export interface Sink {
  append(pieces: readonly Piece[]): void;
  /** The text is these pieces now, as after a seek. */
  replace(pieces: readonly Piece[]): void;
  /** Nothing more comes, unless the text is replaced. */
  end(): void;
  clear(): void;
  /** Brings up to date what is not with each drawing. */
  sync(): void;
}

/** A way to draw. What comes in is not empty, and never clear's work to undo: each view gets a Surface of its own. */
export interface Surface {
  append(pieces: readonly Piece[]): void;
  replace(pieces: readonly Piece[]): void;
  end(): void;
  /** Draws what has waited. */
  sync?(): void;
}

/** Past this length, in UTF-16 code units, the attribute is not written with each frame. */
const LARGE = 1 << 16;

const LARGE_INTERVAL = 250; // milliseconds

/**
 * An Answer draws into an element, in one child of the class "markdown", "source" or
 * "tokens". The text is in the element's `data-source` too, whole, in every view.
 */
export class Answer implements Sink {
  /** Called when somebody picks an event of the tokens view. */
  onPick: ((id: number) => void) | undefined;

  readonly #element: HTMLElement;
  #view: View;
  #surface!: Surface;
  #pieces: Piece[] = [];
  #text = '';
  #ended = false;
  #timer: ReturnType<typeof setTimeout> | undefined; // to the next write of the attribute

  constructor(element: HTMLElement, view: View = 'text') {
    this.#element = element;
    this.#view = view;
    this.clear();
  }

  get text(): string {
    return this.#text;
  }

  get view(): View {
    return this.#view;
  }

  set view(view: View) {
    if (view === this.#view) return;
    this.#view = view;
    this.#renew();
    if (this.#pieces.length > 0) this.#surface.append(this.#pieces);
    if (this.#ended) this.#surface.end();
  }

  append(pieces: readonly Piece[]): void {
    if (pieces.length === 0) return;
    for (const piece of pieces) {
      this.#pieces.push(piece);
      this.#text += piece.text;
    }
    this.#surface.append(pieces);
    if (this.#text.length < LARGE) this.#write();
    else this.#timer ??= setTimeout(() => this.#write(), LARGE_INTERVAL);
  }

  replace(pieces: readonly Piece[]): void {
    this.#pieces = [...pieces];
    this.#text = pieces.map((piece) => piece.text).join('');
    this.#ended = false;
    this.#surface.replace(pieces);
    this.#write();
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#surface.end();
  }

  clear(): void {
    this.#pieces = [];
    this.#text = '';
    this.#ended = false;
    this.#renew();
    this.#write();
  }

  /** Brings the drawing and the attribute up to date. */
  sync(): void {
    this.#surface.sync?.();
    this.#write();
  }

  #write(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#element.setAttribute('data-source', this.#text);
  }

  #renew(): void {
    const child = document.createElement('div');
    child.className = this.#view === 'text' ? 'markdown' : this.#view;
    this.#surface = surface(this.#view, child, (id) => this.onPick?.(id));
    this.#element.replaceChildren(child);
  }
}

function surface(view: View, element: HTMLElement, onPick: (id: number) => void): Surface {
  switch (view) {
    case 'text':
      return markdown(element);
    case 'source':
      return new Transcript(element);
    case 'tokens':
      return new Tokens(element, onPick);
  }
}

function markdown(element: HTMLElement): Surface {
  const stream = new MdStream(element);
  return {
    append: (pieces) => stream.append(join(pieces)),
    replace: (pieces) => stream.replace(join(pieces)),
    end: () => stream.end(),
    sync: () => stream.sync(),
  };
}

function join(pieces: readonly Piece[]): string {
  return pieces.map((piece) => piece.text).join('');
}
