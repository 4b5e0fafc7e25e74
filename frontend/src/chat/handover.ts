// Commands that go on elsewhere from where a reader stands. Each is to be pasted
// into a POSIX shell and works as it is; it has no comments, which an interactive
// zsh takes for commands.
import type { EventCursor } from '../client/client.ts';

/** The command that reads a session past an event, or, without one, its whole text. */
export function curl(origin: string, id: string, cursor: number | undefined): string {
  const session = `${origin}/v1/sessions/${encodeURIComponent(id)}`;
  if (cursor === undefined) return `curl ${word(`${session}/text`)}`;
  return `curl -N ${cursor > 0 ? `-H 'Last-Event-ID: ${cursor}' ` : ''}${word(`${session}/events`)}`;
}

/**
 * The command that writes the text behind a place with OpenAI's SDK, in a folder
 * that has it. Throws if the session cannot be read so.
 */
export function openai(origin: string, place: { readonly responses?: EventCursor }): string {
  if (!place.responses) throw new Error('the session is not shown as a response');
  const { id, starting_after: after } = place.responses;
  const asked = after === undefined ? '{ stream: true }' : `{ stream: true, starting_after: ${after} }`;
  const program = `
import OpenAI from "openai"; // npm install openai
const client = new OpenAI({ baseURL: ${JSON.stringify(`${origin}/v1`)}, apiKey: "none" });
for await (const event of await client.responses.retrieve(${JSON.stringify(id)}, ${asked})) {
  if (event.type === "response.output_text.delta") process.stdout.write(event.delta);
  if (event.type === "response.failed") throw new Error(event.response.error.message);
}`;
  return `node --input-type=module -e ${quoted(program)}`;
}

/** One word of a shell's command line: as it is where that is safe, for the eye. */
function word(text: string): string {
  return /^[\w/:.%@+=,-]+$/.test(text) ? text : quoted(text);
}

/** A text within single quotes, where a shell leaves everything but one of those alone. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
