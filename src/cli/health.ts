import { get, type IncomingMessage } from 'node:http';
import { get as getOverTls } from 'node:https';
import type { Config } from '../config/config.ts';
import { isSocketPath, textOfAddress, type ListenAddress } from '../config/values.ts';
import { printable } from '../logs/terminal-text.ts';
import { CONFIG_OPTION, withSettings, type Command, type ExitCode } from './command.ts';

/** Shorter than the usual probe timeout of orchestrators, so that the reason is still printed. */
const TIMEOUT_MS = 2000;

/**
 * Requests the health of the gateway that runs with the same settings, for HEALTHCHECK and exec
 * probes in images without another HTTP client. Prints one line. The exit code is 0 for status 200.
 */
export const healthCommand: Command = {
  name: 'health',
  summary: 'check whether the running gateway is ready, or live',
  options: [CONFIG_OPTION, { name: 'live', summary: 'check whether it is live instead' }],
  settings: ['HEADGATE_ADMIN_LISTEN', 'HEADGATE_ADMIN_TLS_CERT', 'HEADGATE_ADMIN_TLS_KEY'],
  run: withSettings(({ config }, { options, stdout, stderr }) =>
    health(config, options.has('live') ? '/health/live' : '/health/ready', stdout, stderr),
  ),
};

async function health(
  { adminListen, adminTls }: Config,
  path: string,
  stdout: (text: string) => void,
  stderr: (text: string) => void,
): Promise<ExitCode> {
  if (adminListen === 'off' || (!isSocketPath(adminListen) && adminListen.port === 0)) {
    const got = adminListen === 'off' ? 'off' : 'port 0';
    stderr(`headgate: HEADGATE_ADMIN_LISTEN: expected an address with a port, got ${got}\n`);
    return 1;
  }
  let firstFailure = '';
  for (const address of addressesToTry(adminListen)) {
    const result = await request(adminTls !== undefined, address, path);
    if (result.kind === 'answered') {
      const { status, body } = result;
      (status === 200 ? stdout : stderr)(`${status} ${printable(body)}\n`);
      return status === 200 ? 0 : 1;
    }
    firstFailure ||= `${textOfAddress(address)}${path}: ${result.reason}`;
  }
  stderr(`headgate: no answer from ${firstFailure}\n`);
  return 1;
}

/** For a listener on all addresses, the loopback addresses, because one family may be absent. */
function addressesToTry(address: ListenAddress): ListenAddress[] {
  if (isSocketPath(address)) return [address];
  const { host, port } = address;
  const hosts = host === '::' ? ['127.0.0.1', '::1'] : [host === '0.0.0.0' ? '127.0.0.1' : host];
  return hosts.map((each) => ({ host: each, port }));
}

type RequestResult =
  | { readonly kind: 'answered'; readonly status: number; readonly body: string }
  | { readonly kind: 'failed'; readonly reason: string };

/** More than any health answer has. */
const MAX_BODY = 4096;

/**
 * Over TLS, the certificate is not verified, as the kubelet does not for its probes. The request has
 * no secret, it stays on this host, and certificates are rarely issued for loopback addresses. A
 * probe must not fail, and restart the gateway, because of another certificate than expected.
 */
function request(tls: boolean, address: ListenAddress, path: string): Promise<RequestResult> {
  return new Promise((resolve) => {
    const where = isSocketPath(address) ? { socketPath: address.path } : address;
    const options = { ...where, path, agent: false, signal: AbortSignal.timeout(TIMEOUT_MS) };
    const sent = tls
      ? getOverTls({ ...options, rejectUnauthorized: false }, onAnswer)
      : get(options, onAnswer);
    sent.on('error', fail);

    function onAnswer(answer: IncomingMessage): void {
      let body = '';
      answer.setEncoding('utf8');
      answer.on('data', (text: string) => {
        body = (body + text).slice(0, MAX_BODY);
      });
      answer.on('end', () =>
        resolve({ kind: 'answered', status: answer.statusCode ?? 0, body: body.trim() }),
      );
      answer.on('error', fail);
    }

    function fail(error: Error): void {
      const reason =
        error.name === 'AbortError' ? `timed out after ${TIMEOUT_MS} ms` : error.message;
      resolve({ kind: 'failed', reason });
    }
  });
}
