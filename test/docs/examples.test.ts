import { describe, expect, test } from 'vitest';
import { ask } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { bucketsOf, setUp } from '../support/setup.ts';
import { startGateway } from '../support/gateway.ts';
import { ROOT, Spawned, type Ended } from '../support/spawned.ts';
import { needs, type ToolTag } from '../support/tools.ts';
import { codeWords, read, section, tableRows } from './markdown.ts';

/** A caller in examples/callers. */
interface Example {
  readonly script: string;
  readonly command: string;
  /** The tags of the program that it needs beside Node. */
  readonly tags: ToolTag[];
  /** Matches the variables that the script reads. */
  readonly variable: RegExp;
}

const EXAMPLES: readonly Example[] = [
  {
    script: 'call.mjs',
    command: process.execPath,
    tags: [],
    variable: /^ {2}([A-Z_]+)(?= = '|,)/gm,
  },
  {
    script: 'call.py',
    command: 'python3',
    tags: needs('python3'),
    variable: /os\.environ(?:\.get\(|\[)"([A-Z_]+)"/g,
  },
  { script: 'call.sh', command: 'sh', tags: needs('curl'), variable: /\$\{?([A-Z_]+)/g },
];

function call({ script, command }: Example, env: Readonly<Record<string, string>>): Promise<Ended> {
  return new Spawned(command, [`${ROOT}examples/callers/${script}`, '/domains'], { env }).ended();
}

for (const example of EXAMPLES) {
  const { script, tags } = example;
  describe(`examples/callers/${script}`, { tags }, () => {
    test("prints the API's answer", async () => {
      const { azion, gateway } = await setUp();
      const ended = await call(example, {
        HEADGATE_URL: gateway.url,
        API_TOKEN: 'any',
        CALLER: 'billing',
        PRIORITY: 'high',
      });
      expect(ended).toMatchObject({ code: 0, stdout: expect.stringContaining('"results"') });
      expect(azion.seen.map(({ headers }) => headers.authorization)).toEqual(['token any']);
      const [line] = await gateway.log.wait('call', 1);
      expect(line).toMatchObject({ caller: 'billing', priority: 'high', outcome: 'answered' });
    });

    test('proves its name with a key, and needs no token then', async () => {
      const settings = {
        HEADGATE_TOKEN: 'of-the-gateway',
        HEADGATE_CALLER_KEYS: 'billing=0123456789abcdef',
      };
      const { azion, gateway } = await setUp({}, { settings });
      const url = { HEADGATE_URL: gateway.url };
      const known = await call(example, { ...url, CALLER_KEY: '0123456789abcdef' });
      expect(known.code).toBe(0);
      expect(azion.seen.map(({ headers }) => headers.authorization)).toEqual([
        'token of-the-gateway',
      ]);
      const unknown = await call(example, url);
      expect(unknown.code).not.toBe(0);
      expect(unknown.stdout + unknown.stderr).toContain('unknown-caller');
      const lines = await gateway.log.wait('call', 2);
      expect(lines.map(({ code, caller }) => code ?? caller)).toEqual([
        'billing',
        'unknown-caller',
      ]);
    });

    test('waits for Retry-After before it tries again', async () => {
      const clock = new FakeClock();
      const limits = { read: { limit: 1, periodMs: 2000 } };
      const { azion, gateway } = await setUp({ semantics: 'fixed', limits }, { clock });
      const env = { HEADGATE_URL: gateway.url, API_TOKEN: 'any', MAX_WAIT: '1s' };
      expect((await call(example, env)).code).toBe(0);
      const second = call(example, env);
      const [, shed] = await gateway.log.wait('call', 2);
      expect(shed).toMatchObject({ outcome: 'shed', code: 'wait-too-long' });
      // The caller now waits by its own clock. By the gateway's, the budget refills meanwhile.
      clock.advance(4000);
      expect(await second).toMatchObject({
        code: 0,
        stdout: expect.stringContaining('"results"'),
      });
      expect(azion.operations).toBe(2);
    });
  });
}

describe('examples/README.md', () => {
  test('lists exactly the variables that each caller reads', () => {
    const rows = tableRows(section(read('examples/README.md'), '## Callers'));
    const listed = rows.map(([name = '']) => codeWords(name).join(' ')).toSorted();
    for (const { script, variable } of EXAMPLES) {
      const names = [...read(`examples/callers/${script}`).matchAll(variable)];
      const reads = new Set(names.map(([, name = '']) => name));
      expect([script, [...reads].toSorted()]).toEqual([script, listed]);
    }
  });
});

describe('examples/stand-in-api.mjs', () => {
  test('reports a budget that the gateway understands', async () => {
    const api = new Spawned(process.execPath, [`${ROOT}examples/stand-in-api.mjs`], {
      env: { PORT: '0' },
    });
    try {
      const [, port = ''] = await api.printed(/listens on port (\d+)/);
      const gateway = await startGateway({ upstream: `http://127.0.0.1:${port}` });
      try {
        const { text } = await ask(`${gateway.url}/domains`);
        expect(JSON.parse(text)).toEqual({
          path: '/domains',
          accept: 'application/json; version=3',
        });
        expect(await bucketsOf(gateway)).toMatchObject([
          { class: 'read', limit: 10, remaining: 9 },
        ]);
      } finally {
        await gateway.stop();
      }
    } finally {
      await api.stop();
    }
  });
});
