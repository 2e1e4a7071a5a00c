import { COLUMNS, showLine } from './line-view.ts';
import type { LoggedCall, LoggedThrottle } from './log-line.ts';
import type { LogsOptions } from './options.ts';
import type { Paint } from './paint.ts';
import { showSummary, type Reading } from './summary-view.ts';
import { Summing } from './summary.ts';

/** Turns the lines that passed into text. */
export interface Printer {
  /** What stands above everything; may be empty. */
  readonly head: string;
  /** The text for one line, or nothing where it only adds to a sum. `text` is as it was read. */
  take(line: LoggedCall | LoggedThrottle, text: string): string;
  /** What comes when all was read. */
  end(reading: Reading): string;
}

export interface PrinterOptions extends Pick<LogsOptions, 'mode' | 'top'> {
  readonly paint: Paint;
  /** Whether columns are named. */
  readonly named: boolean;
}

export function makePrinter({ mode, top, paint, named }: PrinterOptions): Printer {
  const none = (): string => '';
  switch (mode) {
    case 'view':
      return {
        head: named ? `${paint('dim', COLUMNS)}\n` : '',
        take: (line) => `${showLine(line, paint)}\n`,
        end: none,
      };
    case 'json':
      return { head: '', take: (_line, text) => `${text}\n`, end: none };
    case 'summary':
    case 'summary-json': {
      const summing = new Summing();
      return {
        head: '',
        take(line) {
          summing.add(line);
          return '';
        },
        end(reading) {
          const summary = summing.result(top);
          if (mode === 'summary') return showSummary(summary, reading, paint);
          return `${JSON.stringify({ ...reading, ...summary })}\n`;
        },
      };
    }
    default:
      return mode satisfies never;
  }
}
