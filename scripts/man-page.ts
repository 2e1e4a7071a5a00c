import { plainText } from '../src/cli/help.ts';
import { COMMANDS } from '../src/cli/run.ts';
import { SETTINGS, type Setting } from '../src/config/settings.ts';

/** The manual page headgate(1), from the commands and the settings that the program knows. */
export function manPage(): string {
  const commands = COMMANDS.map(({ name, operands, summary, options }) => {
    const usage = [bold(name), ...(operands === undefined ? [] : [escaped(operands)])].join(' ');
    const lines = options.map(
      (option) =>
        `.RS\n.TP\n${bold(`--${option.name}`)}${option.value === undefined ? '' : ` ${escaped(option.value)}`}\n${escaped(option.summary)}\n.RE`,
    );
    return [`.TP\n${usage}\n${escaped(summary)}`, ...lines].join('\n');
  });
  const settings = Object.values(SETTINGS).map((setting: Setting<unknown>) => {
    const { variable, fallback, doc } = setting;
    const preset = fallback === undefined ? '' : ` (default: ${escaped(fallback)})`;
    return `.TP\n${bold(variable)}${preset}\n${escaped(plainText(doc))}`;
  });
  return `.\\" Written by npm run docs.
.TH HEADGATE 1 "" Headgate
.SH NAME
headgate \\- a rate\\-limit\\-aware gateway in front of an HTTP API
.SH SYNOPSIS
.B headgate
.I command
.RI [ options ]
.SH COMMANDS
${commands.join('\n')}
.SH ENVIRONMENT
Each setting is a variable, or a key of the file that \\-\\-config or HEADGATE_CONFIG names:
maxWait for HEADGATE_MAX_WAIT. Variables take precedence.
${settings.join('\n')}
.SH EXIT STATUS
0 success, 1 failure, 2 wrong usage or settings.
.SH SIGNALS
SIGTERM and SIGINT drain the gateway, SIGHUP reads the settings again.
`;
}

function bold(text: string): string {
  return `\\fB${escaped(text)}\\fR`;
}

/** roff reads a backslash as an escape, a hyphen as a dash, and a leading dot or quote as a request. */
function escaped(text: string): string {
  return text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replace(/^[.']/, '\\&$&');
}
