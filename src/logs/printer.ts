import { columns, formatLine } from './line-view.ts';
import type { LoggedLine } from './log-line.ts';
import type { LogsOptions } from './options.ts';
import { formatSummary, type ReadCounts } from './summary-view.ts';
import { SummaryBuilder } from './summary.ts';
import { printableJson, type Paint } from './terminal-text.ts';

/** Formats the lines that passed the filter. */
export interface Printer {
  /**
   * The output for one line, whose original is `text`; empty where it only adds to a summary. Called in
   * the order of the output, which begins with a heading for people.
   */
  format(line: LoggedLine, text: string): string;
  /** The output after the last line. */
  end(counts: ReadCounts): string;
}

export interface PrinterOptions extends Pick<LogsOptions, 'mode' | 'top'> {
  readonly paint: Paint;
  /** Whether to escape JSON for a terminal. */
  readonly toTerminal: boolean;
}

export function makePrinter({ mode, top, paint, toTerminal }: PrinterOptions): Printer {
  const none = (): string => '';
  const json = (text: string): string => `${toTerminal ? printableJson(text) : text}\n`;
  switch (mode) {
    case 'view': {
      let head: string | undefined;
      let hasApis = false;
      return {
        format(line) {
          // The first line that names an API adds the column, under a further heading.
          hasApis ||= line.api !== '';
          const before = head;
          head = columns(hasApis);
          const heading = head === before ? '' : `${paint('dim', head)}\n`;
          return `${heading}${formatLine(line, paint, hasApis)}\n`;
        },
        end: none,
      };
    }
    case 'json':
      return { format: (_line, text) => json(text), end: none };
    case 'summary':
    case 'summary-json': {
      const builder = new SummaryBuilder();
      return {
        format(line) {
          builder.add(line);
          return '';
        },
        end(counts) {
          const summary = builder.result(top);
          if (mode === 'summary') return formatSummary(summary, counts, paint);
          return json(JSON.stringify({ ...counts, ...summary }));
        },
      };
    }
    default:
      return mode satisfies never;
  }
}
