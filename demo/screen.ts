import { frame, headline, plainLine, type Moment } from './view.ts';

/** Where the demo's progress is shown. */
export interface Screen {
  open(first: Moment): void;
  show(moment: Moment): void;
  close(last: Moment, summary: readonly string[]): void;
  /** Restores the terminal. It may be called more than once. */
  restore(): void;
}

const HIDE_CURSOR = '\u001b[?25l';
const SHOW_CURSOR = '\u001b[?25h';
const CLEAR_BELOW = '\u001b[J';

/** Redraws in place on a terminal. Elsewhere it writes one line every `plainEveryMs`. */
export function makeScreen(out: NodeJS.WriteStream, plainEveryMs: number): Screen {
  return out.isTTY ? drawnScreen(out) : plainScreen(out, plainEveryMs);
}

function drawnScreen(out: NodeJS.WriteStream): Screen {
  let drawn = 0;
  let hidden = false;
  const show = (moment: Moment): void => {
    // Where its size was never set, as in some containers, a terminal has 0 columns and rows.
    const [width, height] = [out.columns || 80, out.rows || 24];
    // One column stays free, because some terminals wrap when the last one is written.
    const rows = frame(moment, Math.max(20, width - 1)).slice(0, Math.max(1, height - 1));
    const up = drawn === 0 ? '' : `\u001b[${drawn}A`;
    out.write(`${up}\r${CLEAR_BELOW}${rows.join('\n')}\n`);
    drawn = rows.length;
  };
  return {
    open(first) {
      hidden = true;
      out.write(HIDE_CURSOR);
      show(first);
    },
    show,
    close(last, summary) {
      show(last);
      out.write(`${summary.join('\n')}\n`);
    },
    restore() {
      if (hidden) out.write(SHOW_CURSOR);
      hidden = false;
    },
  };
}

function plainScreen(out: NodeJS.WriteStream, everyMs: number): Screen {
  let nextAtMs = 0;
  return {
    open(first) {
      out.write(`Headgate: ${headline(first)}\n`);
    },
    show(moment) {
      if (moment.elapsedMs < nextAtMs) return;
      nextAtMs = moment.elapsedMs + everyMs;
      out.write(`${plainLine(moment)}\n`);
    },
    close(last, summary) {
      out.write(`${plainLine(last)}\n${summary.join('\n')}\n`);
    },
    restore() {
      // It changed nothing.
    },
  };
}
