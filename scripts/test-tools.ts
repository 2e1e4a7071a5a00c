import { execFileSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/**
 * The programs that tests start besides Node, and where they come from. As a command it installs
 * those that are missing: `node scripts/test-tools.ts`.
 */

interface Tool {
  /** The names of the program; the first that is on the PATH is used. */
  readonly commands: readonly string[];
  /** The Debian package that has it. */
  readonly debian: string;
  /** An environment variable that names the program instead. */
  readonly variable?: string;
}

const TOOLS = {
  'redis-server': {
    commands: ['redis-server', 'valkey-server'],
    debian: 'redis-server',
    variable: 'HEADGATE_TEST_REDIS_SERVER',
  },
  haproxy: { commands: ['haproxy'], debian: 'haproxy', variable: 'HEADGATE_TEST_HAPROXY' },
  chromium: {
    commands: ['chromium', 'chromium-browser', 'google-chrome'],
    debian: 'chromium',
    variable: 'HEADGATE_TEST_CHROMIUM',
  },
  javac: { commands: ['javac'], debian: 'default-jdk-headless' },
  promtool: { commands: ['promtool'], debian: 'prometheus' },
  openssl: { commands: ['openssl'], debian: 'openssl' },
  script: { commands: ['script'], debian: 'bsdutils' },
  jq: { commands: ['jq'], debian: 'jq' },
  git: { commands: ['git'], debian: 'git' },
  python3: { commands: ['python3'], debian: 'python3' },
  curl: { commands: ['curl'], debian: 'curl' },
} satisfies Record<string, Tool>;

export type ToolName = keyof typeof TOOLS;

export const TOOL_NAMES = Object.keys(TOOLS).filter(isToolName);

export function isToolName(name: string): name is ToolName {
  return Object.hasOwn(TOOLS, name);
}

/** The path of a tool; `undefined` when it is not installed. */
export function findTool(name: ToolName): string | undefined {
  const { commands, variable }: Tool = TOOLS[name];
  const named = variable === undefined ? undefined : process.env[variable];
  if (named !== undefined && named !== '') {
    if (existsSync(named)) return named;
    throw new Error(`${variable}: expected the path of a program, got ${named}`);
  }
  return commands.map(onPath).find((path) => path !== undefined);
}

function onPath(command: string): string | undefined {
  // Servers such as HAProxy are not on the PATH of every user.
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin'];
  return folders.map((folder) => join(folder, command)).find((path) => existsSync(path));
}

export function missingTools(): ToolName[] {
  return TOOL_NAMES.filter((name) => findTool(name) === undefined);
}

/** How to get a tool: `install jq (Debian: apt-get install jq)`. */
export function howToGet(name: ToolName): string {
  const { commands, debian, variable }: Tool = TOOLS[name];
  const what = commands.slice(0, 2).join(' or ');
  const or = variable === undefined ? '' : `, or set ${variable} to its path`;
  return `install ${what} (Debian: apt-get install ${debian})${or}`;
}

/**
 * Installs the missing tools where that is possible: as root, where there is apt-get. Returns those
 * that are still missing.
 */
export function installMissingTools(report: (line: string) => void): ToolName[] {
  const missing = missingTools();
  const mayInstall = process.getuid?.() === 0 && onPath('apt-get') !== undefined;
  if (missing.length === 0 || !mayInstall) return missing;
  const packages = [...new Set(missing.map((name) => TOOLS[name].debian))];
  report(`installing the programs that tests need: ${packages.join(' ')}`);
  try {
    withoutServices(() => {
      aptGet('update', '-q');
      aptGet('install', '-q', '-y', '--no-install-recommends', ...packages);
    });
  } catch (error) {
    report(`could not install them: ${String(error)}`);
  }
  return missingTools();
}

function aptGet(...args: readonly string[]): void {
  execFileSync('apt-get', args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
}

/** Some packages start a service, on its default port, unless this file forbids it. */
const POLICY = '/usr/sbin/policy-rc.d';

function withoutServices(install: () => void): void {
  if (existsSync(POLICY)) return install();
  writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    install();
  } finally {
    rmSync(POLICY);
  }
}

if (import.meta.main) {
  const missing = installMissingTools((line) => process.stdout.write(`${line}\n`));
  for (const name of missing) process.stderr.write(`missing ${name}: ${howToGet(name)}\n`);
  if (missing.length > 0) process.exitCode = 1;
}
