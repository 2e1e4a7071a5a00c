import type { EffectiveSetting } from '../config/config.ts';
import { printable } from '../logs/terminal-text.ts';
import { CONFIG_OPTION, withSettings, type Command } from './command.ts';

export const checkConfigCommand: Command = {
  name: 'check-config',
  summary: 'check the settings and print them',
  options: [CONFIG_OPTION],
  settings: 'all',
  run: withSettings(({ effective }, { stdout }) => {
    stdout(describeSettings(effective));
    return 0;
  }),
};

/** Lists every setting in force and its source, with secrets masked. */
export function describeSettings(settings: readonly EffectiveSetting[]): string {
  const widest = Math.max(...settings.map(({ variable }) => variable.length));
  const lines = settings.map(({ variable, value, source }) => {
    const display = source === 'nobody' ? '–' : printable(value);
    const sourceNote = source === 'nobody' ? '' : `  (${source})`;
    return `${variable.padEnd(widest)}  ${display}${sourceNote}`;
  });
  return `${lines.join('\n')}\n`;
}
