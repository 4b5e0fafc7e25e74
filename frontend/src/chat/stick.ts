/** Keeps a scrolled element at its end until its reader scrolls up. */

/** How near the end counts as there, in CSS pixels. */
const NEAR = 8;

export class Stick {
  readonly #element: HTMLElement;
  readonly #onChange: (stuck: boolean) => void;
  #stuck = true;
  #top = 0; // where the element was last known to be
  #height = 0; // of the content, when it was last followed

  constructor(element: HTMLElement, onChange: (stuck: boolean) => void) {
    this.#element = element;
    this.#onChange = onChange;
    element.addEventListener('scroll', this.#onScroll, { passive: true });
  }

  destroy(): void {
    this.#element.removeEventListener('scroll', this.#onScroll);
  }

  /** The content has grown. */
  follow(): void {
    if (!this.#stuck) return;
    const { scrollHeight, clientHeight } = this.#element;
    const height = scrollHeight - clientHeight;
    if (height === this.#height) return; // most text goes into a line that is there
    this.#height = height;
    this.#element.scrollTop = height;
    this.#top = this.#element.scrollTop;
  }

  /** Goes to the end and stays there. */
  toEnd(): void {
    this.#set(true);
    this.#height = -1;
    this.follow();
  }

  // Own scrolls only ever go down: up is the reader.
  readonly #onScroll = (): void => {
    const { scrollTop, scrollHeight, clientHeight } = this.#element;
    const up = scrollTop < this.#top;
    this.#top = scrollTop;
    if (scrollHeight - scrollTop - clientHeight <= NEAR) this.#set(true);
    else if (up) this.#set(false);
  };

  #set(stuck: boolean): void {
    if (stuck === this.#stuck) return;
    this.#stuck = stuck;
    this.#onChange(stuck);
  }
}
