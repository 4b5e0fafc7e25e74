/** Keeps the browser's address at the reader's place. */

import { formatPlace, parsePlace, type Place } from './address.ts';

/** Browsers refuse more than about 100 changes in 10 seconds. */
const INTERVAL = 250; // milliseconds

export class AddressBar {
  #pending: Place | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  read(): Place | undefined {
    return parsePlace(location.pathname, location.search);
  }

  /** Makes the place a new entry of the history; the present one is brought up to date before. */
  push(place: Place): void {
    this.flush();
    history.pushState(null, '', formatPlace(place));
  }

  /** Moves the present entry to the place, now or soon. */
  update(place: Place): void {
    this.#pending = place;
    this.#timer ??= setTimeout(() => this.flush(), INTERVAL);
  }

  flush(): void {
    const place = this.#pending;
    this.drop();
    if (place === undefined) return;
    const url = formatPlace(place);
    if (url === location.pathname + location.search) return;
    try {
      history.replaceState(null, '', url);
    } catch {
      // Refused as too frequent: the next change brings it up to date.
    }
  }

  /** Takes back an update that has not been made: its entry may not be the present one any more. */
  drop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#pending = undefined;
  }
}
