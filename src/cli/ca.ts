import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Authority, PemPair } from '../certificates/authority.ts';
import { servedApis } from '../config/config.ts';
import { SETTINGS } from '../config/settings.ts';
import { printable } from '../logs/terminal-text.ts';
import { systemClock } from '../util/system-clock.ts';
import { messageOf } from '../util/message-of.ts';
import { CONFIG_OPTION, readSettings, type Command, type Invocation } from './command.ts';

/** The files of one folder. The names state what each is; nothing is written anywhere else. */
const AUTHORITY = 'headgate-ca';
const SERVER = 'headgate-server';
/** What clients accept of a server's certificate: some limit it to 398 days. */
const SERVER_LIFETIME_MS = 397 * 24 * 60 * 60_000;

/**
 * Makes the certificates by which clients with a fixed address accept Headgate: `init` an authority,
 * `leaf` a server's certificate of it. Existing files are never replaced.
 */
export const caCommand: Command = {
  name: 'ca',
  operands: 'init|leaf',
  operandValues: ['init', 'leaf'],
  summary: 'make an authority for clients with a fixed address, or a certificate of it',
  options: [
    { name: 'hosts', value: 'HOSTS', summary: 'the host names, comma-separated' },
    { name: 'out', value: 'DIR', summary: 'the folder of the files (.)' },
    CONFIG_OPTION,
  ],
  async run(invocation) {
    const result = await make(invocation);
    if (result.kind === 'done') {
      invocation.stdout(result.text);
      return 0;
    }
    invocation.stderr(
      result.problems.map((problem) => `headgate: ${printable(problem)}\n`).join(''),
    );
    return result.code;
  },
};

interface Failed {
  readonly kind: 'failed';
  readonly problems: readonly string[];
  readonly code: 1 | 2;
}

type Result = { readonly kind: 'done'; readonly text: string } | Failed;

interface Hosts {
  readonly kind: 'hosts';
  readonly hosts: readonly string[];
}

async function make(invocation: Invocation): Promise<Result> {
  const { operands, options, readFile } = invocation;
  const [what, ...more] = operands;
  if ((what !== 'init' && what !== 'leaf') || more.length > 0) {
    const got = operands.length === 0 ? 'nothing' : operands.join(' ');
    return wrong(`expected init or leaf after ca, got ${got}`);
  }
  const named = namedHosts(options.get('hosts'));
  if (named === 'bad') return wrong(`--hosts: expected ${SETTINGS.intercept.kind.expected}`);
  const folder = resolve(options.get('out') ?? '.');
  // Imported only here: other commands need no certificates.
  const certificates = await import('../certificates/authority.ts');
  const nowMs = systemClock.wallMs();
  if (what === 'init') {
    const found: Hosts | Failed =
      named === undefined ? hostsOfSettings(invocation) : { kind: 'hosts', hosts: named };
    if (found.kind === 'failed') return found;
    const { hosts } = found;
    return written(folder, AUTHORITY, () => certificates.createAuthority(hosts, nowMs), afterInit);
  }
  let authority: Authority;
  try {
    const files = pathsOf(folder, AUTHORITY);
    const texts = { cert: readFile(files.cert), key: readFile(files.key) };
    const opened = certificates.openAuthority(texts, named ?? [], nowMs);
    if (opened.kind === 'bad') return failed(`${files.cert}: ${opened.problem}`);
    authority = opened.authority;
  } catch (error) {
    return failed(`expected the files of headgate ca init in ${folder}, got: ${messageOf(error)}`);
  }
  const hosts = named ?? authority.names ?? [];
  if (hosts.length === 0) return wrong('expected --hosts, because the authority has no names');
  return written(
    folder,
    SERVER,
    () => authority.issue(hosts, nowMs, SERVER_LIFETIME_MS),
    (paths) => afterLeaf(paths, hosts),
  );
}

/** The hosts of an option; `undefined` without it. */
function namedHosts(text: string | undefined): readonly string[] | undefined | 'bad' {
  return text === undefined ? undefined : (SETTINGS.intercept.kind.parse(text) ?? 'bad');
}

/** The hosts of HEADGATE_INTERCEPT, else those of the APIs. */
function hostsOfSettings(invocation: Invocation): Hosts | Failed {
  const listed = namedHosts(invocation.env[SETTINGS.intercept.variable] || undefined);
  if (listed !== undefined && listed !== 'bad') return { kind: 'hosts', hosts: listed };
  const loaded = readSettings(invocation);
  if (loaded.kind === 'bad') return { kind: 'failed', problems: loaded.problems, code: 2 };
  const origins = servedApis(loaded.config).map(({ config }) => new URL(config.upstream.origin));
  return { kind: 'hosts', hosts: [...new Set(origins.map(({ hostname }) => hostname))] };
}

interface Paths {
  readonly cert: string;
  readonly key: string;
}

function pathsOf(folder: string, name: string): Paths {
  return { cert: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) };
}

/** Writes a pair that does not exist yet. The key is for this user alone. */
function written(
  folder: string,
  name: string,
  pair: () => PemPair,
  explain: (paths: Paths) => string,
): Result {
  const paths = pathsOf(folder, name);
  for (const path of [paths.cert, paths.key]) {
    if (existsSync(path)) return failed(`expected no file ${path}, got one, which stays as it is`);
  }
  try {
    mkdirSync(folder, { recursive: true });
    const { cert, key } = pair();
    writeFileSync(paths.key, key, { mode: 0o600, flag: 'wx' });
    writeFileSync(paths.cert, cert, { mode: 0o644, flag: 'wx' });
  } catch (error) {
    return failed(`expected to write ${paths.cert} and ${paths.key}, got: ${messageOf(error)}`);
  }
  return { kind: 'done', text: explain(paths) };
}

function afterInit({ cert, key }: Paths): string {
  return `Wrote the authority ${cert} and its private key ${key}.
A program that has the key can answer for these hosts to every client that trusts the authority.

For Headgate:
  HEADGATE_INTERCEPT_CA_CERT=${cert}
  HEADGATE_INTERCEPT_CA_KEY=${key}

For clients, which need the certificate and never the key. A variable marked * replaces the
authorities of the system: name a file that has those as well, such as
  cat /etc/ssl/certs/ca-certificates.crt ${cert} > bundle.pem

  system     cp ${cert} /usr/local/share/ca-certificates/ && update-ca-certificates
             (Debian, Ubuntu, Alpine; curl, wget, Go and Terraform then need no variable)
  curl       CURL_CA_BUNDLE=… *, or --cacert
  wget       --ca-certificate=${cert}, or ca_certificate in ~/.wgetrc
             (it heeds https_proxy, in lower case alone)
  Go         SSL_CERT_FILE=… *
  Terraform  SSL_CERT_FILE=… * (its providers are written in Go)
  Node       NODE_EXTRA_CA_CERTS=${cert}
             and NODE_USE_ENV_PROXY=1, by which it heeds HTTPS_PROXY
  Python     REQUESTS_CA_BUNDLE=… * for requests; SSL_CERT_FILE=… * for httpx, aiohttp, urllib
             (aiohttp heeds HTTPS_PROXY with ClientSession(trust_env=True) alone)
  Java       keytool -importcert -noprompt -alias headgate -file ${cert} \\
               -keystore headgate.jks -storepass changeit
             and -Djavax.net.ssl.trustStore=headgate.jks -Dhttps.proxyHost=… -Dhttps.proxyPort=…
             Java does not check to which hosts the authority is limited: trust it in one program.

docs/clients.md shows each way in, client by client.
`;
}

function afterLeaf({ cert, key }: Paths, hosts: readonly string[]): string {
  return `Wrote the certificate ${cert} for ${hosts.join(', ')} and its private key ${key}.

For Headgate:
  HEADGATE_TLS_CERT=${cert}
  HEADGATE_TLS_KEY=${key}
  HEADGATE_UPSTREAM_ADDRESS=… if this host, too, resolves the name to Headgate

Clients trust the authority, not this file, and resolve the name to Headgate: docs/clients.md.
It is valid for 397 days. Headgate reads it again when it changes.
`;
}

function wrong(problem: string): Result {
  return { kind: 'failed', problems: [problem], code: 2 };
}

function failed(problem: string): Result {
  return { kind: 'failed', problems: [problem], code: 1 };
}
