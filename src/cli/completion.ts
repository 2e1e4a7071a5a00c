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
      const action = value === undefined ? '' : `:${value}:${zshValues(values)}`;
      return quoted(`${flag}[${text}]${action}`);
    });
    const words = zshValues(command.operandValues);
    const rest = command.operands === undefined ? [] : [quoted(`*:${command.operands}:${words}`)];
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

function zshValues(values: readonly string[] | undefined): string {
  return values === undefined ? '_files' : `(${values.join(' ')})`;
}

function fish(commands: readonly Command[]): string {
  const lines = commands.flatMap((command) => {
    const { name, summary, options } = command;
    const seen = `-n '__fish_seen_subcommand_from ${name}'`;
    const words = command.operandValues?.join(' ');
    return [
      `complete -c headgate -n __fish_use_subcommand -f -a ${name} -d ${quoted(summary)}`,
      ...options.map((option) => {
        const { value, values } = option;
        const takes =
          values === undefined
            ? value === undefined
              ? ''
              : ' -r'
            : ` -x -a ${quoted(values.join(' '))}`;
        return `complete -c headgate ${seen} -l ${option.name}${takes} -d ${quoted(option.summary)}`;
      }),
      ...(words === undefined ? [] : [`complete -c headgate ${seen} -f -a ${quoted(words)}`]),
    ];
  });
  return `# headgate completion fish > ~/.config/fish/completions/headgate.fish\n${lines.join('\n')}\n`;
}

/** In single quotes, which these shells understand alike, except for the quote itself. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", ' ')}'`;
}
