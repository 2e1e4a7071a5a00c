import { get } from 'node:http';
import type { Config } from '../config/config.ts';
import type { ListenAddress } from '../config/values.ts';
import { CONFIG_OPTION, withSettings, type Command, type ExitCode } from './command.ts';

/** Shorter than the timeout that orchestrators give a probe, so that the reason is told. */
const TIMEOUT_MS = 2000;

/**
 * Asks the gateway that runs with the same settings how it is: for HEALTHCHECK and exec probes in
 * images that have no other client. Prints one line; 0 is well, 1 is not.
 */
export const healthCommand: Command = {
  name: 'health',
  summary: 'ask the running gateway whether it is ready, or live',
  options: [CONFIG_OPTION, { name: 'live', summary: 'ask whether it is live instead' }],
  run: withSettings(({ config }, { options, stdout, stderr }) =>
    health(config, options.has('live') ? '/health/live' : '/health/ready', stdout, stderr),
  ),
};

async function health(
  { adminListen }: Config,
  path: string,
  stdout: (text: string) => void,
  stderr: (text: string) => void,
): Promise<ExitCode> {
  if (adminListen === 'off' || adminListen.port === 0) {
    const got = adminListen === 'off' ? 'off' : 'port 0';
    stderr(`headgate: HEADGATE_ADMIN_LISTEN: expected an address to ask, got ${got}\n`);
    return 1;
  }
  let told = '';
  for (const host of hostsToAsk(adminListen)) {
    const asked = await ask(host, adminListen.port, path);
    if (asked.kind === 'answered') {
      const { status, body } = asked;
      (status === 200 ? stdout : stderr)(`${status} ${body}\n`);
      return status === 200 ? 0 : 1;
    }
    told ||= `${host}:${adminListen.port}${path}: ${asked.reason}`;
  }
  stderr(`headgate: no answer from ${told}\n`);
  return 1;
}

/** A listener on every address is asked on this machine's own, whichever family there is. */
function hostsToAsk({ host }: ListenAddress): string[] {
  if (host === '::') return ['127.0.0.1', '::1'];
  return [host === '0.0.0.0' ? '127.0.0.1' : host];
}

type Asked =
  | { readonly kind: 'answered'; readonly status: number; readonly body: string }
  | { readonly kind: 'silent'; readonly reason: string };

/** More than a health answer ever says. */
const MOST_BODY = 4096;

function ask(host: string, port: number, path: string): Promise<Asked> {
  return new Promise((resolve) => {
    const request = get(
      { host, port, path, agent: false, signal: AbortSignal.timeout(TIMEOUT_MS) },
      (answer) => {
        let body = '';
        answer.setEncoding('utf8');
        answer.on('data', (text: string) => {
          body = (body + text).slice(0, MOST_BODY);
        });
        answer.on('end', () =>
          resolve({ kind: 'answered', status: answer.statusCode ?? 0, body: body.trim() }),
        );
        answer.on('error', fail);
      },
    );
    request.on('error', fail);

    function fail(error: Error): void {
      const reason =
        error.name === 'AbortError' ? `nothing within ${TIMEOUT_MS} ms` : error.message;
      resolve({ kind: 'silent', reason });
    }
  });
}
