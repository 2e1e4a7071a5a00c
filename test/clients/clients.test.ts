// @module-tag needs-openssl
import { join } from 'node:path';
import { afterAll, beforeAll, describe, test, type TestContext } from 'vitest';
import type { ToolName } from '../../scripts/test-tools.ts';
import { startAzion, type Azion } from '../support/azion.ts';
import type { LogLine } from '../support/captured-log.ts';
import { Certificates, type Certificate } from '../support/certificates.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { ROOT, Spawned } from '../support/spawned.ts';
import { needs, pathOf } from '../support/tools.ts';

/**
 * Real clients, as their registries have them, in front of both versions of the API. Each runs a script
 * of this folder, which calls more often than a window allows.
 */

const V3_HOST = 'api.azionapi.net';
const V4_HOST = 'api.azion.com';

/** More calls than a window allows, to each address. */
const CALLS = 4;
const WINDOW = { limit: 3, periodMs: 1000 };
const LIMITS = { read: WINDOW, 'v4-read': WINDOW, 'v4-purge': WINDOW };

let certificates: Certificates;
let authority: Certificate;
let ofApi: Certificate;
/** The authority in the form that Java reads. */
let trustStore: string;
beforeAll(() => {
  certificates = new Certificates();
  authority = certificates.authority([V3_HOST, V4_HOST]);
  ofApi = certificates.make(`DNS:${V3_HOST}`, `DNS:${V4_HOST}`);
  trustStore = join(certificates.folder, 'trust.p12');
});
afterAll(() => certificates.remove());

interface Setup {
  readonly azion: Azion;
  readonly gateway: TestGateway;
}

/** Starts the simulator of the API, and a gateway for both of its versions with a proxy. */
async function setUp({ onTestFinished }: TestContext): Promise<Setup> {
  // With resets as delays, no test waits until the gateway knows the API's clock.
  const dialect = { reset: 'delta-float' } as const;
  const azion = await startAzion({ limits: LIMITS, dialect, tls: ofApi });
  onTestFinished(() => azion.close());
  const upstream = `upstreamAddress: ${new URL(azion.url).host}, upstreamCa: ${ofApi.certPath}`;
  const gateway = await startGateway({
    settings: {
      HEADGATE_UPSTREAM_URL: '',
      HEADGATE_INTERCEPT: `${V3_HOST},${V4_HOST}`,
      HEADGATE_INTERCEPT_LISTEN: '127.0.0.1:0',
      HEADGATE_INTERCEPT_CA_CERT: authority.certPath,
      HEADGATE_INTERCEPT_CA_KEY: authority.keyPath,
    },
    files: {
      'headgate.yaml': `
apis:
  v4: { preset: azion-v4, match: { path: /v4/** }, ${upstream} }
  v3: { preset: azion, ${upstream} }
`,
    },
  });
  onTestFinished(() => gateway.stop());
  return { azion, gateway };
}

/** The variables by which clients find the proxy, and trust its authority. */
function variables({ proxyUrl }: TestGateway): Record<string, string> {
  const { certPath } = authority;
  return {
    HTTPS_PROXY: proxyUrl,
    NODE_USE_ENV_PROXY: '1',
    NODE_EXTRA_CA_CERTS: certPath,
    CURL_CA_BUNDLE: certPath,
    REQUESTS_CA_BUNDLE: certPath,
    SSL_CERT_FILE: certPath,
    // For clients that read no variable, and take the file as an option or a parameter.
    CA_FILE: certPath,
  };
}

interface Started {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

interface Client {
  readonly name: string;
  readonly tools: readonly ToolName[];
  /** How it is started with the file of its calls, and before the arguments of the file. */
  readonly start: (file: string, gateway: TestGateway) => Started | Promise<Started>;
  readonly file: string;
}

const node = (file: string): Started => ({ command: process.execPath, args: [file] });

function python(file: string): Started {
  const env = { PYTHONPATH: pathOf('python-clients') };
  return { command: pathOf('python3'), args: [file], env };
}

const shell = (file: string): Started => ({ command: 'sh', args: [file] });

/** It reads the variable in lower case alone. */
function wget(file: string, { proxyUrl }: TestGateway): Started {
  return { ...shell(file), env: { https_proxy: proxyUrl } };
}

/** It keeps what it compiles of its own library where Go does, for the next run. None of that is in C. */
function go(file: string): Started {
  const env = { GOTOOLCHAIN: 'local', CGO_ENABLED: '0' };
  return { command: pathOf('go'), args: ['run', file], env };
}

/** For programs that end soon: neither the best code nor several collectors are worth their start. */
const QUICK_JAVA = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xshare:auto'];

async function java(file: string, { proxyUrl }: TestGateway): Promise<Started> {
  const store = ['-keystore', trustStore, '-storepass', 'changeit', '-storetype', 'PKCS12'];
  const what = ['-importcert', '-noprompt', '-alias', 'headgate', '-file', authority.certPath];
  const quick = QUICK_JAVA.map((option) => `-J${option}`);
  await new Spawned('keytool', [...quick, ...what, ...store]).ended();
  const { hostname, port } = new URL(proxyUrl);
  const properties = {
    'https.proxyHost': hostname,
    'https.proxyPort': port,
    'javax.net.ssl.trustStore': trustStore,
    'javax.net.ssl.trustStorePassword': 'changeit',
  };
  const options = Object.entries(properties).map(([name, value]) => `-D${name}=${value}`);
  return { command: 'java', args: [...QUICK_JAVA, ...options, file] };
}

/** The clients whose addresses are in the code that uses them. */
const CLIENTS: readonly Client[] = [
  { name: 'curl', tools: ['curl'], start: shell, file: 'curl.sh' },
  { name: 'wget', tools: ['wget'], start: wget, file: 'wget.sh' },
  { name: 'Go', tools: ['go'], start: go, file: 'calls.go' },
  { name: 'Java', tools: ['javac'], start: java, file: 'Calls.java' },
  ...['requests', 'httpx', 'aiohttp', 'urllib3'].map((name): Client => ({
    name: `Python ${name}`,
    tools: ['python3', 'python-clients'],
    start: python,
    file: `python-${name}.py`,
  })),
  ...['fetch', 'axios', 'got', 'ky', 'octokit'].map((name): Client => ({
    name: `Node ${name}`,
    tools: [],
    start: node,
    file: `${name}.mjs`,
  })),
];

/** Runs a client to its end, and returns the lines that it printed. */
async function run(
  { expect, onTestFinished }: TestContext,
  { file, start }: Pick<Client, 'file' | 'start'>,
  gateway: TestGateway,
  ...args: readonly string[]
): Promise<string[]> {
  const started = await start(join(ROOT, 'test/clients', file), gateway);
  const env = { ...variables(gateway), ...started.env };
  const client = new Spawned(started.command, [...started.args, ...args], { env });
  onTestFinished(() => client.stop());
  const { code, stdout, stderr } = await client.ended();
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout.trim().split('\n');
}

/** The log lines of all calls that the API served, each with how it ended; by API and path. */
async function loggedCalls({ azion, gateway }: Setup): Promise<Record<string, string[]>> {
  const lines = await gateway.log.wait('call', azion.operations);
  const byPath = Map.groupBy(lines, ({ api, path }) => `${String(api)} ${String(path)}`);
  return Object.fromEntries([...byPath].map(([key, of]) => [key, of.map(ending)]));
}

function ending({ outcome, status }: LogLine): string {
  return `${String(outcome)} ${String(status)}`;
}

function times<T>(count: number, value: T): T[] {
  return Array.from({ length: count }, () => value);
}

test('without the gateway, such a client sees 429s', async (context) => {
  const { expect, onTestFinished } = context;
  const azion = await startAzion({ limits: { 'v4-read': { limit: 3, periodMs: 3_600_000 } } });
  onTestFinished(() => azion.close());
  const url = `${azion.url}/v4/workspace/workloads`;
  const { command, args } = node(join(ROOT, 'test/clients/fetch.mjs'));
  const { stdout } = await new Spawned(command, [...args, String(CALLS), url]).ended();
  expect(stdout.match(/^\d+/gm)).toEqual(['200', '200', '200', '429']);
});

describe.concurrent('sees no 429 and no error, and each of its calls has a log line:', () => {
  for (const client of CLIENTS) {
    test(
      `${client.name}, on v3, on v4 and by interception`,
      { tags: needs(...client.tools) },
      async (context) => {
        const { expect } = context;
        const setup = await setUp(context);
        const { azion, gateway } = setup;
        const ways = {
          'v3 by base URL': `${gateway.url}/domains`,
          'v4 by base URL': `${gateway.url}/v4/workspace/workloads`,
          'v4 by interception': `https://${V4_HOST}/v4/workspace/network_lists`,
        };
        const printed = await run(context, client, gateway, String(CALLS), ...Object.values(ways));
        const statuses = Object.entries(ways).map(([way, url]) => {
          const own = printed.filter((line) => line.endsWith(` ${url}`));
          return [way, own.map((line) => line.split(' ', 1)[0])];
        });
        const all = times(CALLS, '200');
        expect(Object.fromEntries(statuses)).toEqual({
          'v3 by base URL': all,
          'v4 by base URL': all,
          'v4 by interception': all,
        });
        const answered = times(CALLS, 'answered 200');
        expect(await loggedCalls(setup)).toEqual({
          'v3 /domains': answered,
          'v4 /workspace/workloads': answered,
          'v4 /workspace/network_lists': answered,
        });
        expect(azion.operations).toBe(3 * CALLS);
      },
    );
  }

  test(
    'npm azion, whose addresses of both versions are fixed',
    { tags: needs('npm-azion') },
    async (context) => {
      const { expect } = context;
      const setup = await setUp(context);
      const start = (file: string): Started => ({
        ...node(file),
        env: { NODE_PATH: pathOf('npm-azion') },
      });
      const printed = await run(
        context,
        { file: 'azion.cjs', start },
        setup.gateway,
        String(CALLS),
      );
      expect(printed).toEqual(times(CALLS, '"10 executed"'));
      expect(await loggedCalls(setup)).toEqual({
        'v3 /domains': times(CALLS, 'answered 200'),
        'v4 /workspace/purge/url': times(CALLS, 'answered 201'),
      });
    },
  );

  test(
    'octoDNS with octodns-azion, whose address is fixed',
    { tags: needs('python3', 'python-clients') },
    async (context) => {
      const { expect } = context;
      const setup = await setUp(context);
      const client = { file: 'python-octodns.py', start: python };
      const printed = await run(context, client, setup.gateway, String(CALLS));
      expect(printed).toEqual(
        Array.from({ length: CALLS }, (_, i) => `intelligent_dns-0${i + 1}. 1`),
      );
      const zones = Array.from({ length: CALLS }, (_, i) => `v3 /intelligent_dns/${i + 1}/records`);
      expect(await loggedCalls(setup)).toEqual({
        'v3 /intelligent_dns': times(CALLS, 'answered 200'),
        ...Object.fromEntries(zones.map((zone) => [zone, ['answered 200']])),
      });
    },
  );
});
