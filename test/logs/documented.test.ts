import { execFile } from 'node:child_process';
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { readLogLine } from '../../src/logs/log-line.ts';
import { ask } from '../support/ask.ts';
import { startAzion, type Azion } from '../support/azion.ts';
import type { CapturedLog } from '../support/captured-log.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startGateway } from '../support/gateway.ts';
import { giveUp } from '../support/give-up.ts';
import { bucketsOf, until } from '../support/setup.ts';
import { ROOT } from '../support/spawned.ts';
import { needs } from '../support/tools.ts';

const schemaText = readFileSync(`${ROOT}docs/logs.schema.json`, 'utf8');
const page = readFileSync(`${ROOT}docs/logs.md`, 'utf8');
const fields = z.record(z.string(), z.unknown());
const schema = z
  .object({
    properties: fields,
    $defs: z.object({
      call: z.object({ properties: fields }),
      throttled: z.object({ properties: fields }),
    }),
  })
  .parse(JSON.parse(schemaText));
const common = Object.keys(schema.properties);

let log: CapturedLog;

beforeAll(async () => {
  log = await linesOfEveryKind();
});

/** The log of a gateway whose calls end with every outcome. */
async function linesOfEveryKind(): Promise<CapturedLog> {
  const azion = await startAzion({ limits: { read: { limit: 3, periodMs: 60_000 } } });
  const gateway = await startGateway({ upstream: azion.url, settings: { HEADGATE_RETRIES: '0' } });
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const credential = { authorization: 'token 1', traceparent };
  const other = { authorization: 'token 2', 'headgate-cost': '2' };

  const body = '{"name":"a"}';
  await ask(`${gateway.url}/domains`, { method: 'POST', headers: credential, body });
  azion.failNext('throttle-route:1');
  await ask(`${gateway.url}/domains?page=1`, { headers: credential });
  azion.failNext('reset-after-read');
  await ask(`${gateway.url}/domains`, { headers: other });
  const shed = { ...other, 'headgate-max-wait': '1s' };
  for (let n = 0; n < 6; n++) await ask(`${gateway.url}/domains`, { headers: shed });
  const signal = new AbortController();
  const seen = azion.seen.length;
  azion.failNext('never-answer');
  const aborted = ask(`${gateway.url}/domains`, {
    method: 'DELETE',
    headers: credential,
    signal: signal.signal,
  });
  while (azion.seen.length === seen) await new Promise(setImmediate);
  signal.abort();
  await aborted.catch(() => undefined);
  await ask(`${gateway.url}/domains`, { headers: { ...credential, 'headgate-priority': 'now' } });
  const { hostname, port } = new URL(gateway.url);
  await new Promise((resolve) => {
    connect(Number(port), hostname).on('close', resolve).end('nonsense\r\n\r\n').resume();
  });
  await gateway.log.wait('call', 12);
  await gateway.stop();
  await observed(azion, gateway.log);
  await ofSeveralApis(azion, gateway.log);
  await ofKnownPatience(azion, gateway.log);
  await ofReserve(gateway.log);
  await azion.close();
  return gateway.log;
}

/** Adds the lines of calls in observe mode, of a credential with a name: two of them are shed. */
async function observed({ url }: Azion, log: CapturedLog): Promise<void> {
  const settings = { HEADGATE_MODE: 'observe', HEADGATE_SECRET: 'a-secret-of-the-test' };
  const headers = { authorization: 'token 3', 'headgate-max-wait': '1s' };
  let file = '{}';
  for (let round = 0; round < 2; round++) {
    const gateway = await startGateway({
      upstream: url,
      settings,
      files: { 'headgate.yaml': file },
    });
    for (let n = 0; n < 5; n++) await ask(`${gateway.url}/domains`, { headers });
    const [line = {}] = await gateway.log.wait('call', 5);
    await gateway.stop();
    log.write(gateway.log.text);
    const [hash] = String(line['bucket']).split(':');
    file = `credentials:\n  - { hash: '${hash}', name: production }\n`;
  }
}

/** Adds the lines of a call of one of several APIs, which the API throttles once. */
async function ofSeveralApis(azion: Azion, log: CapturedLog): Promise<void> {
  const gateway = await startGateway({
    settings: { HEADGATE_UPSTREAM_URL: '', HEADGATE_SECRET: 'a-secret-of-the-test' },
    files: { 'headgate.yaml': `apis: { azion: { preset: azion, upstreamUrl: '${azion.url}' } }` },
  });
  azion.failNext('throttle-route:1');
  await ask(`${gateway.url}/domains`, { headers: { authorization: 'token 4' } });
  await gateway.log.wait('call', 1);
  await gateway.stop();
  log.write(gateway.log.text);
}

/** Adds the lines of a client whose patience is learned, and applies to its last call. */
async function ofKnownPatience(azion: Azion, log: CapturedLog): Promise<void> {
  const clock = new FakeClock();
  const settings = { HEADGATE_UPSTREAM_CONNECTIONS: '1', HEADGATE_BUDGET_PER: 'upstream' };
  const gateway = await startGateway({ upstream: azion.url, settings, clock });
  const seen = azion.seen.length;
  azion.failNext('never-answer');
  const headers = { authorization: 'token 5' };
  void ask(`${gateway.url}/domains`, { headers }).catch(() => undefined);
  while (azion.seen.length === seen) await new Promise(setImmediate);
  await giveUp(gateway, clock, [5000, 5000, 5000, 5000, 5000, 1000], { headers });
  await gateway.stop();
  log.write(gateway.log.text);
}

/** Adds the lines of a job that waits for the reserve, and of a call that uses it. */
async function ofReserve(log: CapturedLog): Promise<void> {
  const clock = new FakeClock();
  const azion = await startAzion({ limits: { read: { limit: 10, periodMs: 60_000 } }, clock });
  const gateway = await startGateway({ upstream: azion.url, clock });
  const headers = { authorization: 'token 6' };
  const job = { headers, from: '127.0.0.2' };
  await ask(`${gateway.url}/domains`, { headers });
  for (let n = 0; n < 7; n++) await ask(`${gateway.url}/domains`, job);
  const waiting = ask(`${gateway.url}/domains`, job);
  await until('it waits', async () => (await bucketsOf(gateway))[0]?.waiting === 1);
  await ask(`${gateway.url}/domains`, { headers });
  clock.advance(50_000);
  await waiting;
  await gateway.log.wait('call', 10);
  await gateway.stop();
  await azion.close();
  log.write(gateway.log.text);
}

describe('the log of a gateway', () => {
  test('has a call of every outcome, and only valid lines', () => {
    const outcomes = log.named('call').map((line) => line['outcome']);
    expect(new Set(outcomes)).toEqual(new Set(['answered', 'shed', 'failed', 'aborted']));
    expect(log.named('throttled').length).toBeGreaterThan(0);
    expect(log.forged).toEqual([]);
  });

  test('matches its JSON Schema, line by line', () => {
    const validate = new Ajv2020({ allErrors: true, strict: true }).compile(JSON.parse(schemaText));
    const problems = log.lines.flatMap((line) =>
      validate(line) ? [] : [{ line, errors: validate.errors }],
    );
    expect(problems).toEqual([]);
    const damaged = { ...log.named('call')[0], waitMs: '1' };
    expect(validate(damaged)).toBe(false);
    expect(validate({ ...log.named('call')[0], password: 'x' })).toBe(false);
  });

  test('is parsed by headgate logs', () => {
    const kinds = log.lines.map((line) => [line['msg'], readLogLine(JSON.stringify(line)).kind]);
    for (const [msg, kind] of kinds) {
      expect(kind).toBe(msg === 'call' || msg === 'throttled' ? msg : 'event');
    }
  });

  test.each(['call', 'throttled'] as const)('has every documented field of a %s', (msg) => {
    const documented = Object.keys(schema.$defs[msg].properties);
    const seen = new Set(log.named(msg).flatMap((line) => Object.keys(line)));
    expect([...seen].sort()).toEqual([...documented].sort());
  });
});

/** The level and the message of every log call in a source file. */
function messagesIn(source: string): [level: string, msg: string][] {
  const found: [string, string][] = [];
  for (const start of source.matchAll(/\blog\.(trace|debug|info|warn|error|fatal)\(/g)) {
    let end = start.index + start[0].length;
    for (let depth = 1; depth > 0; end++) {
      if (source[end] === '(') depth++;
      if (source[end] === ')') depth--;
    }
    const [, msg] = /'([^']+)',?\s*\)$/.exec(source.slice(start.index, end)) ?? [];
    if (msg === undefined) throw new Error(`no message: ${source.slice(start.index, end)}`);
    found.push([start[1] ?? '', msg]);
  }
  return found;
}

describe('docs/logs.md', () => {
  /** The names in the first column of the table under a heading. */
  function tableUnder(heading: string): string[] {
    const [, section = ''] = page.split(`\n## ${heading}\n`);
    const [own = ''] = section.split('\n## ');
    return [...own.matchAll(/^\| `(\w+)` +\|/gm)].map(([, name = '']) => name);
  }

  test('describes exactly the fields of the schema', () => {
    expect(tableUnder('Fields of every line').sort()).toEqual([...common].sort());
    for (const [heading, msg] of [
      ['A call', 'call'],
      ['A 429 of the API', 'throttled'],
    ] as const) {
      const own = Object.keys(schema.$defs[msg].properties).filter(
        (name) => !common.includes(name),
      );
      expect(tableUnder(heading).sort()).toEqual(own.sort());
    }
  });

  test('explains exactly the messages that the sources log', () => {
    const logged = new Map<string, Set<string>>([
      ['call', new Set(['info'])],
      ['throttled', new Set(['warn'])],
    ]);
    for (const file of globSync('src/**/*.ts', { cwd: ROOT })) {
      for (const [level, msg] of messagesIn(readFileSync(`${ROOT}${file}`, 'utf8'))) {
        logged.set(msg, (logged.get(msg) ?? new Set()).add(level));
      }
    }
    const [, section = ''] = page.split('\n## Other lines\n');
    const [own = ''] = section.split('\n## ');
    const explained = new Map([
      ['call', 'info'],
      ['throttled', 'warn'],
    ]);
    for (const [, names = '', levels = ''] of own.matchAll(/^\| (`.+?`) +\| ([a-z, ]+?) +\|/gm)) {
      for (const [, name = ''] of names.matchAll(/`([^`]+)`/g)) explained.set(name, levels);
    }
    explained.delete('msg');
    const actual = [...logged].map(([msg, levels]) => [msg, [...levels].sort().join(', ')]);
    const documented = [...explained].map(([msg, levels]) => [
      msg,
      levels.split(', ').sort().join(', '),
    ]);
    expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(actual));
  });

  test('shows a line that matches the schema', () => {
    const [, example = ''] = /```jsonl\n(.*)\n```/.exec(page) ?? [];
    expect(new Ajv2020().compile(JSON.parse(schemaText))(JSON.parse(example))).toBe(true);
  });

  describe('has jq examples that', { tags: needs('jq') }, () => {
    let folder: string;
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'headgate-jq-'));
      writeFileSync(join(folder, 'calls.log'), log.text);
    });
    afterAll(() => rm(folder, { recursive: true }));

    const examples = [...page.matchAll(/```sh\n(jq .*)\n```/g)].map(([, command = '']) => command);

    test.each(examples)('work: %s', async (command) => {
      const { stdout } = await promisify(execFile)('sh', ['-c', command], { cwd: folder });
      expect(stdout.trim().length).toBeGreaterThan(2);
    });

    test('are there', () => {
      expect(examples.length).toBe(4);
    });
  });
});
