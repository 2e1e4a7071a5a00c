import type { DestinationStream } from 'pino';

/** The fields of the line `listening` that a person wants to know. */
interface Listening {
  readonly msg?: unknown;
  readonly url?: unknown;
  readonly adminUrl?: unknown;
  readonly upstream?: unknown;
  readonly mode?: unknown;
}

/**
 * Writes lines for a terminal into `destination`: the line `listening` as a sentence for a person,
 * and all other lines as they are.
 */
export function readableStart(version: string, destination: DestinationStream): DestinationStream {
  return {
    write(line: string) {
      // The cheap test first: every call has a line.
      destination.write(line.includes('"listening"') ? sentenceFor(line, version) : line);
    },
  };
}

function sentenceFor(line: string, version: string): string {
  const { msg, url, adminUrl, upstream, mode }: Listening = JSON.parse(line);
  if (msg !== 'listening') return line;
  const page = adminUrl === undefined ? '' : `  live page:     ${String(adminUrl)}/\n`;
  const observing = mode === 'observe' ? '  observe mode:  no call waits or is shed\n' : '';
  return `Headgate ${version}
  for callers:   ${String(url)}
  the API:       ${String(upstream)}
${page}${observing}Each call is a line of JSON from here on. Ctrl-C stops the gateway.
`;
}
