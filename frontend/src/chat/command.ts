/** Commands that somebody gives: they are given until they are through. */

import { persist } from '../client/index.ts';
import { explain } from './trouble.ts';

/** Longest wait between two tries, in milliseconds: nobody may be there any more who wants it at once. */
const MAX_RETRY = 10_000;

/**
 * Makes a call that bears repeating until it is through or refused, and tells of what has failed, in a title and a
 * detail. Returns what the call has given, undefined if it was refused. Rejects only when the signal fires.
 */
export async function give<T>(name: string, call: () => Promise<T>, tell: (title: string, detail: string) => void, signal?: AbortSignal): Promise<{ readonly value: T } | undefined> {
  try {
    const value = await persist(call, {
      ...(signal === undefined ? {} : { signal }),
      maxRetry: MAX_RETRY,
      onFailure: (error) => tell(`${name} has not got through yet`, `${explain(error)}; trying again`),
    });
    return { value };
  } catch (error) {
    signal?.throwIfAborted();
    tell(`${name} did not get through`, explain(error));
    return undefined;
  }
}

export interface Command {
  /** Together with the session, what tells it from others. */
  readonly name: string;
  /** The session's id. */
  readonly to: string;
  readonly call: () => Promise<void>;
  /** Whether there is nothing left that it could do. */
  readonly isMoot: () => boolean;
  readonly tell: (title: string, detail: string) => void;
}

/** Commands under way. */
export class Commands {
  readonly #underWay = new Map<string, Promise<boolean>>();

  /** Gives a command until it is through, refused or moot, unless the same is under way. Returns whether it, or that, is through. */
  give({ name, to, call, isMoot, tell }: Command): Promise<boolean> {
    const key = `${name} ${to}`;
    const before = this.#underWay.get(key);
    if (before !== undefined) return before;
    const underWay = give(
      name,
      async () => !isMoot() && (await call(), true),
      (title, detail) => !isMoot() && tell(title, detail),
    ).then((through) => {
      this.#underWay.delete(key);
      return through?.value ?? false;
    });
    this.#underWay.set(key, underWay);
    return underWay;
  }
}
