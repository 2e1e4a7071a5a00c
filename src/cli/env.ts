import { X509Certificate } from 'node:crypto';
import { servedApis, type Config, type ServedApi } from '../config/config.ts';
import { isSocketPath, textOfAddress } from '../config/values.ts';
import { printable } from '../logs/terminal-text.ts';
import { PRESETS } from '../presets/presets.ts';
import { CONFIG_OPTION, withSettings, type Command, type ExitCode } from './command.ts';

/** Clients with a base URL in their code, which read it from our variable as examples/callers do. */
const GENERAL: ReadonlyMap<string, { readonly caVariable: string }> = new Map([
  ['node', { caVariable: 'NODE_EXTRA_CA_CERTS' }],
  ['python', { caVariable: 'SSL_CERT_FILE' }],
  ['curl', { caVariable: 'CURL_CA_BUNDLE' }],
]);

/** The variable of clients that a preset knows, which are mostly written in Go. */
const CA_OF_OTHERS = 'SSL_CERT_FILE';

/**
 * Prints the variables by which a client reaches the gateway that runs with the same settings, as
 * lines for a shell: `eval "$(headgate env terraform)"`.
 */
export const envCommand: Command = {
  name: 'env',
  operands: 'CLIENT',
  operandValues: clients(),
  summary: `print the variables for a client of this gateway: ${clients().join(', ')}`,
  options: [CONFIG_OPTION],
  run: withSettings(({ config }, { operands, readFile, stdout, stderr }) => {
    const result = environmentFor(operands, config, readFile);
    if (result.kind === 'wrong') {
      stderr(`headgate: ${printable(result.problem)}\n`);
      return result.code;
    }
    stdout(result.lines.map((line) => `${line}\n`).join(''));
    return 0;
  }),
};

/** The clients that can be named. */
function clients(): string[] {
  const ofPresets = [...PRESETS.values()].flatMap((preset) => Object.keys(preset.clients ?? {}));
  return [...new Set([...ofPresets, ...GENERAL.keys()])];
}

type Result =
  | { readonly kind: 'lines'; readonly lines: readonly string[] }
  | { readonly kind: 'wrong'; readonly problem: string; readonly code: ExitCode };

function environmentFor(
  operands: readonly string[],
  config: Config,
  readFile: (path: string) => string,
): Result {
  const [client = '', ...more] = operands;
  if (!clients().includes(client) || more.length > 0) {
    const got = operands.length === 0 ? 'nothing' : operands.join(' ');
    return wrong(`expected one of ${clients().join(', ')} after env, got ${got}`, 2);
  }
  const { listen } = config;
  if (isSocketPath(listen) || listen.port === 0) {
    const got = isSocketPath(listen) ? textOfAddress(listen) : 'port 0';
    return wrong(
      `HEADGATE_LISTEN: expected an address with a port, which a variable of ${client} can have, got ${got}`,
      1,
    );
  }
  const variables = servedApis(config).flatMap((api) => variablesOf(client, api));
  if (variables.length === 0) {
    return wrong(
      `expected an API whose preset knows a variable of ${client} for its base URL, got ${servedApis(
        config,
      )
        .map((api) => api.config.preset)
        .join(', ')}`,
      1,
    );
  }
  return { kind: 'lines', lines: [...variables.map(exported), ...trust(client, config, readFile)] };
}

type Variable = readonly [name: string, value: string];

function variablesOf(client: string, api: ServedApi): Variable[] {
  const url = urlOf(api);
  if (GENERAL.has(client)) return [[generalVariable(api.name), url]];
  const names = PRESETS.get(api.config.preset)?.clients?.[client] ?? [];
  return names.map((name) => [name, url]);
}

/** `HEADGATE_URL`, or of several APIs `HEADGATE_URL_GITHUB`. */
function generalVariable(api: string | undefined): string {
  if (api === undefined) return 'HEADGATE_URL';
  return `HEADGATE_URL_${api.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}`;
}

/** The base URL of an API at the gateway. */
function urlOf({ match, config }: ServedApi): string {
  const { listen, tls } = config;
  const [scheme, usual] = tls === undefined ? ['http', 80] : ['https', 443];
  if (isSocketPath(listen)) throw new TypeError('a Unix socket has no URL');
  const host = match.hosts[0] ?? reachable(listen.host);
  const authority = textOfAddress({ host, port: listen.port });
  const isUsual = listen.port === usual;
  return `${scheme}://${isUsual ? authority.replace(/:\d+$/, '') : authority}${match.prefix}`;
}

/** A listener on all addresses is reached by loopback. */
function reachable(host: string): string {
  return host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
}

/** How the client learns to trust the listener's certificate, if it is not of a common authority. */
function trust(client: string, { tls }: Config, readFile: (path: string) => string): string[] {
  if (tls === undefined) return [];
  const variable = GENERAL.get(client)?.caVariable ?? CA_OF_OTHERS;
  const { issuer, subject } = new X509Certificate(readFile(tls.cert));
  return issuer === subject
    ? [exported([variable, tls.cert])]
    : [`# ${variable} names a file with the authority that issued ${tls.cert}, if it is your own.`];
}

/** A line for a POSIX shell. */
function exported([name, value]: Variable): string {
  return `export ${name}='${value.replaceAll("'", String.raw`'\''`)}'`;
}

function wrong(problem: string, code: ExitCode): Result {
  return { kind: 'wrong', problem, code };
}
