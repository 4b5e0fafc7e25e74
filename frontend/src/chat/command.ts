/** Commands that somebody gives: they are given until they are through. */

import { persist } from '../client/index.ts';
import { explain } from './trouble.ts';

/**
 * Makes a call that bears repeating until it is through or refused, and tells of what has failed, in a title and a
 * detail. Returns what the call has given, undefined if it was refused. Rejects only when the signal fires.
 */
export async function give<T>(name: string, call: () => Promise<T>, tell: (title: string, detail: string) => void, signal?: AbortSignal): Promise<{ readonly value: T } | undefined> {
  try {
    const value = await persist(call, {
      ...(signal === undefined ? {} : { signal }),
      onFailure: (error) => tell(`${name} has not got through yet`, `${explain(error)}; trying again`),
    });
    return { value };
  } catch (error) {
    signal?.throwIfAborted();
    tell(`${name} did not get through`, explain(error));
    return undefined;
  }
}
