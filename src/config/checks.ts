import { token, type ListenAddress, type UpstreamAddress } from './values.ts';

/** What is wrong with addresses that are each fine alone: two that are one, or a circle. */
export function addressProblems(
  listen: ListenAddress,
  adminListen: ListenAddress | 'off',
  upstream: UpstreamAddress | undefined,
): string[] {
  const problems: string[] = [];
  if (
    adminListen !== 'off' &&
    listen.port !== 0 &&
    listen.port === adminListen.port &&
    listen.host === adminListen.host
  ) {
    problems.push(
      `HEADGATE_ADMIN_LISTEN: expected another address than HEADGATE_LISTEN, got the same, ${listen.host}:${listen.port}`,
    );
  }
  const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host;
  if (upstream?.origin === `http://${host}:${listen.port}`) {
    problems.push(
      `HEADGATE_UPSTREAM_URL: expected the API, got our own HEADGATE_LISTEN, ${upstream.origin}`,
    );
  }
  return problems;
}

/** What is wrong with the token's file, or with having it twice. The token itself is not told. */
export function tokenProblems(
  value: string | undefined,
  path: string | undefined,
  readFile: (path: string) => string,
): string[] {
  if (path === undefined) return [];
  if (value !== undefined) {
    return ['HEADGATE_TOKEN_FILE: expected to be alone, got HEADGATE_TOKEN as well'];
  }
  try {
    const content = readFile(path).trim();
    if (token.parse(content) !== undefined) return [];
    return [
      `HEADGATE_TOKEN_FILE: expected a file with a token of ${token.expected}, got ${content.length} characters that are not`,
    ];
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return [`HEADGATE_TOKEN_FILE: expected a readable file, got: ${why}`];
  }
}
