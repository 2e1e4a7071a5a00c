import type { Shown } from '../config/config.ts';
import { CONFIG_OPTION, withSettings, type Command } from './command.ts';

export const checkConfigCommand: Command = {
  name: 'check-config',
  summary: 'check the settings, print them, and end',
  options: [CONFIG_OPTION],
  run: withSettings(({ shown }, { stdout }) => {
    stdout(describeSettings(shown));
    return 0;
  }),
};

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
