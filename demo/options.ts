import { parseArgs } from 'node:util';

export interface DemoOptions {
  /** How long the demo takes, approximately. */
  readonly seconds: number;
  /** The number of callers that send. */
  readonly callers: number;
}

export const DEMO_USAGE = `Usage: npm run demo -- [--seconds N] [--callers N]

  --seconds N  how long it takes, approximately: from 3 to 600 (default 30)
  --callers N  the number of callers: from 1 to 12 (default 4)
`;

export type DemoCommandLine =
  | { readonly kind: 'run'; readonly options: DemoOptions }
  | { readonly kind: 'help' }
  | { readonly kind: 'wrong'; readonly reason: string };

/** Parses the demo's options. `reason` states what was expected and what was given. */
export function readOptions(argv: readonly string[]): DemoCommandLine {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        seconds: { type: 'string', default: '30' },
        callers: { type: 'string', default: '4' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    if (values.help) return { kind: 'help' };
    const seconds = wholeNumber('--seconds', values.seconds, 3, 600);
    const callers = wholeNumber('--callers', values.callers, 1, 12);
    return { kind: 'run', options: { seconds, callers } };
  } catch (error) {
    return { kind: 'wrong', reason: error instanceof Error ? error.message : String(error) };
  }
}

function wholeNumber(name: string, text: string, least: number, most: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new Error(`${name}: expected a whole number from ${least} to ${most}, got ${text}`);
}
