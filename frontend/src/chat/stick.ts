/** Keeps a scrolled element at its end until its reader scrolls up. */

/** How near the end counts as there, in CSS pixels. */
const NEAR = 8;

/**
 * A Stick knows its own scrolls from the reader's by position alone: it only ever
 * goes to the end, so whoever is above where it left the element is the reader.
 */
export class Stick {
  readonly #element: HTMLElement;
  readonly #onChange: (stuck: boolean) => void;
  readonly #sizes: ResizeObserver;
  #stuck = true;
  #atStart = false;
  #top = 0; // where the element was last known to be

  /** The element scrolls its first child. onChange is told when the end is left and reached again. */
  constructor(element: HTMLElement, onChange: (stuck: boolean) => void) {
    this.#element = element;
    this.#onChange = onChange;
    element.addEventListener('scroll', this.#look, { passive: true });
    // What makes more or less room without a word: a window, a keyboard, code that gets its colours.
    this.#sizes = new ResizeObserver(() => this.follow());
    this.#sizes.observe(element);
    if (element.firstElementChild !== null) this.#sizes.observe(element.firstElementChild);
  }

  destroy(): void {
    this.#element.removeEventListener('scroll', this.#look);
    this.#sizes.disconnect();
  }

  /** The content has another height. */
  follow(): void {
    if (this.#atStart) return;
    this.#look(); // a scroll of the reader's that no event has told of yet
    if (this.#stuck) this.#goToEnd();
  }

  /** Goes to the end and stays there. */
  toEnd(): void {
    this.#atStart = false;
    this.#set(true);
    this.#goToEnd();
  }

  /** Goes to the start and follows nothing until toEnd. */
  toStart(): void {
    this.#atStart = true;
    this.#set(true);
    this.#element.scrollTop = 0;
  }

  #goToEnd(): void {
    const end = this.#end;
    if (end !== this.#top) this.#element.scrollTop = end; // most text goes into a line that is there
    this.#top = this.#element.scrollTop;
  }

  get #end(): number {
    return Math.max(0, this.#element.scrollHeight - this.#element.clientHeight);
  }

  readonly #look = (): void => {
    if (this.#atStart) return;
    const { scrollTop } = this.#element;
    const end = this.#end;
    // Content that shrinks takes the element up with it, which is no wish of the reader's.
    const up = scrollTop < Math.min(this.#top, end) - 1;
    this.#top = scrollTop;
    if (end - scrollTop <= NEAR) this.#set(true);
    else if (up) this.#set(false);
  };

  #set(stuck: boolean): void {
    if (stuck === this.#stuck) return;
    this.#stuck = stuck;
    this.#onChange(stuck);
  }
}
