/** The reader's place as an address: /s/<id>?at=57&paused=1&pace=20. */

export interface Place {
  readonly id: string;
  /** The last event drawn; undefined for all there is. */
  readonly at: number | undefined;
  readonly paused: boolean;
  /** Events a second for this reader; 0, as they come. */
  readonly pace: number;
}

/** The place that the address names, or undefined for the empty page. */
export function parsePlace(pathname: string, search: string): Place | undefined {
  const match = /^\/s\/([^/]+)\/?$/.exec(pathname);
  if (match === null) return undefined;
  let id: string;
  try {
    id = decodeURIComponent(match[1]!);
  } catch {
    return undefined;
  }
  const query = new URLSearchParams(search);
  return { id, at: count(query.get('at')), paused: query.get('paused') === '1', pace: count(query.get('pace')) ?? 0 };
}

export function formatPlace(place: Place): string {
  let out = `/s/${encodeURIComponent(place.id)}`;
  const query: string[] = [];
  if (place.at !== undefined) query.push(`at=${place.at}`);
  if (place.paused) query.push('paused=1');
  if (place.pace > 0) query.push(`pace=${place.pace}`);
  if (query.length > 0) out += `?${query.join('&')}`;
  return out;
}

function count(value: string | null): number | undefined {
  if (value === null || !/^[0-9]+$/.test(value)) return undefined;
  const n = Number(value);
  return Number.isSafeInteger(n) ? n : undefined;
}
