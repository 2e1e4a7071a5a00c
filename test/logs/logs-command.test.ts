import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { logLines } from '../support/log-fixtures.ts';
import { headgate, ROOT, Spawned } from '../support/spawned.ts';
import { needs } from '../support/tools.ts';

const COUNT = 3000;
let folder: string;
let file: string;
let lines: string[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'headgate-logs-'));
  file = join(folder, 'calls.log');
  lines = logLines(COUNT);
  writeFileSync(
    file,
    `${lines.slice(0, 100).join('\n')}\nnot a line\n{"msg":"listening"}\n${lines.slice(100).join('\n')}`,
  );
});
afterAll(() => rm(folder, { recursive: true }));

/** The expected lines, selected without the code under test. */
function picked(keep: (fields: Record<string, unknown>) => boolean): string[] {
  return lines.filter((line) => {
    const fields: unknown = JSON.parse(line);
    return typeof fields === 'object' && fields !== null && keep({ ...fields });
  });
}

describe('headgate logs', () => {
  test('prints matching lines unchanged with --json, and the number of broken lines', async () => {
    const command = headgate(['logs', '--json', '--caller', 'service-1', '--min-wait=1s', file]);
    const { code, stdout, stderr } = await command.ended();
    const expected = picked(
      ({ caller, waitMs }) => caller === 'service-1' && Number(waitMs) >= 1000,
    );
    expect(expected.length).toBeGreaterThan(10);
    expect(stdout).toBe(`${expected.join('\n')}\n`);
    expect(stderr).toBe('headgate: 1 broken line skipped\n');
    expect(code).toBe(0);
  });

  test('reads a pipe, several files and compressed files', async () => {
    const packed = join(folder, 'calls.log.gz');
    writeFileSync(packed, gzipSync(readFileSync(file)));
    const piped = new Spawned('sh', [
      '-c',
      'cat "$0" | "$1" "$2" logs --json',
      file,
      process.execPath,
      `${ROOT}src/main.ts`,
    ]);
    const both = headgate(['logs', '--json', file, packed]);
    expect((await piped.ended()).stdout).toBe(`${lines.join('\n')}\n`);
    const { code, stdout } = await both.ended();
    // Both files have the same lines.
    const merged = stdout.trimEnd().split('\n');
    expect(merged.toSorted()).toEqual([...lines, ...lines].toSorted());
    const times = merged.map((line) => /"time":"([^"]*)"/.exec(line)?.[1] ?? '');
    expect(times).toEqual(times.toSorted());
    expect(code).toBe(0);
  });

  test('merges several files by time, whatever their order', async () => {
    const older = join(folder, 'older.log');
    const newer = join(folder, 'newer.log');
    const between = join(folder, 'between.log');
    writeFileSync(older, lines.slice(0, 1000).join('\n'));
    writeFileSync(
      newer,
      lines
        .slice(1000, 2000)
        .filter((_, i) => i % 3 !== 0)
        .join('\n'),
    );
    writeFileSync(
      between,
      lines
        .slice(1000, 2000)
        .filter((_, i) => i % 3 === 0)
        .join('\n'),
    );
    const merged = headgate(['logs', '--json', newer, 'no-such', between, older]);
    const { code, stdout, stderr } = await merged.ended();
    expect(stdout.trimEnd().split('\n')).toEqual(lines.slice(0, 2000));
    expect(stderr).toContain('headgate: no-such: expected a readable file, got: ENOENT');
    expect(code).toBe(1);
  });

  test('says so when nothing matched, with and without --json', async () => {
    for (const options of [['--json'], []]) {
      const command = headgate(['logs', ...options, '--caller', 'unknown', file]);
      const { code, stdout, stderr } = await command.ended();
      expect([code, stdout]).toEqual([0, '']);
      expect(stderr).toContain(`headgate: nothing matched in ${COUNT + 2} lines\n`);
    }
  });

  test('--id shows why a call failed, and --message reaches every other line', async () => {
    const at = (seconds: number): object => ({
      level: 'warn',
      time: `2026-11-24T00:00:0${seconds}.000Z`,
    });
    const err = { type: 'Error', message: 'connect ECONNREFUSED 127.0.0.1:9', stack: 'Error: …' };
    const failed = { ...at(1), id: 'x', attempt: 1, sent: 'unsent', reason: 'unreachable', err };
    const local = { ...at(2), ledger: 'local', reason: 'no answer within 100 ms' };
    const mixed = join(folder, 'mixed.log');
    const texts = [
      { ...failed, msg: 'attempt failed' },
      { ...local, msg: 'ledger' },
      { ...failed, id: 'y', msg: 'attempt failed' },
    ].map((fields) => JSON.stringify(fields));
    const own = (lines[0] ?? '').replace(/"id":"[^"]*"/, '"id":"x"');
    writeFileSync(mixed, [...texts, own, ...lines.slice(1, 10)].join('\n'));
    const byId = await headgate(['logs', '--id', 'x', mixed]).ended();
    const shown = byId.stdout.trimEnd().split('\n');
    expect(shown).toHaveLength(3);
    expect(shown[1]).toMatch(
      /^2026-11-24 00:00:01\.000Z {2}warn .* attempt failed {2}attempt=1 sent=unsent reason=unreachable err="connect ECONNREFUSED 127\.0\.0\.1:9" {2}x$/,
    );
    const byMessage = await headgate(['logs', '--json', '--message', 'led*', mixed]).ended();
    expect(byMessage.stdout).toBe(`${texts[1]}\n`);
    const all = await headgate(['logs', '--json', '--message', '*', mixed]).ended();
    expect(all.stdout.trimEnd().split('\n')).toHaveLength(13);
  });

  test('refuses to follow a compressed file', async () => {
    const { code, stderr } = await headgate(['logs', '--follow', 'calls.log.1.gz']).ended();
    expect(stderr).toBe(
      'headgate: --follow: expected files that can grow, got calls.log.1.gz, which is compressed\n',
    );
    expect(code).toBe(2);
  });

  test('prints a heading and one line per call, without colours if there is no terminal', async () => {
    const { stdout } = await headgate(['logs', file]).ended();
    expect(stdout.trimEnd().split('\n').length).toBe(1 + COUNT);
    expect(stdout).toMatch(/^time \(UTC\) +status +wait +upstream +budget +caller +request\n/);
    expect(stdout).toMatch(/^2026-11-24 00:00:00\.000Z {2}200 .* \/\S+ {2}00000000-0000/m);
    expect(stdout).not.toContain('\u001B');
  });

  test(
    'prints colours and a heading on a terminal, and no colours with NO_COLOR',
    { tags: needs('script') },
    async () => {
      const command = `"${process.execPath}" "${ROOT}src/main.ts" logs "${file}"`;
      const onTerminal = (env: Record<string, string>): Promise<string> =>
        new Spawned('script', ['-qec', command, '/dev/null'], { env })
          .ended()
          .then((e) => e.stdout);
      const [withColour, withoutColour] = await Promise.all([
        onTerminal({}),
        onTerminal({ NO_COLOR: '1' }),
      ]);
      expect(withColour).toContain('time (UTC)');
      expect(withColour).toContain('\u001B[32m200');
      expect(withoutColour).toContain('time (UTC)');
      expect(withoutColour).not.toContain('\u001B[');
    },
  );

  test(
    'escapes in JSON for a terminal what the terminal would obey, and for no other output',
    { tags: needs('script') },
    async () => {
      const hostile = join(folder, 'hostile.log');
      const call: Record<string, unknown> = JSON.parse(
        lines.find((line) => line.includes('"msg":"call"')) ?? '',
      );
      const name = 'a\u009B31m\u202Eb\u200B\u{E0041}\u007F';
      const line = JSON.stringify({ ...call, caller: name, path: `/${name}` });
      writeFileSync(hostile, `${line}\n`);
      const logs = (...options: string[]): string =>
        // A slow machine shows a progress bar on standard error.
        `"${process.execPath}" "${ROOT}src/main.ts" logs ${options.join(' ')} "${hostile}" 2>/dev/null`;
      for (const options of [['--json'], ['--json', '--summary']]) {
        const onTerminal = new Spawned('script', ['-qec', logs(...options), '/dev/null']);
        const piped = new Spawned('sh', ['-c', logs(...options)]);
        const [shown, plain] = await Promise.all([onTerminal.ended(), piped.ended()]);
        expect(shown.stdout.trimEnd()).not.toMatch(/[\p{Cc}\p{Cf}]/u);
        expect(plain.stdout).toContain(name);
        expect(JSON.parse(shown.stdout)).toEqual(JSON.parse(plain.stdout));
      }
      for (const options of [[], ['--summary']]) {
        const onTerminal = new Spawned('script', ['-qec', logs(...options), '/dev/null'], {
          env: { NO_COLOR: '1' },
        });
        const { stdout } = await onTerminal.ended();
        expect(stdout.replaceAll(/\r?\n/g, '')).not.toMatch(/[\p{Cc}\p{Cf}]/u);
        expect(stdout).toContain('a\\u{9b}31m\\u{202e}b\\u{200b}\\u{e0041}\\u{7f}');
      }
    },
  );

  test('prints sums for people, or as one JSON object', async () => {
    const calls = picked(({ msg }) => msg === 'call').length;
    const shown = await headgate(['logs', '--summary', '--top', '3', file]).ended();
    expect(shown.stdout).toContain(`${calls.toLocaleString('en-GB')} calls in`);
    expect(shown.stdout).toContain('1 broken lines skipped');
    const { stdout } = await headgate(['logs', '--summary', '--json', '--top=3', file]).ended();
    expect(JSON.parse(stdout)).toMatchObject({
      lines: COUNT + 2,
      broken: 1,
      all: { calls },
      throttled: COUNT - calls,
      byCaller: [{ name: 'service-0' }, {}, {}, { name: 'other' }],
    });
  });

  test('follows a file as it grows', async () => {
    const growing = join(folder, 'growing.log');
    writeFileSync(growing, '');
    const following = headgate(['logs', '--follow', '--json', growing]);
    // The command prints this line whether it opens the file before or after this write.
    writeFileSync(growing, `${lines[0]}\n`);
    await following.printed(/00000000-0000/);
    writeFileSync(growing, `${lines[1]}\n`, { flag: 'a' });
    await following.printed(/00000001-0000/);
    following.kill('SIGINT');
    const { stdout, signal } = await following.ended();
    expect(stdout).toBe(`${lines[0]}\n${lines[1]}\n`);
    expect(signal).toBe('SIGINT');
  });

  test('ends without an error when its reader closes early', async () => {
    const { code, stdout, stderr } = await new Spawned('sh', [
      '-c',
      '"$0" "$1" logs --json "$2" "$2" "$2" "$2" | head -n 1; echo done',
      process.execPath,
      `${ROOT}src/main.ts`,
      file,
    ]).ended();
    expect(stdout).toBe(`${lines[0]}\ndone\n`);
    expect(stderr).not.toContain('EPIPE');
    expect(code).toBe(0);
  });

  test('reads the other files if one cannot be read, and exits with 1', async () => {
    const { code, stdout, stderr } = await headgate(['logs', '--json', 'no-such', file]).ended();
    expect(code).toBe(1);
    expect(stderr).toContain('headgate: no-such: expected a readable file, got: ENOENT');
    expect(stdout).toBe(`${lines.join('\n')}\n`);
  });

  test('rejects invalid options', async () => {
    const { code, stderr } = await headgate(['logs', '--outcome=lost', file]).ended();
    expect(code).toBe(2);
    expect(stderr).toBe(
      'headgate: --outcome: expected some of answered, shed, failed, aborted, got lost\n',
    );
  });

  test('sums up 20 MB of distinct names with 24 MB of heap', async () => {
    const big = join(folder, 'big.log');
    const to = openSync(big, 'w');
    let written = 0;
    for (const [n, line] of logLines(45_000, 2).entries()) {
      const own = line.replace(/"path":"[^"]*"/, `"path":"/${n}-${'x'.repeat(100)}"`);
      written += writeSync(to, `${own.replace(/"caller":"[^"]*"/, `"caller":"c-${n}"`)}\n`);
    }
    closeSync(to);
    expect(written).toBeGreaterThan(20_000_000);
    const child = spawn(
      process.execPath,
      ['--max-old-space-size=24', `${ROOT}src/main.ts`, 'logs', '--summary', '--json', big],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const [printed, [code]] = await Promise.all([text(child.stdout), once(child, 'close')]);
    expect(code).toBe(0);
    expect(JSON.parse(printed)).toMatchObject({ lines: 45_000, broken: 0 });
  });
});
