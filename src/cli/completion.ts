import type { Command } from './command.ts';

const SHELLS: ReadonlyMap<string, (commands: readonly Command[]) => string> = new Map([
  ['bash', bash],
  ['zsh', zsh],
  ['fish', fish],
]);

/** Prints what a shell needs to complete commands and options. */
export function makeCompletionCommand(commands: () => readonly Command[]): Command {
  return {
    name: 'completion',
    summary: 'print the completions for a shell: bash, zsh or fish',
    operands: 'SHELL',
    operandValues: [...SHELLS.keys()],
    options: [],
    run({ operands, stdout, stderr }) {
      const [shell = 'nothing', ...others] = operands;
      const script = others.length === 0 ? SHELLS.get(shell) : undefined;
      if (script === undefined) {
        const got = operands.length === 0 ? shell : operands.join(' ');
        stderr(`headgate: expected one of ${[...SHELLS.keys()].join(', ')}, got ${got}\n`);
        return 2;
      }
      stdout(script(commands()));
      return 0;
    },
  };
}

function namesOf(commands: readonly Command[]): string {
  return commands.map(({ name }) => name).join(' ');
}

function flagsOf({ options }: Command): string {
  return [...options.map(({ name }) => `--${name}`), '--help'].join(' ');
}

function bash(commands: readonly Command[]): string {
  const values = commands.flatMap(({ name, options }) =>
    options.flatMap((option) =>
      option.values === undefined
        ? []
        : [`    ${name}:--${option.name}) values="${option.values.join(' ')}" ;;`],
    ),
  );
  const cases = commands.map((command) => {
    const words = [flagsOf(command), ...(command.operandValues ?? [])].join(' ');
    return `    ${command.name}) COMPREPLY=($(compgen -W "${words}" -- "$current")) ;;`;
  });
  return `# In ~/.bashrc: eval "$(headgate completion bash)"
_headgate() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous= values=
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${namesOf(commands)} --help --version" -- "$current"))
    return
  fi
  COMPREPLY=()
  # bash takes the = of --option=value for a word of its own.
  previous=\${COMP_WORDS[COMP_CWORD-1]}
  [ "$previous" = = ] && previous=\${COMP_WORDS[COMP_CWORD-2]}
  [ "$current" = = ] && current=
  case \${COMP_WORDS[1]}:$previous in
${values.join('\n')}
  esac
  if [ -n "$values" ]; then
    # The last word of a list.
    local last=\${current##*,}
    COMPREPLY=($(compgen -P "\${current%"$last"}" -W "$values" -- "$last"))
    return
  fi
  case \${COMP_WORDS[1]} in
${cases.join('\n')}
  esac
}
complete -o default -F _headgate headgate
`;
}

function zsh(commands: readonly Command[]): string {
  const names = commands.map(({ name, summary }) => `    ${quoted(`${name}:${summary}`)}`);
  const cases = commands.map((command) => {
    const options = command.options.map(({ name, value, values, summary }) => {
      const text = summary.replaceAll(/[[\]:]/g, ' ');
      const flag = value === undefined ? `--${name}` : `--${name}=`;
      const action = value === undefined ? '' : `:${value}:${zshAction(value, values)}`;
      return quoted(`${flag}[${text}]${action}`);
    });
    const { operands, operandValues } = command;
    const words = operandValues === undefined ? '_files' : `(${operandValues.join(' ')})`;
    const rest = operands === undefined ? [] : [quoted(`*:${operands}:${words}`)];
    return `    ${command.name}) _arguments ${[...options, quoted('--help[print help]'), ...rest].join(' ')} ;;`;
  });
  return `#compdef headgate
# In ~/.zshrc, after compinit: eval "$(headgate completion zsh)"
_headgate() {
  local -a commands=(
${names.join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    _arguments '--help[print help]' '--version[print the version]'
    return
  fi
  shift words
  (( CURRENT-- ))
  case $words[1] in
${cases.join('\n')}
  esac
}
compdef _headgate headgate
`;
}

/** Only a file and a folder are completed by names of files. A space completes nothing. */
function zshAction(value: string, values: readonly string[] | undefined): string {
  if (values !== undefined) return `_values -s , ${value} ${values.join(' ')}`;
  if (value === 'FILE') return '_files';
  return value === 'DIR' ? '_files -/' : ' ';
}

function fish(commands: readonly Command[]): string {
  const lines = commands.flatMap((command) => {
    const { name, summary, options, operands, operandValues } = command;
    const seen = `-n '__fish_seen_subcommand_from ${name}'`;
    const words = operandValues === undefined ? '' : ` -a ${quoted(operandValues.join(' '))}`;
    const isFile = operands !== undefined && operandValues === undefined;
    return [
      `complete -c headgate -n __fish_use_subcommand -f -a ${name} -d ${quoted(summary)}`,
      ...options.map((option) => {
        const takes = fishValue(option.value, option.values);
        return `complete -c headgate ${seen} -l ${option.name}${takes} -d ${quoted(option.summary)}`;
      }),
      ...(isFile ? [] : [`complete -c headgate ${seen} -f${words}`]),
    ];
  });
  return `# headgate completion fish > ~/.config/fish/completions/headgate.fish
${lines.join('\n')}
complete -c headgate -n __fish_use_subcommand -l version -d 'print the version'
complete -c headgate -l help -d 'print help'
`;
}

/** `-r` completes by names of files, and `-x` does not. */
function fishValue(value: string | undefined, values: readonly string[] | undefined): string {
  if (value === undefined) return '';
  if (values !== undefined) {
    return ` -x -a '(__fish_complete_list , "printf %s\\\\n ${values.join(' ')}")'`;
  }
  return value === 'FILE' || value === 'DIR' ? ' -r' : ' -x';
}

/** In single quotes, which these shells understand alike, except for the quote itself. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", ' ')}'`;
}
