import type { DestinationStream } from 'pino';

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
  const {
    msg,
    url,
    proxyUrl,
    adminUrl,
    upstream,
    mode,
  }: Readonly<Record<string, string | undefined>> = JSON.parse(line);
  if (msg !== 'listening') return line;
  const page = adminUrl === undefined ? '' : `  live page:     ${adminUrl}/\n`;
  const proxy = proxyUrl === undefined ? '' : `  HTTPS_PROXY:   ${proxyUrl}\n`;
  const observing = mode === 'observe' ? '  observe mode:  no call waits or is shed\n' : '';
  return `Headgate ${version}
  for callers:   ${url}
${proxy}  the API:       ${upstream}
${page}${observing}Each call is a line of JSON from here on. Ctrl-C stops the gateway.
`;
}
