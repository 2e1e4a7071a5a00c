import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sum } from './statistics.ts';

/** A server under measurement: a process of ours, with its children. */
export interface Running {
  readonly pid: number;
  /** Milliseconds of processor time, user and system, of the process and its children so far. */
  cpuMs(): number;
  /** Bytes in memory now, of the process and its children. */
  rssBytes(): number;
  stop(): Promise<void>;
}

export interface StartOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Where it will listen; {@link start} waits until something answers there. */
  readonly port: number;
}

/** Linux counts processor time in hundredths of a second. */
const TICK_MS = 10;
const PAGE_BYTES = 4096;
const START_TIMEOUT_MS = 10_000;

const running = new Set<ChildProcess>();

/**
 * Starts a server and waits until its port takes connections. Its output goes through a pipe to a
 * process that throws it away, as a container's runtime would read it: a file or /dev/null is cheaper
 * to write. This process takes no part in it, which would take its time from what is measured.
 */
export async function start({ command, args, env = {}, port }: StartOptions): Promise<Running> {
  const out = openDrain();
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', out, 'pipe'],
  });
  closeSync(out);
  endWithThisProcess(child);
  let errors = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    errors = (errors + chunk.toString()).slice(-4000);
  });
  const pid = await pidOf(child);
  await portAnswers(port, child, () => errors);
  return {
    pid,
    cpuMs: () => sum(familyOf(pid).map(cpuOf)),
    rssBytes: () => sum(familyOf(pid).map(rssOf)),
    async stop() {
      const ended = new Promise((resolve) => {
        child.once('exit', resolve);
      });
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGTERM');
        await ended;
      }
    },
  };
}

/** Stops a server when this process ends before it stopped the server itself. */
function endWithThisProcess(child: ChildProcess): void {
  if (running.size === 0) {
    process.once('exit', () => running.forEach((each) => each.kill('SIGTERM')));
    const end = (): void => process.exit(1);
    process.once('SIGINT', end);
    process.once('SIGTERM', end);
  }
  running.add(child);
  child.once('exit', () => running.delete(child));
}

/** The writing end of a pipe whose reader throws everything away, and ends with the last writer. */
function openDrain(): number {
  const folder = scratch();
  const path = join(folder.path, 'out');
  execFileSync('mkfifo', [path]);
  // Either end would wait for the other one to be opened, but for this one, which is both.
  const both = openSync(path, 'r+');
  const reading = openSync(path, 'r');
  const writing = openSync(path, 'w');
  closeSync(both);
  folder.remove();
  spawn('cat', [], { stdio: [reading, 'ignore', 'ignore'] });
  closeSync(reading);
  return writing;
}

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      probe.close(() => resolve(port));
    });
  });
}

/** A folder of our own for configurations and sockets; `remove` when done. */
export function scratch(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'headgate-bench-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

function pidOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('spawn', () => resolve(child.pid ?? 0));
  });
}

async function portAnswers(port: number, child: ChildProcess, errors: () => string): Promise<void> {
  const until = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    // Should the port be somebody else's, ours ends with an error and is not mistaken for it.
    if (child.exitCode !== null) throw new Error(`${child.spawnfile} ended: ${errors()}`);
    if (await connects(port)) return;
    if (performance.now() > until) {
      throw new Error(`${child.spawnfile} does not answer: ${errors()}`);
    }
    await pause(10);
  }
}

function connects(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** The process and those it started, which is where nginx and haproxy do their work. */
function familyOf(pid: number): number[] {
  const family = [pid];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const fields = statOf(Number(entry));
    if (fields !== undefined && Number(fields[1]) === pid) family.push(Number(entry));
  }
  return family;
}

/** The fields after the name, which may have spaces in it: state, parent, … */
function statOf(pid: number): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch (error) {
    // It ended between the listing and the look.
    if (error instanceof Error && 'code' in error) return undefined;
    throw error;
  }
}

function cpuOf(pid: number): number {
  const fields = statOf(pid);
  return (Number(fields?.[11] ?? 0) + Number(fields?.[12] ?? 0)) * TICK_MS;
}

function rssOf(pid: number): number {
  return Number(statOf(pid)?.[21] ?? 0) * PAGE_BYTES;
}
