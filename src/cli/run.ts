import { parseArgs } from 'node:util';
import { loadConfig, type LoadOptions } from '../config/config.ts';
import { describeSettings } from './check-config.ts';
import { serve } from './serve.ts';

/** What a command may touch of the process it runs in. */
export interface Surroundings {
  readonly env: LoadOptions['env'];
  readonly readFile: LoadOptions['readFile'];
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  readonly version: string;
}

export const USAGE = `Usage: headgate [command] [--config FILE]

Commands
  serve         run the gateway (the default)
  check-config  check the settings, print them, and end

Options
  --config FILE  a YAML file of settings; environment variables go before it
  --help         this text
  --version      the version

Settings are environment variables (HEADGATE_…) or the file's keys; the README lists them.
`;

/** Runs a command line; resolves to the exit code: 0 well, 1 failed, 2 wrong use or settings. */
export async function run(argv: readonly string[], surroundings: Surroundings): Promise<number> {
  const { env, readFile, stdout, stderr, version } = surroundings;
  const parsed = parseCommandLine(argv);
  if (parsed.kind === 'wrong') {
    stderr(`headgate: ${parsed.reason}\n\n${USAGE}`);
    return 2;
  }
  if (parsed.help) {
    stdout(USAGE);
    return 0;
  }
  if (parsed.version) {
    stdout(`${version}\n`);
    return 0;
  }
  const loaded = loadConfig({ env, configPath: parsed.config, readFile });
  if (loaded.kind === 'bad') {
    stderr(loaded.problems.map((problem) => `headgate: ${problem}\n`).join(''));
    return 2;
  }
  if (parsed.command === 'check-config') {
    stdout(describeSettings(loaded.shown));
    return 0;
  }
  return serve(loaded.config);
}

type CommandLine =
  | { readonly kind: 'wrong'; readonly reason: string }
  | {
      readonly kind: 'right';
      readonly command: 'serve' | 'check-config';
      readonly config: string | undefined;
      readonly help: boolean;
      readonly version: boolean;
    };

function parseCommandLine(argv: readonly string[]): CommandLine {
  let parsed;
  try {
    parsed = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        config: { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false },
        version: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    return { kind: 'wrong', reason: error instanceof Error ? error.message : String(error) };
  }
  const { positionals, values } = parsed;
  const [command = 'serve', ...rest] = positionals;
  if (rest.length > 0) {
    return { kind: 'wrong', reason: `expected one command, got ${positionals.join(' ')}` };
  }
  if (command !== 'serve' && command !== 'check-config') {
    return { kind: 'wrong', reason: `expected serve or check-config, got ${command}` };
  }
  return {
    kind: 'right',
    command,
    config: values.config,
    help: values.help,
    version: values.version,
  };
}
