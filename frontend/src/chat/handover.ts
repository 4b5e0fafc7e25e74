/** The command that reads a session past an event, or, without one, its whole text. */
export function handover(origin: string, id: string, cursor: number | undefined): string {
  const session = `${origin}/v1/sessions/${encodeURIComponent(id)}`;
  if (cursor === undefined) return `curl ${session}/text`;
  return `curl -N ${cursor > 0 ? `-H 'Last-Event-ID: ${cursor}' ` : ''}${session}/events`;
}
