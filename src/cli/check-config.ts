import type { Shown } from '../config/config.ts';

/** Every setting in force and where it came from, secrets masked: what `check-config` prints. */
export function describeSettings(shown: readonly Shown[]): string {
  const widest = Math.max(...shown.map(({ variable }) => variable.length));
  const lines = shown.map(({ variable, value, source }) => {
    const display = source === 'nobody' ? '–' : value;
    const origin = source === 'nobody' ? '' : `  (${source})`;
    return `${variable.padEnd(widest)}  ${display}${origin}`;
  });
  return `${lines.join('\n')}\n`;
}
